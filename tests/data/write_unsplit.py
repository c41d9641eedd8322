"""Writes `unsplit.root` with ROOT 6.40 (`pip install root`): collections of records, in branches that are not split.

In the tree `by_members` ROOT has written collections member by member, as it does unless it is told not to; in `by_elements`
element by element.
"""

import os
import tempfile
from pathlib import Path

import ROOT

os.chdir(Path(__file__).parent)  # the path is written into the file
header = Path(tempfile.mkdtemp()) / "unsplit.h"
header.write_text(r"""
#pragma once
#include <deque>
#include <list>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>
#include "Math/Vector4D.h"
#include "TLorentzVector.h"
#include "TObject.h"
#include "TString.h"

struct Link { unsigned key = 0; unsigned index = 0; };
struct Outer { Link link; int x = 0; };
struct Base { int id = 0; virtual ~Base() {} };
struct Inner : Base { float depth = 0; };
struct Particle : Inner {
  std::string name;
  TString title;
  std::vector<float> weights;
  std::vector<Link> links;
  std::vector<std::vector<int>> cells;
  std::map<int, Link> parents;
  Link link;
  Link ends[2];
  float cov[3] = {0, 0, 0};
  TVector3 momentum;
  Double32_t mass = 0;
  Double32_t eta = 0;  //[-5,5,16]
  Float16_t half = 0;
  bool good = false;
  int n = 0;
  double *numbers = nullptr;  //[n]
  std::pair<int, float> pair;
  short note = 0;  //!
  enum Kind { kOne, kTwo } kind = kOne;
  Particle() {}
  Particle(const Particle &other) { *this = other; }
  Particle &operator=(const Particle &);
  ~Particle() { delete[] numbers; }
};
struct Tagged : TObject { int tag = 0; ClassDef(Tagged, 1) };
struct Holder { const char *text = nullptr; Tagged *tagged = nullptr; int x = 0; };
#ifdef __CLING__
#pragma link C++ class Link+;
#pragma link C++ class Outer+;
#pragma link C++ class Base+;
#pragma link C++ class Inner+;
#pragma link C++ class Particle+;
#pragma link C++ class Tagged+;
#pragma link C++ class Holder+;
#pragma link C++ class std::pair<int,float>+;
#pragma link C++ class std::vector<Link>+;
#pragma link C++ class std::vector<Outer>+;
#pragma link C++ class std::vector<Particle>+;
#pragma link C++ class std::vector<Tagged>+;
#pragma link C++ class std::vector<Holder>+;
#pragma link C++ class std::vector<std::vector<Link>>+;
#pragma link C++ class std::vector<std::vector<TLorentzVector>>+;
#pragma link C++ class std::vector<ROOT::Math::XYZTVectorF>+;
#pragma link C++ class std::vector<std::pair<int,float>>+;
#pragma link C++ class std::list<Link>+;
#pragma link C++ class std::deque<Link>+;
#pragma link C++ class std::map<std::string,double>+;
#pragma link C++ class std::map<int,std::vector<float>>+;
#pragma link C++ class std::map<int,std::vector<Link>>+;
#pragma link C++ class std::map<int,Link>+;
#pragma link C++ class std::map<std::string,Link>+;
#pragma link C++ class std::multimap<int,int>+;
#pragma link C++ class std::unordered_map<int,double>+;
#pragma link C++ class std::map<int,std::map<int,float>>+;
#pragma link C++ class std::vector<std::map<int,float>>+;
#endif
""")
header.with_suffix(".cxx").write_text(
    f'#include "{header}"\nClassImp(Tagged)\n'
    "Particle &Particle::operator=(const Particle &o) {\n"
    "  Inner::operator=(o); name = o.name; title = o.title; weights = o.weights; links = o.links; cells = o.cells;\n"
    "  parents = o.parents; link = o.link; ends[0] = o.ends[0]; ends[1] = o.ends[1];\n"
    "  for (int k = 0; k < 3; ++k) cov[k] = o.cov[k];\n"
    "  momentum = o.momentum; mass = o.mass; eta = o.eta; half = o.half; good = o.good; n = o.n; pair = o.pair;\n"
    "  kind = o.kind;\n"
    "  delete[] numbers; numbers = n ? new double[n] : nullptr;\n"
    "  for (int k = 0; k < n; ++k) numbers[k] = o.numbers[k];\n"
    "  return *this;\n}\n"
)
ROOT.gROOT.ProcessLine(f".L {header.with_suffix('.cxx')}+")
ROOT.gInterpreter.Declare(r"""
#include "TRef.h"
Particle particle(int i, int k) {
  Particle p;
  p.id = 100 * i + k; p.depth = 0.5f * k;
  p.name = std::string(k % 3, 'n') + std::to_string(i); p.title = i % 5 ? "t" : "";
  if (i == 3 && k == 0) p.name = std::string(300, 'x');
  for (int j = 0; j < (i + k) % 3; ++j) { p.weights.push_back(i + 0.25f * j);
  p.links.push_back({unsigned(i), unsigned(j)}); }
  for (int j = 0; j < k % 3; ++j) p.cells.push_back(std::vector<int>(j, i));
  for (int j = 0; j < i % 2; ++j) p.parents[10 + j] = {unsigned(k), unsigned(j)};
  p.link = {unsigned(i), unsigned(k)};
  p.ends[0] = {1u + i, 2u}; p.ends[1] = {3u, 4u + k};
  for (int j = 0; j < 3; ++j) p.cov[j] = i + 0.125f * j;
  p.momentum.SetXYZ(i, k, i + k);
  p.mass = i + 0.1; p.eta = -4 + 0.5 * k; p.half = 0.75f * i; p.good = i % 2;
  p.n = k % 3; p.numbers = p.n ? new double[p.n] : nullptr;
  for (int j = 0; j < p.n; ++j) p.numbers[j] = 1000. * i + j;
  p.pair = {i, 0.5f * k}; p.kind = k % 2 ? Particle::kTwo : Particle::kOne;
  return p;
}
void fill(const char *name, bool byMembers) {
  TVirtualStreamerInfo::SetStreamMemberWise(byMembers);
  TTree tree(name, "");
  std::vector<TLorentzVector> lorentz; std::vector<std::vector<TLorentzVector>> nested;
  std::vector<ROOT::Math::XYZTVectorF> xyzt;
  std::vector<Outer> outer; std::vector<Particle> particles; Particle one; std::vector<std::vector<Link>> links;
  std::vector<std::pair<int, float>> pairs; std::list<Link> list; std::deque<Link> deque; std::vector<Tagged> tagged;
  std::vector<Holder> holders;
  std::map<std::string, double> weights; std::map<int, std::vector<float>> hits; std::map<int, std::vector<Link>> linked;
  std::map<std::string, Link> named; std::multimap<int, int> multi; std::unordered_map<int, double> unordered;
  std::map<int, std::map<int, float>> deep; std::vector<std::map<int, float>> maps;
  tree.Branch("lorentz", &lorentz, 32000, 0); tree.Branch("nested", &nested, 32000, 0); tree.Branch("xyzt", &xyzt, 32000, 0);
  tree.Branch("outer", &outer, 32000, 0); tree.Branch("particles", &particles, 32000, 0); tree.Branch("one", &one, 32000, 0);
  tree.Branch("links", &links, 32000, 0); tree.Branch("pairs", &pairs, 32000, 0); tree.Branch("list", &list, 32000, 0);
  tree.Branch("deque", &deque, 32000, 0); tree.Branch("tagged", &tagged, 32000, 0);
  tree.Branch("holders", &holders, 32000, 0);
  tree.Branch("weights", &weights, 32000, 0); tree.Branch("hits", &hits, 32000, 0); tree.Branch("linked", &linked, 32000, 0);
  tree.Branch("named", &named, 32000, 0); tree.Branch("multi", &multi, 32000, 0);
  tree.Branch("unordered", &unordered, 32000, 0);
  tree.Branch("deep", &deep, 32000, 0); tree.Branch("maps", &maps, 32000, 0);
  tree.Branch("split", &particles, 32000, 99); tree.Branch("splittagged", &tagged, 32000, 99);
  tree.SetAutoFlush(7);
  for (int i = 0; i < 25; ++i) {
    lorentz.clear(); nested.clear(); xyzt.clear(); outer.clear(); particles.clear(); links.clear(); pairs.clear();
    list.clear();
    deque.clear(); tagged.clear(); holders.clear(); weights.clear(); hits.clear(); linked.clear(); named.clear();
    multi.clear();
    unordered.clear(); deep.clear(); maps.clear();
    one = particle(i, i % 4);
    tagged.reserve(8);
    for (int k = 0; k < i % 4; ++k) {
      lorentz.push_back({1. * i, 2. * k, 3., 100. + i}); xyzt.push_back({1.f * i, 2.f * k, 3.f, 100.f + i});
      nested.push_back({}); links.push_back({});
      for (int j = 0; j < k; ++j) { nested.back().push_back({1. * i, 2. * k, 3. * j, 4.});
      links.back().push_back({unsigned(k), unsigned(j)}); }
      outer.push_back({{unsigned(i), unsigned(k)}, k}); particles.push_back(particle(i, k)); pairs.push_back({i, 0.5f * k});
      list.push_back({unsigned(i), unsigned(k)}); deque.push_back({unsigned(k), unsigned(i)});
      tagged.push_back({}); tagged.back().tag = 10 * i + k;
      holders.push_back({});
      weights[std::string(k, 'w') + "0"] = i + 0.5 * k; hits[10 * k] = std::vector<float>(k, 0.5f * i);
      linked[k] = std::vector<Link>(k, Link{unsigned(i), unsigned(k)});
      named["n" + std::to_string(k)] = {unsigned(i), unsigned(k)};
      multi.insert({i, k}); unordered[k] = i; deep[k][i] = 0.5f; maps.push_back({{i, 0.5f * k}});
    }
    for (int k = 0; k < i % 4; ++k) { tagged[k].SetUniqueID(0); tagged[k].ResetBit(kIsReferenced);
    if (k == 1) TRef{&tagged[k]}; }
    tree.Fill();
  }
  tree.Write();
}
void write(const char *path) {
  TFile file(path, "RECREATE");
  fill("by_members", true);
  fill("by_elements", false);
}
""")
ROOT.write("unsplit.root")
