// Writes RNTuples of all types and encodings, and what ROOT reads in them; see root_ntuples.py.

#include "root_values.h"
#include <iostream>
#include <ROOT/RNTupleModel.hxx>
#include <ROOT/RNTupleParallelWriter.hxx>
#include <ROOT/RNTupleFillContext.hxx>
#include <ROOT/RNTupleReader.hxx>
#include <ROOT/RNTupleWriteOptions.hxx>
#include <ROOT/RNTupleWriter.hxx>
#include <ROOT/RNTupleAttrWriting.hxx>
#include <ROOT/RField/RFieldSequenceContainer.hxx>
using namespace ROOT;

struct Deep {
  Point p; std::vector<Point> ps; std::string s; std::array<Point, 2> a; Color c; bool good; std::vector<std::string> names;
  std::map<int, float> m;
};
struct Deeper { std::vector<Deep> deep; std::array<std::vector<Point>, 2> two; Derived base; };
#ifdef __ROOTCLING__
#pragma link C++ class Deep+;
#pragma link C++ class Deeper+;
#pragma link C++ class std::map<int, float>+;
#pragma link C++ class std::map<int, std::int16_t>+;
#pragma link C++ class std::map<int, std::string>+;
#pragma link C++ class std::map<int, std::uint64_t>+;
#pragma link C++ class std::map<std::string, std::vector<float>>+;
#pragma link C++ class std::map<int, std::map<int, int>>+;
#pragma link C++ class std::map<int, int>+;
#pragma link C++ class std::map<int, Point>+;
#pragma link C++ class std::multimap<int, float>+;
#pragma link C++ class std::unordered_map<int, float>+;
#pragma link C++ class std::set<float>+;
#pragma link C++ class std::set<std::int64_t>+;
#pragma link C++ class std::set<std::string>+;
#pragma link C++ class std::set<int>+;
#pragma link C++ class std::multiset<int>+;
#pragma link C++ class std::unordered_set<int>+;
#pragma link C++ class std::vector<std::map<int, float>>+;
#pragma link C++ class std::vector<std::set<int>>+;
#endif

template <> struct Fill<Deep> {
  static void to(Deep &v) { fill(v.p), fill(v.ps), fill(v.s), fill(v.a), fill(v.c), fill(v.good), fill(v.names), fill(v.m); }
};
template <> struct Fill<Deeper> { static void to(Deeper &v) { fill(v.deep), fill(v.two), fill(v.base); } };

// --- what ROOT reads, as JSON ----------------------------------------------------------------------------------------

template <class T> T as(const RFieldBase::RValue &value) { return *static_cast<const T *>(value.GetPtr<void>().get()); }

bool starts(const std::string &text, const char *with) { return text.rfind(with, 0) == 0; }

void print(std::ostream &out, const RFieldBase &field, const RFieldBase::RValue &value) {
  const auto &type = field.GetTypeName();
  if (type == "bool") out << (as<bool>(value) ? "true" : "false");
  else if (type == "char") out << int(as<unsigned char>(value));
  else if (type == "std::byte") out << int(as<unsigned char>(value));
  else if (type == "std::int8_t") out << int(as<signed char>(value));
  else if (type == "std::uint8_t") out << int(as<unsigned char>(value));
  else if (type == "std::int16_t") out << as<std::int16_t>(value);
  else if (type == "std::uint16_t") out << as<std::uint16_t>(value);
  else if (type == "std::int32_t") out << as<std::int32_t>(value);
  else if (type == "std::uint32_t") out << as<std::uint32_t>(value);
  else if (type == "std::int64_t") out << as<std::int64_t>(value);
  else if (type == "std::uint64_t") out << as<std::uint64_t>(value);
  else if (type == "float") number(out, as<float>(value));
  else if (type == "double") number(out, as<double>(value));
  else if (type == "std::string") quoted(out, as<std::string>(value));
  else if (type == "ROOT::RNTupleCardinality<std::uint32_t>") out << as<std::uint32_t>(value);
  else if (type == "ROOT::RNTupleCardinality<std::uint64_t>") out << as<std::uint64_t>(value);
  else if (starts(type, "std::bitset<")) {
    auto words = static_cast<const unsigned long *>(value.GetPtr<void>().get());
    int n = std::stoi(type.substr(12));
    out << '[';
    for (int i = 0; i < n; ++i) out << (i ? ", " : "") << ((words[i / 64] >> (i % 64)) & 1 ? "true" : "false");
    out << ']';
  } else if (field.GetStructure() == ROOT::ENTupleStructure::kStreamer) out << "\"streamed\"";
  else {
    auto parts = field.SplitValue(value);
    bool maybe = starts(type, "std::optional<") || starts(type, "std::unique_ptr<");
    if (maybe && parts.empty()) out << "null";
    else if (maybe || starts(type, "std::atomic<") || starts(type, "std::variant<") || field.GetStructure() == ROOT::ENTupleStructure::kPlain && !starts(type, "std::array<"))
      if (parts.size()) print(out, parts[0].GetField(), parts[0]); else out << "null";
    else {
      bool record = field.GetStructure() == ROOT::ENTupleStructure::kRecord;
      out << (record ? '{' : '[');
      for (std::size_t i = 0; i < parts.size(); ++i) {
        out << (i ? ", " : "");
        if (record) quoted(out, parts[i].GetField().GetFieldName()), out << ": ";
        print(out, parts[i].GetField(), parts[i]);
      }
      out << (record ? '}' : ']');
    }
  }
}

/// Of one RNTuple. Entry by entry: a view of each field would read all clusters again.
void answers(const char *path, const char *name, const char *to) {
  auto reader = RNTupleReader::Open(name, path);
  auto &entry = reader->GetModel().GetDefaultEntry();
  std::vector<std::ostringstream> fields(std::distance(entry.begin(), entry.end()));
  for (auto number : reader->GetEntryRange()) {
    reader->LoadEntry(number);
    int i = 0;
    for (const auto &value : entry) {
      fields[i] << (number ? ", " : "");
      print(fields[i++], value.GetField(), value);
    }
  }
  std::ofstream out(to);
  int i = 0;
  out << '{';
  for (const auto &value : entry) {
    out << (i ? ",\n" : ""), quoted(out, value.GetField().GetFieldName());
    out << ": [" << fields[i++].str() << ']';
  }
  out << "}\n";
}

// --- fields ----------------------------------------------------------------------------------------------------------

std::vector<std::function<void()>> fills;

RNTupleWriter *current = nullptr;

std::function<void *()> added(RNTupleModel &model, const std::string &name, const std::string &type) {
  model.AddField(RFieldBase::Create(name, type).Unwrap());
  auto *to = model.GetDefaultEntry().GetPtr<void>(name).get();
  return [=] { return to; };
}

std::function<void *()> added(RNTupleModel::RUpdater &updater, const std::string &name, const std::string &type) {
  updater.AddField(RFieldBase::Create(name, type).Unwrap());
  return [=] { return current->GetModel().GetDefaultEntry().GetPtr<void>(name).get(); };
}

/// By the name of its type: as templates, the fields take minutes to compile.
template <class T, class M> void add(M &model, const std::string &name, const std::string &type = RField<T>::TypeName()) {
  std::function<void *()> to;
  try { to = added(model, name, type); } catch (const RException &error) { std::cerr << "ROOT cannot write " << name << " of type " << type << ": " << std::string(error.what()).substr(0, 150) << std::endl; return; }
  fills.push_back([=] { fill(*static_cast<T *>(to())); });
}

template <class M> void numbers(M &m) {
  add<bool>(m, "bool"), add<char>(m, "char"), add<std::byte>(m, "byte"), add<std::int8_t>(m, "i1"), add<std::uint8_t>(m, "u1");
  add<std::int16_t>(m, "i2"), add<std::uint16_t>(m, "u2"), add<std::int32_t>(m, "i4"), add<std::uint32_t>(m, "u4");
  add<std::int64_t>(m, "i8"), add<std::uint64_t>(m, "u8"), add<float>(m, "f4"), add<double>(m, "f8");
  add<double>(m, "double32", "Double32_t"), add<std::string>(m, "string"), add<Color>(m, "enum"), add<Plain>(m, "enum4");
  add<std::atomic<int>>(m, "atomic"), add<std::atomic<bool>>(m, "atomic_bool"), add<std::atomic<double>>(m, "atomic_f8");
}

template <class T, class M> void collections(M &m, const std::string &n) {
  add<std::vector<T>>(m, "vector_" + n), add<RVec<T>>(m, "rvec_" + n), add<std::array<T, 3>>(m, "array_" + n);
  add<std::array<T, 1>>(m, "array1_" + n);
  add<std::vector<std::vector<T>>>(m, "vector_vector_" + n), add<std::vector<std::array<T, 2>>>(m, "vector_array_" + n);
  add<std::array<std::vector<T>, 2>>(m, "array_vector_" + n), add<std::array<std::array<T, 2>, 3>>(m, "array_array_" + n);
  add<std::optional<T>>(m, "optional_" + n), add<std::vector<std::optional<T>>>(m, "vector_optional_" + n);
  add<std::optional<std::vector<T>>>(m, "optional_vector_" + n), add<std::array<std::optional<T>, 2>>(m, "array_optional_" + n);
  add<std::pair<T, int>>(m, "pair_" + n), add<std::vector<std::pair<int, T>>>(m, "vector_pair_" + n);
  add<std::tuple<T, float, T>>(m, "tuple_" + n), add<std::map<int, T>>(m, "map_" + n);
  add<std::variant<T, std::vector<int>>>(m, "variant_" + n), add<std::unique_ptr<T>>(m, "unique_" + n);
}

template <class M> void others(M &m) {
  add<std::set<float>>(m, "set_f4"), add<std::set<std::int64_t>>(m, "set_i8"), add<std::set<std::string>>(m, "set_string");
  add<std::multiset<int>>(m, "multiset"), add<std::unordered_set<int>>(m, "unordered_set");
  add<std::multimap<int, float>>(m, "multimap"), add<std::unordered_map<int, float>>(m, "unordered_map");
  add<std::map<std::string, std::vector<float>>>(m, "map_string_vector"), add<std::vector<std::map<int, float>>>(m, "vector_map");
  add<std::map<int, std::map<int, int>>>(m, "map_map"), add<std::vector<std::set<int>>>(m, "vector_set");
  add<std::bitset<1>>(m, "bitset1"), add<std::bitset<8>>(m, "bitset8"), add<std::bitset<13>>(m, "bitset13");
  add<std::bitset<64>>(m, "bitset64"), add<std::bitset<65>>(m, "bitset65"), add<std::bitset<130>>(m, "bitset130");
  add<std::vector<std::bitset<5>>>(m, "vector_bitset"), add<std::array<std::bitset<9>, 2>>(m, "array_bitset");
  add<std::vector<bool>>(m, "flags"), add<std::vector<std::vector<bool>>>(m, "vector_flags");
  add<std::vector<std::vector<std::vector<float>>>>(m, "deep_f4"), add<std::vector<std::vector<std::vector<std::string>>>>(m, "deep_string");
  add<std::array<std::array<std::array<short, 2>, 3>, 4>>(m, "cube"), add<std::array<bool, 11>>(m, "array_bool11");
  add<std::variant<int, float>>(m, "variant"), add<std::vector<std::variant<int, float>>>(m, "vector_variant");
  add<std::variant<int, std::string, std::vector<double>, bool>>(m, "variant4");
  add<std::vector<std::vector<std::variant<std::vector<int>, float>>>>(m, "deep_variant"), add<std::array<std::variant<int, double>, 2>>(m, "array_variant");
  add<std::optional<std::variant<int, float>>>(m, "optional_variant"), add<std::variant<std::optional<int>, float>>(m, "variant_optional");
  add<std::optional<std::optional<int>>>(m, "optional_optional"), add<std::optional<std::array<float, 2>>>(m, "optional_array");
  add<std::vector<std::optional<std::vector<float>>>>(m, "vector_optional_vector");
  add<std::optional<bool>>(m, "optional_bool"), add<std::vector<std::optional<bool>>>(m, "vector_optional_bool");
  add<std::pair<std::vector<float>, std::string>>(m, "pair_vector_string"), add<std::tuple<int, std::pair<float, bool>, std::vector<int>>>(m, "tuple_nested");
  add<Point>(m, "point"), add<std::vector<Point>>(m, "points"), add<std::array<Point, 2>>(m, "two_points"), add<std::optional<Point>>(m, "maybe_point");
  add<Base>(m, "base"), add<Derived>(m, "derived"), add<std::vector<Derived>>(m, "deriveds"), add<More>(m, "more");
  add<Deep>(m, "deep"), add<std::vector<Deep>>(m, "deeps"), add<Deeper>(m, "deeper"), add<std::vector<std::vector<Point>>>(m, "points2");
  add<std::variant<Point, int>>(m, "variant_point"), add<std::map<int, Point>>(m, "map_point"), add<std::vector<Color>>(m, "colors");
  add<std::array<Color, 2>>(m, "two_colors"), add<std::vector<std::array<std::vector<int>, 2>>>(m, "vector_array_vector");
  add<std::vector<std::byte>>(m, "bytes"), add<std::vector<char>>(m, "chars"), add<std::array<std::array<std::string, 2>, 2>>(m, "text_matrix");
}

template <class M> void everything(M &m) {
  numbers(m);
  collections<float>(m, "f4"), collections<std::int16_t>(m, "i2"), collections<std::string>(m, "string"), collections<std::uint64_t>(m, "u8");
  others(m);
}

RNTupleWriteOptions options(int compression) {
  RNTupleWriteOptions options;
  options.SetCompression(compression);
  options.SetInitialUnzippedPageSize(64), options.SetMaxUnzippedPageSize(128);
  return options;
}

const std::set<int> edges{0, 6, 7, 25, 26, 40};

void run(RNTupleWriter &writer, int entries, int update_at = -1, std::function<void()> update = {}) {
  for (int entry = 0; entry < entries; ++entry) {
    if (entry == update_at) update();
    for (auto &fill : fills) fill();
    writer.Fill();
    if (edges.count(entry)) writer.CommitCluster(entry % 2);
  }
}

constexpr int entries = 50;

void early(TFile &file) {
  fills.clear();
  auto model = RNTupleModel::Create();
  everything(*model);
  run(*RNTupleWriter::Append(std::move(model), "early", file, options(505)), entries);
}

void late(TFile &file, const char *name, int at) {
  fills.clear();
  auto model = RNTupleModel::Create();
  add<int>(*model, "first");
  auto writer = RNTupleWriter::Append(std::move(model), name, file, options(404));
  current = writer.get();
  run(*writer, entries, at, [&] {
    auto updater = writer->CreateModelUpdater();
    updater->BeginUpdate();
    everything(*updater);
    updater->CommitUpdate();
  });
}

// --- encodings -------------------------------------------------------------------------------------------------------

template <class T> void encodings(RNTupleModel &model, const std::string &name) {
  int n = 0;
  for (auto &column : RField<T>("x").GetColumnRepresentatives()) (void)column;
  auto all = [&](auto make) {
    for (int type = 1; type < static_cast<int>(ENTupleColumnType::kMax); ++type) {
      auto kind = static_cast<ENTupleColumnType>(type);
      if (kind == ENTupleColumnType::kReal32Trunc || kind == ENTupleColumnType::kReal32Quant) continue;
      std::string called = name + "_" + std::to_string(type);
      auto field = make(called);
      auto *leaf = field.get();
      while (leaf->GetMutableSubfields().size()) leaf = leaf->GetMutableSubfields()[0];
      try { leaf->SetColumnRepresentatives({{kind}}); } catch (...) { continue; }
      model.AddField(std::move(field));
    }
  };
  all([](auto &called) -> std::unique_ptr<RFieldBase> { return std::make_unique<RField<T>>(called); });
  all([](auto &called) -> std::unique_ptr<RFieldBase> { return std::make_unique<RField<std::vector<T>>>("v" + called); });
}

template <class T> void bind(RNTupleModel &model) {
  for (auto &value : model.GetDefaultEntry())
    if (value.GetField().GetTypeName() == RField<T>::TypeName()) {
      auto to = static_cast<T *>(value.template GetPtr<void>().get());
      fills.push_back([=] { fill(*to); });
    }
}

template <class T> void encode(RNTupleModel &model, const std::string &name) {
  encodings<T>(model, name), bind<T>(model), bind<std::vector<T>>(model);
}

template <class T> void reals(RNTupleModel &model, const std::string &name) {
  for (int list = 0; list < 2; ++list) {
    auto make = [&](const std::string &called, auto change, auto value) {
      std::unique_ptr<RFieldBase> field;
      if (list) field = std::make_unique<RField<std::vector<T>>>("v" + called);
      else field = std::make_unique<RField<T>>(called);
      change(static_cast<RField<T> &>(list ? *field->GetMutableSubfields()[0] : *field));
      auto its = field->GetFieldName();
      model.AddField(std::move(field));
      auto &entry = model.GetDefaultEntry();
      if (list) { auto to = entry.template GetPtr<std::vector<T>>(its); fills.push_back([=] { to->resize(below(4)); for (auto &x : *to) x = value(); }); }
      else { auto to = entry.template GetPtr<T>(its); fills.push_back([=] { *to = value(); }); }
    };
    for (int bits : {10, 11, 12, 15, 16, 17, 20, 23, 24, 25, 31})
      make(name + "_trunc" + std::to_string(bits), [=](auto &field) { field.SetTruncated(bits); }, [] { T x; fill(x); return x; });
    for (int bits : {1, 2, 3, 7, 8, 9, 12, 16, 17, 24, 25, 31, 32})
      for (auto range : {std::pair{0., 1.}, {-3.5, 100.25}, {-1e-3, 1e6}}) {
        double low = range.first, high = range.second;
        make(name + "_quant" + std::to_string(bits) + "_" + std::to_string(int(high)),
             [=](auto &field) { field.SetQuantized(bits, {low, high}); },
             [=] { int k = below(4); return T(k == 0 ? low : k == 1 ? high : low + (high - low) * below(100001) / 100000.); });
      }
    make(name + "_half", [](auto &field) { field.SetHalfPrecision(); }, [] { T x; fill(x); return x; });
  }
}

void encoded(TFile &file) {
  fills.clear();
  auto model = RNTupleModel::Create();
  encode<bool>(*model, "bool"), encode<char>(*model, "char"), encode<std::byte>(*model, "byte"), encode<std::int8_t>(*model, "i1"), encode<std::uint8_t>(*model, "u1");
  encode<std::int16_t>(*model, "i2"), encode<std::uint16_t>(*model, "u2"), encode<std::int32_t>(*model, "i4"), encode<std::uint32_t>(*model, "u4");
  encode<std::int64_t>(*model, "i8"), encode<std::uint64_t>(*model, "u8");
  auto lists = [&](const std::string &name, ENTupleColumnType index) {
    auto field = std::make_unique<RField<std::vector<float>>>(name);
    field->SetColumnRepresentatives({{index}});
    model->AddField(std::move(field));
    auto text = std::make_unique<RField<std::string>>("s" + name);
    text->SetColumnRepresentatives({{index, ENTupleColumnType::kChar}});
    model->AddField(std::move(text));
    auto maybe = std::make_unique<RField<std::optional<float>>>("o" + name);
    maybe->SetColumnRepresentatives({{index}});
    model->AddField(std::move(maybe));
    auto a = model->GetDefaultEntry().GetPtr<std::vector<float>>(name);
    auto b = model->GetDefaultEntry().GetPtr<std::string>("s" + name);
    auto c = model->GetDefaultEntry().GetPtr<std::optional<float>>("o" + name);
    fills.push_back([=] { fill(*a), fill(*b), fill(*c); });
    auto source = [=](const std::string &) { return name; };
    model->AddProjectedField(std::make_unique<RField<RNTupleCardinality<std::uint32_t>>>("n32" + name), source);
    model->AddProjectedField(std::make_unique<RField<RNTupleCardinality<std::uint64_t>>>("n64" + name), source);
  };
  lists("index32", ENTupleColumnType::kIndex32), lists("split32", ENTupleColumnType::kSplitIndex32);
  lists("index64", ENTupleColumnType::kIndex64), lists("split64", ENTupleColumnType::kSplitIndex64);
  reals<float>(*model, "f4"), reals<double>(*model, "f8");
  for (auto [name, kind] : {std::pair{"plain", ENTupleColumnType::kReal32}, {"split", ENTupleColumnType::kSplitReal32}, {"wide", ENTupleColumnType::kReal64}, {"split_wide", ENTupleColumnType::kSplitReal64}})
    for (auto type : {"float", "double"}) {
      std::string called = std::string(type) + "_" + name;
      auto field = RFieldBase::Create(called, type).Unwrap();
      try { field->SetColumnRepresentatives({{kind}}); } catch (...) { continue; }
      model->AddField(std::move(field));
      if (type[0] == 'f') { auto to = model->GetDefaultEntry().GetPtr<float>(called); fills.push_back([=] { fill(*to); }); }
      else { auto to = model->GetDefaultEntry().GetPtr<double>(called); fills.push_back([=] { fill(*to); }); }
    }
  run(*RNTupleWriter::Append(std::move(model), "encoded", file, options(505)), entries);
}

// --- projected fields, untyped records and collections, attributes -----------------------------------------------------

void projected(TFile &file) {
  fills.clear();
  auto model = RNTupleModel::Create();
  add<std::vector<Point>>(*model, "points"), add<std::vector<std::vector<float>>>(*model, "nested"), add<float>(*model, "x"), add<std::string>(*model, "text");
  add<Point>(*model, "point"), add<std::vector<std::string>>(*model, "texts");
  auto add_projected = [&](std::unique_ptr<RFieldBase> field, std::map<std::string, std::string> sources) {
    model->AddProjectedField(std::move(field), [=](const std::string &name) { return sources.at(name); });
  };
  add_projected(RFieldBase::Create("px", "std::vector<float>").Unwrap(), {{"px", "points"}, {"px._0", "points._0.x"}});
  add_projected(RFieldBase::Create("pn", "std::vector<std::int16_t>").Unwrap(), {{"pn", "points"}, {"pn._0", "points._0.n"}});
  add_projected(RFieldBase::Create("npoints", "ROOT::RNTupleCardinality<std::uint32_t>").Unwrap(), {{"npoints", "points"}});
  add_projected(RFieldBase::Create("nnested", "ROOT::RNTupleCardinality<std::uint64_t>").Unwrap(), {{"nnested", "nested"}});
  add_projected(RFieldBase::Create("x2", "float").Unwrap(), {{"x2", "x"}});
  add_projected(RFieldBase::Create("text2", "std::string").Unwrap(), {{"text2", "text"}});
  add_projected(RFieldBase::Create("pointx", "float").Unwrap(), {{"pointx", "point.x"}});
  add_projected(RFieldBase::Create("nested2", "std::vector<std::vector<float>>").Unwrap(), {{"nested2", "nested"}, {"nested2._0", "nested._0"}, {"nested2._0._0", "nested._0._0"}});
  add_projected(RFieldBase::Create("points2", "std::vector<Point>").Unwrap(), {{"points2", "points"}, {"points2._0", "points._0"}, {"points2._0.x", "points._0.x"}, {"points2._0.y", "points._0.y"}, {"points2._0.n", "points._0.n"}});
  auto writer = RNTupleWriter::Append(std::move(model), "projected", file, options(101));
  current = writer.get();
  run(*writer, entries, 30, [&] {
    auto updater = writer->CreateModelUpdater();
    updater->BeginUpdate();
    add<std::vector<int>>(*updater, "late");
    updater->AddProjectedField(std::make_unique<RField<RNTupleCardinality<std::uint32_t>>>("nlate"), [](const std::string &) { return "late"; });
    updater->AddProjectedField(std::make_unique<RField<RNTupleCardinality<std::uint32_t>>>("npoints_late"), [](const std::string &) { return "points"; });
    updater->CommitUpdate();
  });
}

void attributes(TFile &file) {
  fills.clear();
  auto model = RNTupleModel::Create();
  add<float>(*model, "x"), add<std::vector<float>>(*model, "v");
  auto writer = RNTupleWriter::Append(std::move(model), "attributes", file, options(505));
  auto about = RNTupleModel::Create();
  auto run_number = about->MakeField<int>("run");
  auto label = about->MakeField<std::string>("label");
  auto set = writer->CreateAttributeSet(std::move(about), "runs");
  for (int part = 0; part < 5; ++part) {
    auto range = set->BeginRange();
    *run_number = part, *label = std::string(part, 'r');
    for (int i = 0; i < 10; ++i) { for (auto &fill : fills) fill(); writer->Fill(); }
    set->CommitRange(std::move(range));
    if (part % 2) writer->CommitCluster();
  }
}

void empty(TFile &file) {
  fills.clear();
  auto model = RNTupleModel::Create();
  everything(*model);
  run(*RNTupleWriter::Append(std::move(model), "empty", file, options(505)), 0);
}

/// Thousands of fields, added bit by bit, and hundreds of groups of clusters: header and footer are compressed.
void wide(TFile &file) {
  fills.clear();
  auto model = RNTupleModel::Create();
  for (int i = 0; i < 600; ++i) { add<float>(*model, "f" + std::to_string(i)); add<std::vector<short>>(*model, "v" + std::to_string(i)); }
  auto writer = RNTupleWriter::Append(std::move(model), "wide", file, options(505));
  current = writer.get();
  for (int entry = 0; entry < 40; ++entry) {
    if (entry % 10 == 9) {
      auto updater = writer->CreateModelUpdater();
      updater->BeginUpdate();
      for (int i = 0; i < 300; ++i) add<float>(*updater, "late" + std::to_string(entry) + "_" + std::to_string(i));
      updater->CommitUpdate();
    }
    for (auto &fill : fills) fill();
    writer->Fill();
    writer->CommitCluster(true);
  }
}

void groups(TFile &file) {
  fills.clear();
  auto model = RNTupleModel::Create();
  add<int>(*model, "i"), add<std::vector<float>>(*model, "v");
  auto writer = RNTupleWriter::Append(std::move(model), "groups", file, options(207));
  for (int entry = 0; entry < 700; ++entry) { for (auto &fill : fills) fill(); writer->Fill(); if (entry % 2 == 0) writer->CommitCluster(true); }
}

/// Clusters that several threads have filled.
void parallel(TFile &file) {
  auto model = RNTupleModel::CreateBare();
  model->MakeField<std::vector<float>>("v"), model->MakeField<int>("i"), model->MakeField<std::string>("s");
  auto writer = RNTupleParallelWriter::Append(std::move(model), "parallel", file, options(505));
  auto a = writer->CreateFillContext(), b = writer->CreateFillContext();
  int i = 0;
  for (auto context : {a, b, a, a, b}) {
    auto entry = context->CreateEntry();
    for (int k = 0; k < 9; ++k) { fill(*entry->GetPtr<std::vector<float>>("v")), fill(*entry->GetPtr<std::string>("s")), *entry->GetPtr<int>("i") = i++; context->Fill(*entry); }
    context->FlushCluster();
  }
}

/// Parts of a merged file, of which some have fields that others lack.
void part(const char *path, int which) {
  fills.clear();
  auto file = std::unique_ptr<TFile>(TFile::Open(path, "RECREATE"));
  auto model = RNTupleModel::Create();
  auto real = std::make_unique<RField<float>>("real");
  model->AddField(std::move(real));
  auto list = std::make_unique<RField<std::vector<double>>>("list");
  model->AddField(std::move(list));
  auto to_real = model->GetDefaultEntry().GetPtr<float>("real");
  auto to_list = model->GetDefaultEntry().GetPtr<std::vector<double>>("list");
  fills.push_back([=] { fill(*to_real), fill(*to_list); });
  add<std::string>(*model, "text");
  if (which) add<std::vector<float>>(*model, "only_later"), add<Point>(*model, "point"), add<std::array<int, 2>>(*model, "pair");
  run(*RNTupleWriter::Append(std::move(model), "merged", *file, options(which == 2 ? 0 : 505)), 20 + which);
}
