"""Writes `odd_trees.root`, `one_production.root` and `another_production.root` with ROOT 6.40 (`pip install root`, and g++).

The trees of the first are such as uproot 5.7 reads wrongly, or not at all; `test_odd_trees.py` has ROOT's
answers. The other two have classes `Pt` of one version whose members are in another order.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CLASSES = r"""
#include <TClonesArray.h>
#include <TFile.h>
#include <TLeaf.h>
#include <TObject.h>
#include <TTree.h>
#include <cstring>
#include <string>
#include <vector>

class Track : public TObject {
public:
  Double32_t fR[5]; //[0,0,8]
  Float16_t fF[2]; //[0,10,12]
  Double32_t fD; //[-1,1]
  Double32_t fPlain;
  Int_t fI[3];
  ClassDef(Track, 1)
};

class Hit : public TObject {
public:
  Double32_t fR[5]; //[0,0,8]
  Float16_t fF[2]; //[0,10,12]
  Double32_t fD; //[-1,1]
  Float16_t fG; //[0,0,16]
  ClassDef(Hit, 1)
};

struct Point {
  Double32_t x;
  Float16_t y;
  int n;
};

void strings(const char *name, int first) {
  TTree t(name, "");
  char s[1000];
  int i;
  t.Branch("s", s, "s/C", 1000);
  t.Branch("i", &i, "i/I", 1000);
  for (i = 0; i < 1000; i++) {
    strcpy(s, i % 2 == first ? "" : "word");
    if (i % 100 == 99) strcpy(s, std::string(250 + i / 100, 'x').c_str());
    t.Fill();
  }
  t.Write();
}

void twice() {
  TTree t("twice", "");
  int a, b;
  float c;
  t.Branch("a", &a, "a/I");
  t.Branch("c", &c, "c/F");
  t.Branch("a", &b, "a/I");
  for (int i = 0; i < 1000; i++) a = i, b = 1000000 + i, c = i, t.Fill();
  t.Write();
}

void twice_lists() {
  TTree t("twice_lists", "");
  int n, m;
  float x[4], y[4];
  t.Branch("n", &n, "n/I");
  t.Branch("x", x, "x[n]/F");
  t.Branch("n", &m, "n/I");
  t.Branch("x", y, "x[n]/F");
  for (int i = 0; i < 200; i++) {
    n = m = i % 4;
    for (int k = 0; k < 4; k++) x[k] = i, y[k] = -1000;
    t.Fill();
  }
  t.Write();
}

void leaves() {
  TTree t("leaves", "");
  int n, k;
  struct { float a[4]; int b[4]; } r;
  t.Branch("n", &n, "n/I");
  auto branch = t.Branch("r", &r, "a[n]/F:b[n]/I");
  branch->GetLeaf("a")->SetAddress(r.a);
  branch->GetLeaf("b")->SetAddress(r.b);
  t.Branch("k", &k, "k/I");
  for (k = 0; k < 1000; k++) {
    n = k % 4;
    for (int i = 0; i < 4; i++) r.a[i] = k, r.b[i] = i;
    t.Fill();
  }
  t.Write();
}

void floats(const char *name) {
  TTree t(name, "");
  int n;
  Float16_t f, f16, fr, c[3], cr[3], l[4], l2[4][2];
  Double32_t d, d8, dr, e[3], er[3], m[4], m2[4][2];
  t.Branch("n", &n, "n/I", 1000);
  t.Branch("f", &f, "f/f", 1000);
  t.Branch("f16", &f16, "f16/f[0,0,16]", 1000);
  t.Branch("fr", &fr, "fr/f[0,100,10]", 1000);
  t.Branch("c", c, "c[3]/f", 1000);
  t.Branch("cr", cr, "cr[3]/f[0,100,20]", 1000);
  t.Branch("l", l, "l[n]/f", 1000);
  t.Branch("l2", l2, "l2[n][2]/f[0,100,16]", 1000);
  t.Branch("d", &d, "d/d", 1000);
  t.Branch("d8", &d8, "d8/d[0,0,8]", 1000);
  t.Branch("dr", &dr, "dr/d[-pi,twopi,12]", 1000);
  t.Branch("e", e, "e[3]/d", 1000);
  t.Branch("er", er, "er[3]/d[0,100]", 1000);
  t.Branch("m", m, "m[n]/d[0,0,14]", 1000);
  t.Branch("m2", m2, "m2[n][2]/d[0,100,30]", 1000);
  for (int i = 0; i < 500; i++) {
    n = i % 5;
    f = f16 = i * 0.37, fr = (i % 97) * 1.03, d = d8 = -i * 1.7, dr = (i % 90) * 0.07 - 3;
    for (int k = 0; k < 3; k++) c[k] = e[k] = i + k * 0.1, cr[k] = er[k] = (i % 31) * 3 + k * 0.7;
    for (int k = 0; k < 4; k++) {
      l[k] = m[k] = i * (k + 0.3);
      for (int j = 0; j < 2; j++) l2[k][j] = m2[k][j] = (i % 23) * 4 + k + j * 0.5;
    }
    t.Fill();
  }
  t.Write();
}

void members() {
  TTree t("members", "");
  TClonesArray tracks("Track"), hits("Hit");
  auto both = &tracks, unsplit = &hits;
  Hit hit, *one = &hit;
  Point point;
  t.Branch("Tracks", &both, 2000, 99);
  t.Branch("Hits", &unsplit, 2000, 0);
  t.Branch("Hit.", &one, 2000, 99);
  t.Branch("HitUnsplit", &one, 2000, 0);
  t.Branch("Point", &point, 2000, 0);
  for (int i = 0; i < 100; i++) {
    tracks.Clear(), hits.Clear(), point = {i * 1.1, i * 0.7f, i};
    for (int k = 0; k < i % 4; k++) {
      auto track = static_cast<Track *>(tracks.ConstructedAt(k));
      auto other = static_cast<Hit *>(hits.ConstructedAt(k));
      for (int j = 0; j < 5; j++) track->fR[j] = other->fR[j] = hit.fR[j] = i + j + k * 0.25;
      for (int j = 0; j < 2; j++) track->fF[j] = other->fF[j] = hit.fF[j] = (i + j + k * 0.25) / 20;
      for (int j = 0; j < 3; j++) track->fI[j] = 100 * i + 10 * k + j;
      track->fD = other->fD = hit.fD = i / 100. - k * 0.1, track->fPlain = i + 0.1 * k, other->fG = hit.fG = i * 0.3 + k;
    }
    t.Fill();
  }
  t.Write();
}

void generated() {
  TTree t("generated", "");
  ROOT::TIOFeatures features;
  features.Set(ROOT::Experimental::EIOFeatures::kGenerateOffsetMap);
  t.SetIOFeatures(features);
  char s[100];
  std::string text;
  std::vector<float> v;
  std::vector<std::string> texts;
  int n;
  float x[4], y[4][2];
  t.Branch("s", s, "s/C", 1000);
  t.Branch("text", &text, 1000);
  t.Branch("v", &v, 1000);
  t.Branch("texts", &texts, 1000);
  t.Branch("n", &n, "n/I", 1000);
  t.Branch("x", x, "x[n]/F", 1000);
  t.Branch("y", y, "y[n][2]/F", 1000);
  for (int i = 0; i < 1000; i++) {
    n = i % 5, text = std::string(i % 7, 'a' + i % 26), v.assign(i % 3, i), texts.assign(i % 3, text);
    strcpy(s, std::string(i % 6, 'a' + i % 26).c_str());
    for (int k = 0; k < 4; k++) x[k] = i + k, y[k][0] = i, y[k][1] = k;
    t.Fill();
  }
  t.Write();
}

void friends() {
  int event, run, lumi;
  float score;
  {
    TTree t("events", "");
    t.Branch("event", &event, "event/I"), t.Branch("run", &run, "run/I"), t.Branch("lumi", &lumi, "lumi/I");
    for (event = 0; event < 1000; event++) run = event / 300, lumi = event % 300, t.Fill();
    t.Write();
  }
  for (std::string name : {"reshuffled", "by_event", "by_run", "by_expression", "not_all"}) {
    TTree t(name.c_str(), "");
    t.Branch("event", &event, "event/I"), t.Branch("run", &run, "run/I"), t.Branch("lumi", &lumi, "lumi/I");
    t.Branch("score", &score, "score/F");
    int entries = name == "not_all" ? 500 : 1000;
    for (int i = 0; i < entries; i++) {
      event = 999 - i * 1000 / entries, run = event / 300, lumi = event % 300, score = 0.5 * event;
      t.Fill();
    }
    if (name == "reshuffled") t.SetBit(TTree::kEntriesReshuffled);
    if (name == "by_event" || name == "not_all") t.BuildIndex("event");
    if (name == "by_run") t.BuildIndex("run", "lumi");
    if (name == "by_expression") t.BuildIndex("run*1000+lumi");
    t.Write();
  }
}

void everything(const char *path) {
  TFile file(path, "RECREATE", "", 505);
  strings("empty_first", 0), strings("empty_second", 1);
  twice(), twice_lists(), leaves(), floats("floats"), members(), generated(), friends();
  file.Close();
}
"""

PRODUCTION = r"""
#include <TFile.h>
#include <TTree.h>
#include <vector>

struct Pt {{ {members} }};
#ifdef __ROOTCLING__
#pragma link C++ class Pt+;
#pragma link C++ class std::vector<Pt>+;
#endif

void everything(const char *path) {{
  TFile file(path, "RECREATE", "", 505);
  TTree t("t", "");
  Pt p;
  std::vector<Pt> v;
  t.Branch("p", &p, 32000, 0);
  t.Branch("v", &v, 32000, 0);
  for (int i = 0; i < 20; i++) {{
    p.a = i, p.b = i * 0.5, p.c = i * 0.25, v.assign(i % 3, p);
    t.Fill();
  }}
  t.Write();
  file.Close();
}}
"""

RUN = """
import ROOT
assert ROOT.gSystem.CompileMacro("code.cxx", "kO")
ROOT.everything("{path}")
"""


def write(name: str, code: str) -> None:
    """Compile the code in a folder of its own, in a process of its own, and let it write the file."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "code.cxx").write_text(code)
        subprocess.run([sys.executable, "-c", RUN.format(path=name)], cwd=folder, check=True)
        shutil.move(Path(folder, name), name)  # the path is written into the file


os.chdir(Path(__file__).parent)
write("odd_trees.root", CLASSES)
write("one_production.root", PRODUCTION.format(members="int a; float b; double c;"))
write("another_production.root", PRODUCTION.format(members="float b; int a; double c;"))
