"""Writes `references.root` with ROOT 6.40 (`pip install root`), and prints the bits that ROOT reads of its objects.

Objects of split `TClonesArray`s, some of which are referenced (`TRef`): the number of a process ID follows their bits.
Of `few`, the first baskets have no such objects.
"""

import os
from pathlib import Path

import ROOT

ROOT.gInterpreter.Declare(r"""
#include <TClonesArray.h>
#include <TFile.h>
#include <TLeaf.h>
#include <TRef.h>
#include <TTree.h>
#include <TVector3.h>

void write(const char *path) {
  TFile file(path, "RECREATE", "", 505);
  TTree tree("t", "");
  TClonesArray some("TVector3"), few("TVector3");
  auto first = &some, second = &few;
  tree.Branch("some", &first, 400, 99);
  tree.Branch("few", &second, 400, 99);
  for (int i = 0; i < 200; ++i) {
    some.Clear("C"), few.Clear("C");
    std::vector<TRef> references;
    for (int k = 0; k < i % 4; ++k) {
      auto a = static_cast<TVector3 *>(some.ConstructedAt(k)), b = static_cast<TVector3 *>(few.ConstructedAt(k));
      a->SetXYZ(i, k, 0), b->SetXYZ(i, k, 1), a->ResetBit(kIsReferenced), b->ResetBit(kIsReferenced);
      if ((i + k) % 3 == 0) references.emplace_back(a);
      if (i > 150 && k == 1) references.emplace_back(b);
    }
    tree.Fill();
  }
  tree.Write();
}

void read(const char *path) {
  TFile file(path);
  auto tree = file.Get<TTree>("t");
  for (auto name : {"some.fBits", "few.fBits"}) {
    auto branch = tree->GetBranch(name);
    auto leaf = static_cast<TLeaf *>(branch->GetListOfLeaves()->At(0));
    long number = 0, referenced = 0;
    for (int i = 0; i < 200; ++i) {
      tree->GetEntry(i);
      for (int k = 0; k < leaf->GetLen(); ++k) {
        auto bits = leaf->GetTypedValue<unsigned>(k);
        referenced += (bits >> 4 & 1) * ++number;
      }
    }
    printf("%s: %ld objects, numbers of those referenced: %ld\n", branch->GetName(), number, referenced);
  }
}
""")
os.chdir(Path(__file__).parent)
ROOT.write("references.root")
ROOT.read("references.root")
