"""Writes `links.root` with ROOT 6.40 (`pip install root`): links between collections, as ATLAS and podio write them."""

import os
import tempfile
from pathlib import Path

import ROOT

os.chdir(Path(__file__).parent)  # the path is written into the file
header = Path(tempfile.mkdtemp()) / "links.h"
header.write_text(r"""
#pragma once
#include <vector>
struct ElementLink { unsigned m_persKey = 0; unsigned m_persIndex = 0; };
namespace podio { struct ObjectID { int index = -1; unsigned collectionID = 0; }; }
struct RecoData { float energy = 0; unsigned tracks_begin = 0; unsigned tracks_end = 0; };
struct TrackData { float chi2 = 0; int ndf = 0; };
#ifdef __CLING__
#pragma link C++ namespace podio;
#pragma link C++ class ElementLink+;
#pragma link C++ class podio::ObjectID+;
#pragma link C++ class RecoData+;
#pragma link C++ class TrackData+;
#pragma link C++ class std::vector<ElementLink>+;
#pragma link C++ class std::vector<std::vector<ElementLink>>+;
#pragma link C++ class std::vector<podio::ObjectID>+;
#pragma link C++ class std::vector<RecoData>+;
#pragma link C++ class std::vector<TrackData>+;
#endif
""")
ROOT.gROOT.ProcessLine(f".L {header}+")
ROOT.gInterpreter.Declare(r"""
void atlas() {
  TTree tree("CollectionTree", "");
  std::vector<float> energy, z0, d0;
  std::vector<ElementLink> truth;
  std::vector<std::vector<ElementLink>> links;
  tree.Branch("ElectronsAuxDyn.pt", &energy); tree.Branch("ElectronsAuxDyn.trackLinks", &links);
  tree.Branch("ElectronsAuxDyn.truthLink", &truth);
  tree.Branch("TracksAuxDyn.z0", &z0); tree.Branch("TracksAuxDyn.d0", &d0);
  tree.SetAutoFlush(7);
  for (unsigned i = 0; i < 20; ++i) {
    energy.clear(), z0.clear(), d0.clear(), truth.clear(), links.clear();
    for (unsigned k = 0; k < (7 * i + 1) % 4; ++k) z0.push_back(10 * i + k), d0.push_back(-1. * k);
    for (unsigned k = 0; k < i % 4; ++k) {
      energy.push_back(100 * i + k);
      truth.push_back({k % 2 ? 77u : 0u, 0u});
      links.push_back({});
      for (unsigned j = 0; j <= k; ++j) links.back().push_back({j % 2 ? 5u : 77u, (i + j + k) % 4});
    }
    tree.Fill();
  }
  tree.Write();
}
void podioLike() {
  TTree tree("events", "");
  std::vector<RecoData> recos;
  std::vector<podio::ObjectID> relations, first;
  std::vector<TrackData> tracks;
  tree.Branch("Recos", &recos); tree.Branch("_Recos_tracks", &relations); tree.Branch("Tracks", &tracks);
  tree.Branch("_Recos_first", &first, 32000, 0);
  tree.SetAutoFlush(7);
  for (unsigned i = 0; i < 20; ++i) {
    recos.clear(), relations.clear(), first.clear(), tracks.clear();
    for (unsigned k = 0; k < (7 * i + 1) % 4; ++k) tracks.push_back({10.f * i + k, int(k)});
    for (unsigned k = 0; k < i % 4; ++k) {
      unsigned begin = relations.size();
      for (unsigned j = 0; j <= k; ++j) relations.push_back({int((i + j + k) % 4) - 1, j % 2 ? 5u : 77u});
      recos.push_back({100.f * i + k, begin, unsigned(relations.size())});
      first.push_back({int(k), 77u});
    }
    tree.Fill();
  }
  tree.Write();
}
void write(const char *path) {
  TFile file(path, "RECREATE");
  atlas();
  podioLike();
}
""")
ROOT.write("links.root")
