"""Writes `rntuples.root` with ROOT 6.40 (`pip install root`): the same entries in three RNTuples, one a codec.

Each has clusters of 30 entries and small pages, all kinds of fields, some of which are added within the second cluster.
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

using namespace ROOT;

void write(TFile &file, const char *name, int compression) {
  constexpr int entries = 100, cluster = 30;
  auto model = RNTupleModel::Create();
  std::mt19937 random(5);
  std::vector<std::function<void()>> fills;
  auto real = [&] { return static_cast<float>(random() % 100000) / 1000.f; };
  auto number = [&](const char *field, auto zero) {
    auto value = model->MakeField<decltype(zero)>(field);
    fills.push_back([=, &random] { *value = static_cast<decltype(zero)>(random() - random()); });
  };
  auto list = [&](std::vector<float> &values, int most) {
    values.resize(random() % most);
    for (auto &value : values) value = real();
  };
  auto lists = [&](const char *field, ENTupleColumnType index) {
    auto vector = std::make_unique<RField<std::vector<float>>>(field);
    vector->SetColumnRepresentatives({{index}});
    model->AddField(std::move(vector));
    auto values = model->GetDefaultEntry().GetPtr<std::vector<float>>(field);
    fills.push_back([=] { list(*values, 5); });
  };
  auto truth = model->MakeField<bool>("bool");
  fills.push_back([&] { *truth = random() % 3 == 0; });
  number("i1", std::int8_t()), number("u1", std::uint8_t()), number("char", char());
  number("i2", std::int16_t()), number("u2", std::uint16_t()), number("i4", std::int32_t());
  number("u4", std::uint32_t()), number("i8", std::int64_t()), number("u8", std::uint64_t());
  number("f4", float()), number("f8", double()), number("atomic", int());
  lists("index32", ENTupleColumnType::kIndex32), lists("split32", ENTupleColumnType::kSplitIndex32);
  lists("index64", ENTupleColumnType::kIndex64), lists("split64", ENTupleColumnType::kSplitIndex64);
  auto pt = model->MakeField<RVec<float>>("pt");
  auto charge = model->MakeField<RVec<std::int32_t>>("charge");
  auto tight = model->MakeField<std::vector<bool>>("tight");
  fills.push_back([&] {
    pt->clear(), charge->clear(), tight->clear();
    for (int i = random() % 4; i > 0; --i)
      pt->push_back(real()), charge->push_back(1 - 2 * static_cast<int>(random() % 2)), tight->push_back(random() % 2);
  });
  auto nested = model->MakeField<std::vector<std::vector<float>>>("nested");
  auto names = model->MakeField<std::vector<std::string>>("names");
  auto points = model->MakeField<std::vector<std::array<float, 3>>>("points");
  auto set = model->MakeField<std::set<std::int64_t>>("set");
  fills.push_back([&] {
    nested->resize(random() % 3), names->resize(random() % 3), points->resize(random() % 3), set->clear();
    for (auto &values : *nested) list(values, 4);
    for (auto &text : *names) text = std::string(random() % 6, 'a' + random() % 26);
    for (auto &point : *points) for (auto &value : point) value = real();
    for (int i = random() % 4; i > 0; --i) set->insert(random());
  });
  auto text = model->MakeField<std::string>("text");
  auto array = model->MakeField<std::array<float, 4>>("array");
  auto matrix = model->MakeField<std::array<std::array<std::int16_t, 2>, 3>>("matrix");
  auto flags = model->MakeField<std::array<bool, 5>>("flags");
  auto bits = model->MakeField<std::bitset<13>>("bits");
  auto vectors = model->MakeField<std::array<std::vector<float>, 2>>("vectors");
  auto option = model->MakeField<std::optional<float>>("option");
  auto pair = model->MakeField<std::pair<float, std::int32_t>>("pair");
  fills.push_back([&] {
    *text = std::string(random() % 9, 'A' + random() % 26), *bits = random(), *pair = {real(), random()};
    for (auto &value : *array) value = real();
    for (auto &row : *matrix) for (auto &value : row) value = random();
    for (auto &value : *flags) value = random() % 2;
    for (auto &values : *vectors) list(values, 3);
    *option = random() % 2 ? std::optional<float>(real()) : std::nullopt;
  });
  auto bare = [&](const char *field, auto change) {
    auto values = std::make_unique<RField<float>>(field);
    change(*values);
    model->AddField(std::move(values));
    auto value = model->GetDefaultEntry().GetPtr<float>(field);
    fills.push_back([=] { *value = real(); });
  };
  bare("half", [](auto &field) { field.SetHalfPrecision(); });
  bare("truncated", [](auto &field) { field.SetTruncated(20); });
  bare("quantized", [](auto &field) { field.SetQuantized(12, {0., 100.}); });
  auto source = [](const char *field) { return [=](const std::string &) { return std::string(field); }; };
  model->AddProjectedField(std::make_unique<RField<RNTupleCardinality<std::uint32_t>>>("npt"), source("pt"));
  model->AddProjectedField(std::make_unique<RField<RNTupleCardinality<std::uint64_t>>>("nsplit32"), source("split32"));
  model->AddProjectedField(std::make_unique<RField<float>>("alias"), source("f4"));

  RNTupleWriteOptions options;
  options.SetCompression(compression);
  options.SetInitialUnzippedPageSize(64);
  options.SetMaxUnzippedPageSize(128);
  auto writer = RNTupleWriter::Append(std::move(model), name, file, options);
  for (int entry = 0; entry < entries; ++entry) {
    if (entry == cluster * 3 / 2) {
      auto updater = writer->CreateModelUpdater();
      updater->BeginUpdate();
      auto number = updater->MakeField<float>("late");
      auto values = updater->MakeField<std::vector<float>>("late_list");
      auto array = updater->MakeField<std::array<float, 3>>("late_array");
      auto text = updater->MakeField<std::string>("late_text");
      updater->CommitUpdate();
      fills.push_back([=, &random] {
        *number = real(), *text = std::string(random() % 5, 'z');
        for (auto &value : *array) value = real();
        list(*values, 4);
      });
    }
    for (auto &fill : fills) fill();
    writer->Fill();
    if ((entry + 1) % cluster == 0) writer->CommitCluster((entry + 1) % (2 * cluster) == 0);
  }
}
""")
os.chdir(Path(__file__).parent)  # the path is written into the file
file = ROOT.TFile.Open("rntuples.root", "RECREATE")
for name, compression in {"zstd": 505, "lz4": 404, "none": 0}.items():
    ROOT.write(file, name, compression)
file.Close()
