"""Writes `odd_members.root` with ROOT 6.40 (`pip install root`, and g++): members whose bytes are of their own kind.

`test_odd_members.py` knows what is in it by formulas.
"""

import os
import tempfile
from pathlib import Path

import ROOT

CODE = r"""
#include <TArrayD.h>
#include <TBits.h>
#include <TArrayI.h>
#include <TClonesArray.h>
#include <TDatime.h>
#include <TFile.h>
#include <TObject.h>
#include <TString.h>
#include <TTimeStamp.h>
#include <TTree.h>
#include <vector>

struct Left { int x; };
struct Right { int x; };
struct Both : Left, Right { int y; };
struct Hidden : Left { int x; };
struct Doubles { std::vector<Double32_t> values; int after; };
enum Kind { kOne = 1, kTwo = 2, kThree = 3 };
enum Sign { kNegative = -1, kPositive = 1 };
struct Words {
  TString two[2]; Kind kind; std::vector<Kind> kinds; std::vector<Sign> signs; TString grid[2][1]; std::string std[2];
  std::vector<int> lists[2]; int after;
};
struct Flags { TBits bits; int after; };
class Odd : public TObject {
public:
  TDatime made;
  TTimeStamp stamp;
  TArrayI counts;
  TArrayD charges;
  int after;
  ClassDef(Odd, 1)
};

#ifdef __ROOTCLING__
#pragma link C++ class Left+;
#pragma link C++ class Right+;
#pragma link C++ class Both+;
#pragma link C++ class Hidden+;
#pragma link C++ class Doubles+;
#pragma link C++ class Words+;
#pragma link C++ class Flags+;
#pragma link C++ class std::vector<Words>+;
#pragma link C++ class std::vector<Flags>+;
#pragma link C++ class Odd+;
#pragma link C++ class std::vector<Both>+;
#pragma link C++ class std::vector<Hidden>+;
#pragma link C++ class std::vector<Odd>+;
#pragma link C++ class std::vector<TDatime>+;
#endif

void fill(Odd &odd, int i, int k) {
  odd.made.Set(19950101 + 10000 * (i % 20) + k, 10203 + i);
  odd.stamp = TTimeStamp(1000000 + i, 17 + k);
  odd.counts.Set(i % 3);
  for (int j = 0; j < i % 3; j++) odd.counts[j] = 100 * i + 10 * k + j;
  odd.charges.Set(k % 2);
  for (int j = 0; j < k % 2; j++) odd.charges[j] = i + 0.25;
  odd.after = 10 * i + k;
}

void fill(Words &words, int i, int k) {
  words.two[0] = Form("a%d", i), words.two[1] = k % 2 ? "" : Form("b%d", k), words.kind = Kind(i % 3 + 1);
  words.grid[0][0] = "x", words.grid[1][0] = Form("%d", 10 * i + k);
  words.kinds.clear(), words.signs.clear();
  for (int j = 0; j < (i + k) % 3; j++) words.kinds.push_back(Kind(j + 1)), words.signs.push_back(j ? kPositive : kNegative);
  words.std[0] = "s", words.std[1] = std::string(i, 'z');
  words.lists[0].assign(k, i), words.lists[1].assign(2, k);
  words.after = 10 * i + k;
}

void words(TFile &file) {
  TTree t("words", "");
  Words one, *o = &one;
  Flags flag, *f = &flag;
  std::vector<Words> many;
  std::vector<Flags> flags;
  t.Branch("one", &o, 2000, 0);
  t.Branch("one_split.", &o, 2000, 99);
  t.Branch("many", &many, 2000, 0);
  t.Branch("many_split", &many, 2000, 99);
  t.Branch("flag.", &f, 2000, 99);
  t.Branch("flags", &flags, 2000, 99);
  for (int i = 0; i < 12; i++) {
    fill(one, i, 0), many.resize(i % 4), flags.resize(i % 4);
    flag.bits.ResetAllBits(), flag.bits.SetBitNumber(i), flag.after = i;
    for (int k = 0; k < i % 4; k++) fill(many[k], i, k), flags[k].bits.SetBitNumber(k), flags[k].after = k;
    t.Fill();
  }
  t.Write();
}

void everything(const char *path) {
  TFile file(path, "RECREATE", "", 505);
  words(file);
  TTree t("t", "");
  Both both, *b = &both;
  Hidden hidden, *h = &hidden;
  Doubles doubles, *d = &doubles;
  Odd odd, *o = &odd;
  std::vector<Both> many_both;
  std::vector<Hidden> hiddens;
  std::vector<Odd> odds;
  std::vector<TDatime> times;
  TClonesArray clones("Odd"), *c = &clones;
  t.Branch("both", &b, 2000, 0);
  t.Branch("many_both", &many_both, 2000, 0);
  t.Branch("hidden", &h, 2000, 0);
  t.Branch("hiddens", &hiddens, 2000, 0);
  t.Branch("doubles", &d, 2000, 0);
  t.Branch("doubles_split.", &d, 2000, 99);
  t.Branch("odd", &o, 2000, 0);
  t.Branch("odd_split.", &o, 2000, 99);
  t.Branch("odds", &odds, 2000, 0);
  t.Branch("odds_split", &odds, 2000, 99);
  t.Branch("clones", &c, 2000, 99);
  t.Branch("times", &times, 2000, 0);
  for (int i = 0; i < 12; i++) {
    both.Left::x = i, both.Right::x = 100 + i, both.y = 7;
    hidden.Left::x = i, hidden.x = 100 + i;
    many_both.assign(i % 3, both), hiddens.assign(i % 3, hidden);
    doubles.values.assign(i % 4, i + 0.5), doubles.after = i;
    fill(odd, i, 0), odds.resize(i % 4), times.resize(i % 4), clones.Clear("C");
    for (int k = 0; k < i % 4; k++) {
      fill(odds[k], i, k), times[k] = odds[k].made;
      fill(*static_cast<Odd *>(clones.ConstructedAt(k)), i, k);
    }
    t.Fill();
  }
  t.Write();
  file.Close();
}
"""


def main() -> None:
    path = Path(__file__).with_name("odd_members.root").resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("code.cxx").write_text(CODE, encoding="utf-8")
        assert ROOT.gSystem.CompileMacro("code.cxx", "kO")
        ROOT.everything(str(path))
        os.chdir(path.parent)


if __name__ == "__main__":
    main()
