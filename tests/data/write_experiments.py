"""Writes the files of `experiments/` with ROOT 6.40 (`pip install root`): where docs/experiments.md has no real one.

The names, types, units and the ways of writing are the experiments' own; the numbers are drawn at random: a resonance
over a background each.
"""

import os
import sys
from pathlib import Path

import ROOT

HERE = Path(__file__).resolve().parent / "experiments"
sys.path.append(str(HERE.parents[1] / "support"))

from old_blocks import as_root_3_wrote  # noqa: E402

for library in ("libPhysics", "libTree", "libROOTNTuple", "libMathCore"):
    ROOT.gSystem.Load(library)
ROOT.gInterpreter.Declare(r"""
#include <ROOT/RNTupleModel.hxx>
#include <ROOT/RNTupleWriteOptions.hxx>
#include <ROOT/RNTupleWriter.hxx>
#include <TClonesArray.h>
#include <TFile.h>
#include <TLorentzVector.h>
#include <TRandom3.h>
#include <TTree.h>

TRandom3 generator;

/// Two massless particles of a body of this mass and transverse momentum, flat in rapidity within these bounds.
std::pair<TLorentzVector, TLorentzVector> twoBody(double mass, double pt, double low, double high) {
  double y = generator.Uniform(low, high), phi = generator.Uniform(-M_PI, M_PI), mt = std::hypot(mass, pt);
  TLorentzVector parent(pt * cos(phi), pt * sin(phi), mt * sinh(y), mt * cosh(y)), first, second;
  double x, z, w;
  generator.Sphere(x, z, w, mass / 2);
  first.SetPxPyPzE(x, z, w, mass / 2), second.SetPxPyPzE(-x, -z, -w, mass / 2);
  first.Boost(parent.BoostVector()), second.Boost(parent.BoostVector());
  return {first, second};
}

/// ATLAS Open Data, 13 TeV: a tree `mini` of vectors, in MeV, with a number beside them.
void writeAtlas(const char *path) {
  generator.SetSeed(1);
  TFile file(path, "recreate", "", 505);
  TTree tree("mini", "4-vectors + variables required for scaling factors");
  Int_t run = 410000, event; Float_t weight, pileup, elecron, muon, met, metPhi; Bool_t trigE, trigM; UInt_t n;
  std::vector<float> pt, eta, phi, e, z0, d0, ptcone, etcone; std::vector<int> charge; std::vector<UInt_t> type;
  std::vector<bool> tight;
  tree.Branch("runNumber", &run), tree.Branch("eventNumber", &event), tree.Branch("mcWeight", &weight);
  tree.Branch("scaleFactor_PILEUP", &pileup), tree.Branch("scaleFactor_ELE", &elecron);
  tree.Branch("scaleFactor_MUON", &muon), tree.Branch("trigE", &trigE), tree.Branch("trigM", &trigM);
  tree.Branch("met_et", &met), tree.Branch("met_phi", &metPhi), tree.Branch("lep_n", &n);
  tree.Branch("lep_isTightID", &tight), tree.Branch("lep_pt", &pt), tree.Branch("lep_eta", &eta);
  tree.Branch("lep_phi", &phi), tree.Branch("lep_E", &e), tree.Branch("lep_z0", &z0);
  tree.Branch("lep_charge", &charge), tree.Branch("lep_type", &type), tree.Branch("lep_ptcone30", &ptcone);
  tree.Branch("lep_etcone20", &etcone), tree.Branch("lep_trackd0pvunbiased", &d0);
  for (event = 0; event < 400; ++event) {
    for (auto *values : {&pt, &eta, &phi, &e, &z0, &d0, &ptcone, &etcone}) values->clear();
    charge.clear(), type.clear(), tight.clear();
    weight = generator.Gaus(1, 0.1), pileup = generator.Uniform(0.8, 1.2), elecron = 0.98, muon = 0.99;
    met = generator.Exp(25e3), metPhi = generator.Uniform(-M_PI, M_PI);
    auto add = [&](const TLorentzVector &p, int q, unsigned kind) {
      pt.push_back(p.Pt()), eta.push_back(p.Eta()), phi.push_back(p.Phi()), e.push_back(p.E()), charge.push_back(q);
      type.push_back(kind), tight.push_back(generator.Uniform() < 0.9), z0.push_back(generator.Gaus(0, 0.3));
      d0.push_back(generator.Gaus(0, 0.02)), ptcone.push_back(generator.Exp(1e3)), etcone.push_back(generator.Exp(1e3));
    };
    unsigned kind = generator.Integer(2) ? 13 : 11;
    trigE = kind == 11, trigM = kind == 13;
    if (generator.Uniform() < 0.7) {
      auto [first, second] = twoBody(1e3 * generator.BreitWigner(91.2, 2.5), generator.Exp(15e3), -1.5, 1.5);
      add(first, 1, kind), add(second, -1, kind);
    }
    while (generator.Uniform() < 0.2) {
      TLorentzVector other;
      other.SetPtEtaPhiM(7e3 + generator.Exp(15e3), generator.Uniform(-2.5, 2.5), generator.Uniform(-M_PI, M_PI), 0);
      add(other, generator.Integer(2) ? 1 : -1, generator.Integer(2) ? 13 : 11);
    }
    n = pt.size();
    tree.Fill();
  }
  tree.Write();
}

/// LHCb: what DecayTreeTuple writes: a tree in a folder, numbers of MeV, an entry a candidate.
void writeLhcb(const char *path) {
  generator.SetSeed(2);
  TFile file(path, "recreate", "", 505);
  file.mkdir("B2JpsiKTuple")->cd();
  TTree tree("DecayTree", "DecayTree");
  std::map<std::string, double> numbers;
  for (auto *name : {"B_M", "B_PT", "B_IPCHI2_OWNPV", "B_DIRA_OWNPV", "B_ENDVERTEX_CHI2", "J_psi_1S_M", "Kplus_PT",
                     "Kplus_ProbNNk", "Kplus_IPCHI2_OWNPV", "muplus_PX", "muplus_PY", "muplus_PZ", "muplus_PE",
                     "muminus_PX", "muminus_PY", "muminus_PZ", "muminus_PE"})
    tree.Branch(name, &numbers[name]);
  Int_t ndof = 3, kaon = 321; UInt_t run = 174000, candidate, candidates; ULong64_t event; Bool_t tos;
  Int_t constrained; Float_t mass[10];
  tree.Branch("B_ENDVERTEX_NDOF", &ndof), tree.Branch("Kplus_ID", &kaon), tree.Branch("B_L0MuonDecision_TOS", &tos);
  tree.Branch("B_DTF_nPV", &constrained), tree.Branch("B_DTF_M", mass, "B_DTF_M[B_DTF_nPV]/F");
  tree.Branch("runNumber", &run), tree.Branch("eventNumber", &event), tree.Branch("nCandidate", &candidate);
  tree.Branch("totCandidates", &candidates);
  for (event = 1000; event < 1400; ++event) {
    candidates = generator.Uniform() < 0.2 ? 2 : 1;
    for (candidate = 0; candidate < candidates; ++candidate) {
      bool signal = generator.Uniform() < 0.5;
      auto [plus, minus] = twoBody(generator.Gaus(3097, 12), generator.Exp(3000), 2.2, 4.2);
      numbers["muplus_PX"] = plus.Px(), numbers["muplus_PY"] = plus.Py(), numbers["muplus_PZ"] = plus.Pz();
      numbers["muplus_PE"] = plus.E(), numbers["muminus_PX"] = minus.Px(), numbers["muminus_PY"] = minus.Py();
      numbers["muminus_PZ"] = minus.Pz(), numbers["muminus_PE"] = minus.E(), numbers["J_psi_1S_M"] = (plus + minus).M();
      numbers["B_M"] = signal ? generator.Gaus(5279, 18) : generator.Uniform(5150, 5450);
      numbers["B_PT"] = generator.Exp(5000), numbers["B_IPCHI2_OWNPV"] = generator.Exp(signal ? 3 : 10);
      numbers["B_DIRA_OWNPV"] = 1 - generator.Exp(1e-4), numbers["B_ENDVERTEX_CHI2"] = generator.Exp(3);
      numbers["Kplus_PT"] = 300 + generator.Exp(900), numbers["Kplus_IPCHI2_OWNPV"] = generator.Exp(50);
      numbers["Kplus_ProbNNk"] = signal ? std::sqrt(generator.Uniform()) : generator.Uniform();
      kaon = generator.Integer(2) ? 321 : -321, tos = generator.Uniform() < 0.8, constrained = 1 + generator.Integer(3);
      for (int i = 0; i < constrained; ++i) mass[i] = numbers["B_M"] + generator.Gaus(0, 3);
      tree.Fill();
    }
  }
  file.cd("B2JpsiKTuple");
  tree.Write();
}

/// Belle II: what basf2's VariablesToNtuple writes: numbers only, names with double underscores, an entry a candidate.
void writeBelle(const char *path) {
  generator.SetSeed(3);
  TFile file(path, "recreate", "", 505);
  TTree tree("Bp", "Bp");
  Int_t experiment = 26, run = 1540, event, candidate, candidates; Float_t weight = 1;
  std::map<std::string, double> numbers;
  tree.Branch("__experiment__", &experiment), tree.Branch("__run__", &run), tree.Branch("__event__", &event);
  tree.Branch("__candidate__", &candidate), tree.Branch("__ncandidates__", &candidates);
  tree.Branch("__weight__", &weight);
  for (auto *name : {"Mbc", "deltaE", "M", "isSignal", "R2", "Kp_p", "Kp_kaonID", "Kp_charge", "D0_M",
                     "extraInfo__boFBDT_output__bc", "extraInfo__boFBDT_rank__bc"})
    tree.Branch(name, &numbers[name]);
  for (event = 1; event <= 400; ++event) {
    candidates = 1 + generator.Poisson(0.3);
    double outputs[20];
    for (candidate = 0; candidate < candidates; ++candidate)
      outputs[candidate] = std::pow(generator.Uniform(), candidate ? 2 : 0.5);
    for (candidate = 0; candidate < candidates; ++candidate) {
      bool signal = candidate == 0 && generator.Uniform() < 0.4;
      numbers["isSignal"] = generator.Uniform() < 0.02 ? NAN : signal;
      numbers["Mbc"] = signal ? generator.Gaus(5.2794, 0.0027) : 5.29 - 0.09 * std::pow(generator.Uniform(), 2);
      numbers["deltaE"] = signal ? generator.Gaus(0, 0.015) : generator.Uniform(-0.3, 0.3);
      numbers["M"] = numbers["Mbc"] + numbers["deltaE"], numbers["R2"] = generator.Uniform(0, signal ? 0.4 : 0.9);
      numbers["Kp_p"] = generator.Uniform(1.5, 3), numbers["Kp_kaonID"] = signal ? 0.9 : generator.Uniform();
      numbers["Kp_charge"] = generator.Integer(2) ? 1 : -1, numbers["D0_M"] = generator.Gaus(1.8648, 0.005);
      numbers["extraInfo__boFBDT_output__bc"] = outputs[candidate];
      numbers["extraInfo__boFBDT_rank__bc"] =
          1 + std::count_if(outputs, outputs + candidates, [&](double other) { return other > outputs[candidate]; });
      tree.Fill();
    }
  }
  tree.Write();
}

/// ALICE, Run 3: tables in folders of time frames; tracks name their collision by its number within the folder.
void writeAod(const char *path) {
  generator.SetSeed(4);
  TFile file(path, "recreate", "", 505);
  for (auto *folder : {"DF_2302986320", "DF_2302986448", "DF_2302986064"}) {
    file.mkdir(folder)->cd();
    TTree collisions("O2collision_001", "O2collision_001"), tracks("O2track_iu", "O2track_iu");
    TTree extra("O2trackextra_001", "O2trackextra_001");
    Int_t bc, index; Float_t x, y, z, chi2, time = 0; UShort_t contributors; Float_t tx, alpha, ty, tz, snp, tgl, q;
    UChar_t type; UInt_t flags; UChar_t clusters; Float_t signal, itsChi2;
    collisions.Branch("fIndexBCs", &bc), collisions.Branch("fPosX", &x), collisions.Branch("fPosY", &y);
    collisions.Branch("fPosZ", &z), collisions.Branch("fChi2", &chi2);
    collisions.Branch("fNumContrib", &contributors), collisions.Branch("fCollisionTime", &time);
    tracks.Branch("fIndexCollisions", &index), tracks.Branch("fTrackType", &type), tracks.Branch("fX", &tx);
    tracks.Branch("fAlpha", &alpha), tracks.Branch("fY", &ty), tracks.Branch("fZ", &tz), tracks.Branch("fSnp", &snp);
    tracks.Branch("fTgl", &tgl), tracks.Branch("fSigned1Pt", &q);
    extra.Branch("fFlags", &flags), extra.Branch("fTPCNClsFindable", &clusters), extra.Branch("fTPCSignal", &signal);
    extra.Branch("fITSChi2NCl", &itsChi2);
    auto addTrack = [&](int of) {
      index = of, type = of < 0 ? 1 : 0, tx = generator.Uniform(2, 4), alpha = generator.Uniform(-M_PI, M_PI);
      ty = generator.Gaus(0, 0.2), tz = generator.Gaus(0, 6), snp = generator.Uniform(-0.3, 0.3);
      tgl = std::sinh(generator.Uniform(-0.9, 0.9));
      q = (generator.Integer(2) ? 1 : -1) / (0.1 + generator.Exp(0.6));
      flags = generator.Integer(1 << 16), clusters = generator.Integer(90) + 70, signal = generator.Gaus(60, 8);
      itsChi2 = generator.Exp(2);
      tracks.Fill(), extra.Fill();
    };
    int number = 20 + generator.Integer(20);
    for (int collision = 0; collision < number; ++collision) {
      contributors = generator.Poisson(6), bc = 3 * collision, chi2 = generator.Exp(20);
      x = generator.Gaus(0, 0.01), y = generator.Gaus(0, 0.01), z = generator.Gaus(0, 6);
      for (int track = 0; track < contributors; ++track) addTrack(collision);
      collisions.Fill();
    }
    for (int i = 0; i < 15; ++i) addTrack(-1);
    collisions.Write(), tracks.Write(), extra.Write();
  }
}

class AliVertex : public TNamed {
 public:
  Double32_t fPosition[3]; Double32_t fSigma; Int_t fNContributors;
  ClassDef(AliVertex, 2)
};
class AliESDVertex : public AliVertex {
 public:
  Double32_t fCovXX, fCovXY, fCovYY, fCovXZ, fCovYZ, fCovZZ, fSNR[3], fChi2;
  ClassDef(AliESDVertex, 9)
};
class AliExternalTrackParam : public TObject {
 public:
  Double32_t fX, fAlpha, fP[5], fC[15];
  ClassDef(AliExternalTrackParam, 8)
};
class AliESDtrack : public AliExternalTrackParam {
 public:
  ULong_t fFlags; Int_t fID, fLabel;
  Double32_t fTPCr[5];       //[0.,0.,8]
  Double32_t fTPCsignal;     //[0.,0.,10]
  Double32_t fTPCchi2;       //[0.,0.,8]
  UShort_t fTPCncls; UChar_t fITSncls, fITSClusterMap;
  ClassDef(AliESDtrack, 64)
};

/// ALICE, Runs 1 and 2: `esdTree`, with vertices and a TClonesArray of tracks, split.
void writeEsd(const char *path) {
  generator.SetSeed(5);
  TFile file(path, "recreate", "", 101);
  TTree tree("esdTree", "Tree with ESD objects");
  AliESDVertex vertex;
  vertex.SetName("PrimaryVertex");
  TClonesArray tracks("AliESDtrack");
  tree.Branch("PrimaryVertex.", &vertex), tree.Branch("Tracks", &tracks);
  for (int event = 0; event < 100; ++event) {
    tracks.Clear();
    vertex.fNContributors = generator.Poisson(8);
    for (auto &number : vertex.fPosition) number = generator.Gaus(0, 0.05);
    for (auto &number : vertex.fSNR) number = 1;
    vertex.fPosition[2] = generator.Gaus(0, 6), vertex.fSigma = 0.01, vertex.fChi2 = generator.Exp(5);
    vertex.fCovXX = vertex.fCovYY = vertex.fCovZZ = 1e-4, vertex.fCovXY = vertex.fCovXZ = vertex.fCovYZ = 0;
    for (int number = 0; number < vertex.fNContributors; ++number) {
      auto &track = *new (tracks[number]) AliESDtrack;
      track.fX = generator.Uniform(0, 3), track.fAlpha = generator.Uniform(-M_PI, M_PI);
      track.fP[0] = generator.Gaus(0, 0.1), track.fP[1] = generator.Gaus(0, 5), track.fP[2] = generator.Uniform(-.3, .3);
      track.fP[3] = std::sinh(generator.Uniform(-0.9, 0.9));
      track.fP[4] = (generator.Integer(2) ? 1 : -1) / (0.1 + generator.Exp(0.6));
      for (auto &element : track.fC) element = 1e-4;
      track.fFlags = generator.Integer(8), track.fID = number, track.fLabel = number, track.fTPCchi2 = generator.Exp(90);
      for (auto &probability : track.fTPCr) probability = generator.Integer(256) / 255.;
      track.fTPCsignal = generator.Gaus(60, 8), track.fTPCncls = 60 + generator.Integer(100);
      track.fITSncls = generator.Integer(7), track.fITSClusterMap = generator.Integer(64);
    }
    tree.Fill();
  }
  tree.Write();
}

namespace edm4hep {
struct Vector3f { float x, y, z; };
struct CovMatrix4f { std::array<float, 10> values; };
struct ReconstructedParticleData {
  int PDG; float energy; Vector3f momentum, referencePoint; float charge, mass, goodnessOfPID; CovMatrix4f covMatrix;
  unsigned clusters_begin, clusters_end, tracks_begin, tracks_end, particles_begin, particles_end;
};
struct EventHeaderData { int eventNumber, runNumber; unsigned long timeStamp; double weight;
                         unsigned weights_begin, weights_end; };
}
namespace podio { struct ObjectID { int index; unsigned collectionID; }; }

/// FCC: what podio's RNTupleWriter writes of EDM4hep: e+ e- -> Z H at 240 GeV, Z -> mu mu, in GeV.
void writeFcc(const char *path) {
  generator.SetSeed(6);
  TFile file(path, "recreate");
  auto model = ROOT::RNTupleModel::Create();
  auto header = model->MakeField<std::vector<edm4hep::EventHeaderData>>("EventHeader");
  auto particles = model->MakeField<std::vector<edm4hep::ReconstructedParticleData>>("ReconstructedParticles");
  auto muons = model->MakeField<std::vector<podio::ObjectID>>("Muon_objIdx");
  ROOT::RNTupleWriteOptions options;
  options.SetCompression(505);
  auto writer = ROOT::RNTupleWriter::Append(std::move(model), "events", file, options);
  for (int event = 0; event < 300; ++event) {
    *header = {{event, 1, 0, 1., 0, 0}};
    particles->clear(), muons->clear();
    auto add = [&](const TLorentzVector &p, float charge, int pdg) {
      float x = p.Px(), y = p.Py(), z = p.Pz(), e = p.E();
      particles->push_back({pdg, e, {x, y, z}, {0, 0, 0}, charge, static_cast<float>(p.M()), 1, {}, 0, 0, 0, 0, 0, 0});
    };
    auto other = [&] {
      TLorentzVector p;
      p.SetPtEtaPhiM(generator.Exp(4), generator.Uniform(-2, 2), generator.Uniform(-M_PI, M_PI), 0.13957);
      add(p, generator.Integer(3) - 1., 211);
    };
    for (int i = generator.Poisson(8); i > 0; --i) other();
    if (generator.Uniform() < 0.8) {
      double mass = generator.BreitWigner(91.2, 2.5);
      auto [plus, minus] = twoBody(mass, 50 * std::abs(generator.Gaus(0, 1)), -0.2, 0.2);
      for (auto [muon, charge] : {std::pair(plus, 1.f), std::pair(minus, -1.f)}) {
        muons->push_back({static_cast<int>(particles->size()), 0x6aa3a22fu});
        add(muon, charge, charge > 0 ? -13 : 13);
        other();
      }
    }
    writer->Fill();
  }
}

/// BaBar: what BtaTupleMaker wrote: a tree `ntp1` of arrays with counters, in GeV, an entry an event.
void writeBabar(const char *path) {
  generator.SetSeed(7);
  TFile file(path, "recreate", "", 101);
  TTree tree("ntp1", "ntp1");
  Int_t upper, lower, n, k, piIdx[20]; Float_t mass[20], pstar[20], chi2[20], d1Mass[20], thrust, r2;
  tree.Branch("upperID", &upper), tree.Branch("lowerID", &lower), tree.Branch("R2All", &r2);
  tree.Branch("thrustMag", &thrust), tree.Branch("nDstar", &n), tree.Branch("DstarMass", mass, "DstarMass[nDstar]/F");
  tree.Branch("Dstarp3CM", pstar, "Dstarp3CM[nDstar]/F");
  tree.Branch("DstarVtxChi2", chi2, "DstarVtxChi2[nDstar]/F");
  tree.Branch("Dstard2Idx", piIdx, "Dstard2Idx[nDstar]/I"), tree.Branch("nD0", &k);
  tree.Branch("D0Mass", d1Mass, "D0Mass[nD0]/F");
  for (int event = 0; event < 400; ++event) {
    upper = 0x00c40000 + event / 100, lower = generator.Integer(1 << 30), r2 = generator.Uniform();
    thrust = generator.Uniform(0.6, 1), n = generator.Poisson(1.2), k = 1 + generator.Poisson(0.5);
    for (int i = 0; i < k; ++i) d1Mass[i] = generator.Gaus(1.8645, 0.007);
    for (int i = 0; i < n; ++i) {
      piIdx[i] = generator.Integer(k);
      double difference = generator.Uniform() < 0.6 ? generator.Gaus(0.1454, 0.0004) : 0.1396 + generator.Exp(0.01);
      mass[i] = d1Mass[piIdx[i]] + difference, pstar[i] = generator.Uniform(0.5, 5), chi2[i] = generator.Exp(4);
    }
    tree.Fill();
  }
  tree.Write();
}
""")


os.chdir(HERE)
ROOT.writeAtlas("atlas_open_data.root")
ROOT.writeLhcb("lhcb_decay_tree.root")
ROOT.writeBelle("belle2_ntuple.root")
ROOT.writeAod("AO2D.root")
ROOT.writeEsd("AliESDs.root")
ROOT.writeFcc("edm4hep_rntuple.root")
ROOT.writeBabar("babar_ntp1.root")
as_root_3_wrote(HERE / "babar_ntp1.root")
