"""Writes `records.root` with ROOT 6.40 (`pip install root`), and prints what RDataFrame makes of it.

An RNTuple `events` of records as podio writes them for EDM4hep: a collection of particles with a vector, an array and
links within, a relation, a vector of numbers; and what else records can hold. Clusters have 30 entries, pages few elements;
collections are empty in many entries, and in all of one cluster.
"""

import os
from pathlib import Path

import ROOT

ROOT.gInterpreter.Declare(r"""
#include <ROOT/RNTupleModel.hxx>
#include <ROOT/RNTupleWriteOptions.hxx>
#include <ROOT/RNTupleWriter.hxx>
#include <TFile.h>
#include <random>

struct Vector { float x, y, z; };
struct Hit { double energy; std::vector<short> cells; };
struct Particle {
  int PDG; float energy; Vector momentum; std::array<float, 3> cov; unsigned links_begin, links_end;
  std::vector<float> weights; std::vector<Hit> hits; std::string name; float mass; bool good;
  std::array<Vector, 2> ends;
};
struct ObjectID { int index; unsigned collectionID; };
struct Base { float e; };
struct Derived : Base { int q; };
struct Header { long number; double weight; Vector beam; std::vector<Vector> points; std::string tag; };

void writeRecords(TFile &file) {
  using namespace ROOT;
  constexpr int entries = 100, cluster = 30;
  auto model = RNTupleModel::Create();
  std::mt19937 random(7);
  auto real = [&] { return static_cast<float>(random() % 100000) / 1024.f; };
  auto vector = [&] { return Vector{real(), real(), real()}; };
  auto field = std::make_unique<RField<std::vector<Particle>>>("Particles");
  for (auto *member : field->GetMutableSubfields()[0]->GetMutableSubfields())
    if (member->GetFieldName() == "mass") member->SetColumnRepresentatives({{ENTupleColumnType::kReal16}});
  model->AddField(std::move(field));
  auto particles = model->GetDefaultEntry().GetPtr<std::vector<Particle>>("Particles");
  auto links = model->MakeField<std::vector<ObjectID>>("_Particles_links");
  auto header = model->MakeField<Header>("header");
  auto jets = model->MakeField<std::vector<std::vector<Vector>>>("jets");
  auto derived = model->MakeField<std::vector<Derived>>("derived");
  auto maybe = model->MakeField<std::optional<Vector>>("maybe");
  auto pairs = model->MakeField<std::vector<std::pair<int, float>>>("pairs");
  auto fixed = model->MakeField<std::array<Vector, 2>>("fixed");
  auto own = model->MakeField<float>("header_weight");
  RNTupleWriteOptions options;
  options.SetCompression(505);
  options.SetInitialUnzippedPageSize(64);
  options.SetMaxUnzippedPageSize(128);
  auto writer = RNTupleWriter::Append(std::move(model), "events", file, options);
  for (int entry = 0; entry < entries; ++entry) {
    bool none = entry / cluster == 1;
    particles->resize(none ? 0 : random() % 4);
    links->clear();
    for (auto &it : *particles) {
      it.PDG = random() % 400, it.energy = real(), it.momentum = vector(), it.good = random() % 2;
      it.cov = {real(), real(), real()};
      it.links_begin = links->size();
      for (int i = random() % 3; i > 0; --i)
        links->push_back({static_cast<int>(random() % 50), static_cast<unsigned>(random())});
      it.links_end = links->size();
      it.weights.resize(random() % 3), it.hits.resize(random() % 3), it.name = std::string(random() % 4, 'p');
      for (auto &value : it.weights) value = real();
      for (auto &hit : it.hits) {
        hit.energy = real(), hit.cells.resize(random() % 3);
        for (auto &cell : hit.cells) cell = random();
      }
      it.mass = real();
      it.ends = {vector(), vector()};
    }
    header->number = random(), header->weight = real(), header->beam = vector();
    header->tag = std::string(random() % 4, 'h');
    header->points.resize(random() % 3);
    for (auto &point : header->points) point = vector();
    jets->resize(none ? 0 : random() % 3);
    for (auto &jet : *jets) { jet.resize(random() % 3); for (auto &it : jet) it = vector(); }
    derived->resize(random() % 3);
    for (auto &it : *derived) it.e = real(), it.q = random() % 3;
    *maybe = random() % 2 ? std::optional<Vector>(vector()) : std::nullopt;
    pairs->clear();
    for (int i = random() % 3; i > 0; --i) pairs->emplace_back(static_cast<int>(random() % 9), real());
    *fixed = {vector(), vector()};
    *own = real();
    writer->Fill();
    if ((entry + 1) % cluster == 0) writer->CommitCluster();
  }
}
""")
os.chdir(Path(__file__).parent)  # the path is written into the file
file = ROOT.TFile.Open("records.root", "RECREATE")
ROOT.writeRecords(file)
file.Close()


def flat(value: object) -> list[float]:
    """All numbers in lists of any depth, and the lengths of texts."""
    if isinstance(value, str | ROOT.std.string):
        return [len(value)]
    return [number for part in value for number in flat(part)] if hasattr(value, "__len__") else [float(value)]


for kind in ("float", "double", "std::int16_t"):  # types of columns that ROOT has to know
    lists = f"ROOT::VecOps::RVec<ROOT::VecOps::RVec<{kind}>>"
    ROOT.gInterpreter.Declare(f"{lists} a_{kind[-4:]}; ROOT::VecOps::RVec<{lists}> b_{kind[-4:]};")
frame = ROOT.RDataFrame("events", "records.root")
left_out = ("maybe", "pairs", "R_rdf")
names = sorted(name for name in map(str, frame.GetColumnNames()) if not name.startswith(left_out))
for name in (name for name in names if not any(other.startswith(f"{name}.") for other in names)):
    values = flat(list(frame.AsNumpy([name])[name]))
    print(f'    "{name}": ({len(values)}, {sum(value * (i % 7 + 1) for i, value in enumerate(values))!r}),')
