"""Writes `nested.root` with ROOT 6.40 (`pip install root`): lists of lists and strings, whole and in split objects."""

import os
import tempfile
from pathlib import Path

import ROOT

os.chdir(Path(__file__).parent)  # the path is written into the file
header = Path(tempfile.mkdtemp()) / "nested.h"
header.write_text(
    "#pragma once\n#include <list>\n#include <set>\n#include <string>\n#include <vector>\n#include <TString.h>\n"
    "struct Held { int n; std::vector<std::vector<double>> vv; std::vector<std::string> vs; std::string s; TString ts;\n"
    "  std::vector<TString> vts; std::vector<std::vector<std::vector<short>>> vvv; };\n"
    "#ifdef __CLING__\n#pragma link C++ class Held+;\n#pragma link C++ class std::vector<Held>+;\n"
    + "".join(
        f"#pragma link C++ class {name}+;\n"
        for name in (
            "std::vector<std::vector<std::vector<short>>>",
            "std::vector<std::vector<std::string>>",
            "std::vector<TString>",
            "std::vector<std::list<int>>",
            "std::vector<std::set<int>>",
            "std::vector<std::vector<bool>>",
            "std::vector<std::vector<long>>",
        )
    )
    + "#endif\n"
)
ROOT.gROOT.ProcessLine(f".L {header}+")
ROOT.gInterpreter.Declare(r"""
std::string text(unsigned i, unsigned k) {
  return i % 17 == 3 && k == 1 ? std::string(250 + i, 'A' + i % 26) : std::string((i + k) % 4, 'a' + (i + k) % 26);
}
void fill(Held &h, unsigned i) {
  h.n = i; h.vv.clear(); h.vs.clear(); h.vts.clear(); h.vvv.clear();
  h.s = text(i, 1); h.ts = text(i + 1, 1).c_str();
  for (unsigned k = 0; k < i % 4; ++k) {
    h.vv.emplace_back(); h.vvv.emplace_back();
    for (unsigned l = 0; l < (i + k) % 3; ++l) h.vv.back().push_back(i + 0.25 * k + 0.125 * l);
    for (unsigned l = 0; l < (i + k) % 3; ++l) h.vvv.back().push_back(std::vector<short>((i + l) % 3, short(i * l - k)));
    h.vs.push_back(text(i, k)); h.vts.push_back(text(i, k).c_str());
  }
}
void write(const char *path) {
  TFile file(path, "RECREATE", "", 0);
  for (unsigned every : {1, 7}) {
    TTree tree(every == 1 ? "ones" : "sevens", "");
    Held held, split;
    std::vector<Held> many;
    std::vector<std::vector<float>> vv; std::vector<std::vector<std::string>> vvs; std::vector<std::list<int>> vl;
    std::vector<std::set<int>> vset; std::vector<std::vector<bool>> vb; std::vector<std::vector<long>> vlong;
    char chars[400];
    tree.Branch("vv", &vv); tree.Branch("vs", &held.vs); tree.Branch("s", &held.s); tree.Branch("ts", &held.ts);
    tree.Branch("vts", &held.vts); tree.Branch("vvv", &held.vvv); tree.Branch("vvs", &vvs); tree.Branch("vl", &vl);
    tree.Branch("vset", &vset); tree.Branch("vb", &vb); tree.Branch("vlong", &vlong);
    tree.Branch("chars", chars, "chars/C"); tree.Branch("split.", &split, 32000, 99);
    tree.Branch("many", &many, 32000, 99);
    tree.SetAutoFlush(every);
    for (unsigned i = 0; i < (every == 1 ? 9 : 40); ++i) {
      fill(held, i); fill(split, i + 2);
      many.resize(i % 3); for (unsigned k = 0; k < many.size(); ++k) fill(many[k], i + k);
      vv.clear(); vvs.clear(); vl.clear(); vset.clear(); vb.clear(); vlong.clear();
      for (unsigned k = 0; k < (i == 30 ? 40 : i % 4); ++k) {
        vv.emplace_back((i + k) % 5, i + 0.5f * k); vvs.emplace_back();
        for (unsigned l = 0; l < (i + k) % 3; ++l) vvs.back().push_back(text(i, k + l));
        vl.emplace_back((i + k) % 3, int(i - 3 * k)); vset.push_back({int(i), int(i + k)});
        vb.emplace_back((i + k) % 3, k % 2 == 1); vlong.emplace_back((i * k) % 3, -long(i) << 33);
      }
      strcpy(chars, text(i, 1).c_str());
      tree.Fill();
    }
    tree.Write();
  }
  file.Close();
}
""")
ROOT.write("nested.root")
