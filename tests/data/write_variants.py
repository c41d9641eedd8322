"""Writes `variants.root` with ROOT 6.40 (`pip install root`): `std::variant` in many places, in clusters of 10 entries.

What is filled is told by the entry's number; ROOT reads it back here, so that `test_variants.py` holds ROOT's answers.
"""

import os
from pathlib import Path

import ROOT

ROOT.gInterpreter.Declare(r"""
#include <ROOT/RNTupleModel.hxx>
#include <ROOT/RNTupleReader.hxx>
#include <ROOT/RNTupleWriter.hxx>
#include <optional>
#include <sstream>
#include <variant>

using Number = std::variant<int, float>;
using Wide = std::variant<std::int64_t, double, std::string, std::vector<float>>;
constexpr int entries = 40, cluster = 10, late_from = 15;

Number number(int i) { return i % 3 == 0 ? Number(i + 0.5f) : Number(i); }
Wide wide(int i) {
  if (i % 4 == 0) return std::int64_t(9007199254740993) + i;  // no double is this number
  if (i % 4 == 1) return i + 0.25;
  if (i % 4 == 2) return std::string(i % 7, 'a' + i % 26);
  return std::vector<float>(i % 3, i + 0.5f);
}

void write(const char *path) {
  auto model = ROOT::RNTupleModel::Create();
  auto one = model->MakeField<Number>("one");
  auto many = model->MakeField<std::vector<Number>>("many");
  auto deep = model->MakeField<std::vector<std::vector<Number>>>("deep");
  auto pair = model->MakeField<std::array<Number, 2>>("pair");
  auto both = model->MakeField<std::pair<Number, std::int32_t>>("both");
  auto some = model->MakeField<std::optional<Number>>("some");
  auto any = model->MakeField<Wide>("any");
  std::shared_ptr<Number> late;
  std::shared_ptr<std::array<Number, 2>> late_pair;
  auto writer = ROOT::RNTupleWriter::Recreate(std::move(model), "variants", path);
  for (int i = 0; i < entries; ++i) {
    if (i == late_from) {
      auto updater = writer->CreateModelUpdater();
      updater->BeginUpdate();
      late = updater->MakeField<Number>("late");
      late_pair = updater->MakeField<std::array<Number, 2>>("late_pair");
      updater->CommitUpdate();
    }
    *one = number(i), *pair = {number(2 * i), number(i + 1)}, *both = {number(i), i}, *any = wide(i);
    many->clear(), deep->clear();
    for (int k = 0; k < i % 3; ++k) many->push_back(number(10 * i + k)), deep->push_back(*many);
    *some = i % 5 ? std::optional<Number>(number(i)) : std::nullopt;
    if (late) *late = number(i), *late_pair = {number(i), number(i + 1)};
    writer->Fill();
    if (i % cluster == cluster - 1) writer->CommitCluster();
  }
}

bool read(const char *path) {
  auto reader = ROOT::RNTupleReader::Open("variants", path);
  auto one = reader->GetView<Number>("one");
  auto many = reader->GetView<std::vector<Number>>("many");
  auto any = reader->GetView<Wide>("any");
  auto late = reader->GetView<Number>("late");
  bool right = true;
  for (int i = 0; i < entries; ++i) {
    right = right && one(i) == number(i) && any(i) == wide(i) && int(many(i).size()) == i % 3;
    right = right && (i < late_from ? late(i).index() > 1 : late(i) == number(i));
    for (int k = 0; k < i % 3; ++k) right = right && many(i)[k] == number(10 * i + k);
  }
  return right;
}
""")
os.chdir(Path(__file__).parent)  # the path is written into the file
ROOT.write("variants.root")
assert ROOT.read("variants.root"), "ROOT reads something else than it has written"
