"""Writes `memberwise.root` with ROOT 6.40 (`pip install root`): vectors of structures that ROOT writes member by member."""

import os
import tempfile
from pathlib import Path

import ROOT

os.chdir(Path(__file__).parent)  # the path is written into the file
header = Path(tempfile.mkdtemp()) / "link.h"
header.write_text(
    "#pragma once\n#include <vector>\nstruct Link { unsigned key; unsigned index; };\n"
    "struct Odd { short a; double b; char c; };\nstruct Outer { Link link; int x; };\n"
    "#ifdef __CLING__\n#pragma link C++ class Link+;\n#pragma link C++ class Odd+;\n#pragma link C++ class Outer+;\n"
    "#pragma link C++ class std::vector<Link>+;\n#pragma link C++ class std::vector<Odd>+;\n"
    "#pragma link C++ class std::vector<Outer>+;\n#endif\n"
)
ROOT.gROOT.ProcessLine(f".L {header}+")
ROOT.gInterpreter.Declare(r"""
void write(const char *path) {
  TFile file(path, "RECREATE");
  TTree tree("tree", "");
  std::vector<Link> links;
  std::vector<Odd> odd;
  std::vector<Outer> outer;
  tree.Branch("links", &links, 32000, 0);  // not split
  tree.Branch("odd", &odd, 32000, 0);
  tree.Branch("outer", &outer, 32000, 0);
  tree.Branch("split", &links, 32000, 99);
  tree.SetAutoFlush(7);
  for (unsigned i = 0; i < 30; ++i) {
    links.clear(), odd.clear(), outer.clear();
    for (unsigned k = 0; k < i % 4; ++k) {
      links.push_back({1000 + i, 10 * i + k});
      odd.push_back({short(-i), i + 0.5 * k, char('a' + k)});
      outer.push_back({{i, k}, int(k)});
    }
    tree.Fill();
  }
  tree.Write();
}
""")
ROOT.write("memberwise.root")
file = ROOT.TFile.Open("memberwise.root")
tree = file.Get("tree")
n = tree.Draw("links.key:links.index", "Entry$ == 7", "goff")
assert [tree.GetV1()[i] for i in range(n)] == [1007.0] * 3, "ROOT reads something else than it has written"
assert [tree.GetV2()[i] for i in range(n)] == [70.0, 71.0, 72.0]
