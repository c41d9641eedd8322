// Writes TTrees of all types, and what ROOT reads in them; see root_trees.py.

#include "root_values.h"
#include <TArrayD.h>
#include <TArrayF.h>
#include <TArrayI.h>
#include <TBits.h>
#include <TClonesArray.h>
#include <TDatime.h>
#include <TLeaf.h>
#include <TLorentzVector.h>
#include <TNamed.h>
#include <TObjString.h>
#include <TObject.h>
#include <TRef.h>
#include <TString.h>
#include <TTree.h>
#include <TVector2.h>
#include <TVector3.h>
#include <deque>
#include <forward_list>
#include <list>

struct Deep0 {
  Point p; std::vector<Point> ps; std::string s; Color c; bool good; std::vector<std::string> names; std::map<int, float> m;
};
struct Plain3 { int i; float f; double d; };
struct Arrays { float a[3]; short m[2][2]; bool flags[5]; char text[8]; };
struct Counted { int n; float *x; //[n]
  double *y; //[n]
  Counted() : n(0), x(nullptr), y(nullptr) {}
  ~Counted() { delete[] x; delete[] y; }
  Counted(const Counted &) = delete;
};
struct Small { Double32_t d; //[0,100,16]
  Float16_t f; //[0,0,10]
  Double32_t plain; Float16_t half; Double32_t a[3]; //[-10,10,20]
};
struct Stl {
  std::vector<float> v; std::vector<int> w; std::vector<std::vector<float>> vv; std::string s; std::vector<std::string> vs;
  std::map<int, float> m; std::set<int> st; std::vector<bool> flags; std::array<double, 3> a; std::pair<int, float> p; std::bitset<13> b;
};
class Named : public TNamed { public: float x; int k; ClassDef(Named, 1) };
class Track : public TObject { public: float pt; int q; float cov[3]; ClassDef(Track, 2) };
class Physics : public TObject { public: TLorentzVector p4; TVector3 v3; TString name; TBits bits; TRef ref; float after; ClassDef(Physics, 1) };

#ifdef __ROOTCLING__
#pragma link C++ class Point+;
#pragma link C++ class Base+;
#pragma link C++ class Derived+;
#pragma link C++ class More+;
#pragma link C++ class Deep0+;
#pragma link C++ class Plain3+;
#pragma link C++ class Arrays+;
#pragma link C++ class Counted+;
#pragma link C++ class Small+;
#pragma link C++ class Stl+;
#pragma link C++ class Named+;
#pragma link C++ class Track+;
#pragma link C++ class Physics+;
#pragma link C++ class std::vector<signed char>+;
#pragma link C++ class std::vector<Point>+;
#pragma link C++ class std::vector<Derived>+;
#pragma link C++ class std::vector<Deep0>+;
#pragma link C++ class std::vector<Stl>+;
#pragma link C++ class std::vector<Small>+;
#pragma link C++ class std::vector<std::vector<Point>>+;
#pragma link C++ class std::vector<std::vector<float>>+;
#pragma link C++ class std::vector<std::vector<bool>>+;
#pragma link C++ class std::vector<std::vector<short>>+;
#pragma link C++ class std::vector<std::vector<std::string>>+;
#pragma link C++ class std::vector<std::vector<std::vector<float>>>+;
#pragma link C++ class std::vector<std::array<float, 2>>+;
#pragma link C++ class std::vector<std::pair<int, float>>+;
#pragma link C++ class std::vector<std::map<int, float>>+;
#pragma link C++ class std::vector<std::set<int>>+;
#pragma link C++ class std::vector<std::bitset<5>>+;
#pragma link C++ class std::vector<TLorentzVector>+;
#pragma link C++ class std::vector<TVector3>+;
#pragma link C++ class std::vector<TString>+;
#pragma link C++ class std::map<int, float>+;
#pragma link C++ class std::map<std::string, std::vector<float>>+;
#pragma link C++ class std::map<std::string, std::string>+;
#pragma link C++ class std::map<int, Point>+;
#pragma link C++ class std::map<int, std::vector<float>>+;
#pragma link C++ class std::multimap<int, float>+;
#pragma link C++ class std::unordered_map<int, float>+;
#pragma link C++ class std::set<int>+;
#pragma link C++ class std::set<std::string>+;
#pragma link C++ class std::multiset<int>+;
#pragma link C++ class std::unordered_set<int>+;
#pragma link C++ class std::list<int>+;
#pragma link C++ class std::deque<float>+;
#pragma link C++ class std::forward_list<int>+;
#pragma link C++ class std::pair<int, float>+;
#pragma link C++ class std::pair<int, std::vector<float>>+;
#pragma link C++ class std::pair<std::string, double>+;
#pragma link C++ class std::bitset<13>+;
#pragma link C++ class std::bitset<130>+;
#pragma link C++ class ROOT::VecOps::RVec<float>+;
#pragma link C++ class ROOT::VecOps::RVec<int>+;
#pragma link C++ class ROOT::VecOps::RVec<Point>+;
#pragma link C++ class ROOT::VecOps::RVec<std::string>+;
#endif

template <> struct Fill<Deep0> { static void to(Deep0 &v) { fill(v.p), fill(v.ps), fill(v.s), fill(v.c), fill(v.good), fill(v.names), fill(v.m); } };
template <> struct Fill<Plain3> { static void to(Plain3 &v) { fill(v.i), fill(v.f), fill(v.d); } };
template <> struct Fill<Arrays> {
  static void to(Arrays &v) {
    for (auto &x : v.a) fill(x);
    for (auto &row : v.m) for (auto &x : row) fill(x);
    for (auto &x : v.flags) fill(x);
    memset(v.text, 0, 8);
    for (int i = below(8); i > 0; --i) v.text[i - 1] = 'a' + below(26);
  }
};
template <> struct Fill<Counted> {
  static void to(Counted &v) {
    delete[] v.x; delete[] v.y;
    v.n = below(4), v.x = new float[v.n], v.y = new double[v.n];
    for (int i = 0; i < v.n; ++i) fill(v.x[i]), fill(v.y[i]);
  }
};
double real() { return below(100001) / 1000.; }
template <> struct Fill<Small> {
  static void to(Small &v) { v.d = real(), v.f = real(), v.plain = real(), v.half = real(); for (auto &x : v.a) x = real() / 5 - 10; }
};
template <> struct Fill<Stl> {
  static void to(Stl &v) {
    fill(v.v), fill(v.w), fill(v.vv), fill(v.s), fill(v.vs), fill(v.m), fill(v.st), fill(v.flags), fill(v.a), fill(v.p), fill(v.b);
  }
};
template <> struct Fill<Named> {
  static void to(Named &v) { std::string s; fill(s); v.SetName(s.c_str()); fill(s); v.SetTitle(s.c_str()); fill(v.x), fill(v.k); }
};
template <> struct Fill<Track> { static void to(Track &v) { fill(v.pt), fill(v.q); for (auto &x : v.cov) fill(x); } };
template <> struct Fill<TVector3> { static void to(TVector3 &v) { v.SetXYZ(real(), -real(), real()); } };
template <> struct Fill<TVector2> { static void to(TVector2 &v) { v.Set(real(), -real()); } };
template <> struct Fill<TLorentzVector> { static void to(TLorentzVector &v) { v.SetPxPyPzE(real(), -real(), real(), real()); } };
template <> struct Fill<TString> { static void to(TString &v) { std::string s; fill(s); v = s.c_str(); } };
template <> struct Fill<TBits> { static void to(TBits &v) { v.Clear(); for (int i = below(70); i > 0; --i) v.SetBitNumber(i, below(2)); } };
template <> struct Fill<Physics> { static void to(Physics &v) { fill(v.p4), fill(v.v3), fill(v.name), fill(v.bits), fill(v.after); } };
template <class C> void append(C &v) { v.clear(); for (int i = below(4); i > 0; --i) { typename C::value_type x; fill(x); v.push_front(x); } }
template <class T> struct Fill<std::list<T>> { static void to(std::list<T> &v) { append(v); } };
template <class T> struct Fill<std::deque<T>> { static void to(std::deque<T> &v) { append(v); } };
template <class T> struct Fill<std::forward_list<T>> { static void to(std::forward_list<T> &v) { append(v); } };

// --- as JSON -----------------------------------------------------------------------------------------------------------

template <class T> struct Print;
template <class T> void print(std::ostream &out, const T &value) { Print<T>::to(out, value); }
template <class T> void member(std::ostream &out, const char *&before, const char *name, const T &value) { out << before << '"' << name << "\": "; before = ", "; print(out, value); }
template <class C> void printed(std::ostream &out, const C &values) {
  const char *before = "";
  out << '[';
  for (auto it = values.begin(); it != values.end(); ++it) { typename C::value_type x = *it; out << before, print(out, x), before = ", "; }
  out << ']';
}
template <class T, int N> void raw(std::ostream &out, const T (&values)[N]) { const char *b = ""; out << '['; for (auto &x : values) out << b, print(out, x), b = ", "; out << ']'; }
template <class T> struct Print {
  static void to(std::ostream &out, const T &v) {
    if constexpr (std::is_enum_v<T>) out << static_cast<long>(v);
    else if constexpr (std::is_same_v<T, bool>) out << (v ? "true" : "false");
    else if constexpr (std::is_integral_v<T>) out << +v;
    else if constexpr (std::is_floating_point_v<T>) number(out, v);
    else printed(out, v);
  }
};
template <> struct Print<std::string> { static void to(std::ostream &out, const std::string &v) { quoted(out, v); } };
template <> struct Print<TString> { static void to(std::ostream &out, const TString &v) { quoted(out, std::string(v.Data(), v.Length())); } };
template <class A, class B> struct Print<std::pair<A, B>> {
  static void to(std::ostream &out, const std::pair<A, B> &v) { out << "{\"first\": ", print(out, v.first), out << ", \"second\": ", print(out, v.second), out << '}'; }
};
template <std::size_t N> struct Print<std::bitset<N>> {
  static void to(std::ostream &out, const std::bitset<N> &v) { out << '['; for (std::size_t i = 0; i < N; ++i) out << (i ? ", " : "") << (v[i] ? "true" : "false"); out << ']'; }
};
template <> struct Print<TBits> {
  static void to(std::ostream &out, const TBits &v) { out << '['; for (unsigned i = 0; i < v.GetNbits(); ++i) out << (i ? ", " : "") << (v[i] ? "true" : "false"); out << ']'; }
};
#define RECORD(T, ...) template <> struct Print<T> { static void to(std::ostream &out, const T &v) { const char *b = "{"; __VA_ARGS__; out << '}'; } }
#define M(x) member(out, b, #x, v.x)
#define R(x) (out << b << "\"" #x "\": ", b = ", ", raw(out, v.x))
#define N(x) (out << b << "\"" #x "\": ", b = ", ", print(out, std::vector<std::decay_t<decltype(*v.x)>>(v.x, v.x + v.n)))
RECORD(Point, M(x), M(y), M(n));
RECORD(Base, M(b), M(w));
RECORD(Derived, M(b), M(w), M(d), M(v));
RECORD(More, M(b), M(w), M(d), M(v), M(good));
RECORD(Plain3, M(i), M(f), M(d));
template <> struct Print<short[2]> { static void to(std::ostream &out, const short (&v)[2]) { raw(out, v); } };
RECORD(Arrays, R(a), R(m), R(flags), R(text));
RECORD(Counted, M(n), N(x), N(y));
RECORD(Small, M(d), M(f), M(plain), M(half), R(a));
RECORD(Stl, M(v), M(w), M(vv), M(s), M(vs), M(m), M(st), M(flags), M(a), M(p), M(b));
RECORD(Deep0, M(p), M(ps), M(s), M(c), M(good), M(names), M(m));
RECORD(TVector3, member(out, b, "fX", v.X()), member(out, b, "fY", v.Y()), member(out, b, "fZ", v.Z()));
RECORD(TLorentzVector, member(out, b, "fP", v.Vect()), member(out, b, "fE", v.E()));
RECORD(TVector2, member(out, b, "fX", v.X()), member(out, b, "fY", v.Y()));
RECORD(Named, member(out, b, "fName", std::string(v.GetName())), member(out, b, "fTitle", std::string(v.GetTitle())), M(x), M(k));
RECORD(Track, M(pt), M(q), R(cov));
RECORD(Physics, M(p4), M(v3), M(name), M(bits), M(after));

// --- branches ----------------------------------------------------------------------------------------------------------

struct Column {
  std::string name;
  std::function<void(TTree &)> make, bind;
  std::function<void()> fill;
  std::function<void(std::ostream &)> print;
};
std::vector<Column> columns;
int basket = 1000;

template <class T> void object(const std::string &name, int split = 99) {
  auto **p = new T *(new T());
  columns.push_back({name, [=](TTree &t) { t.Branch(name.c_str(), p, basket, split); }, [=](TTree &t) { t.SetBranchAddress(name.c_str(), p); }, [=] { ::fill(**p); },
                     [=](std::ostream &out) { ::print(out, **p); }});
}

/// A leaf: one number, an array of a fixed size, or, with `counter`, of one that differs. `x` is what is filled, if not anything.
template <class T> void leaf(const std::string &name, const std::string &code, std::vector<int> shape = {}, const int *counter = nullptr, std::function<T()> x = {}) {
  int size = 1;
  std::string spec = name + (counter ? "[n]" : "");
  for (int n : shape) size *= n, spec += "[" + std::to_string(n) + "]";
  auto *values = new T[16 * size]();
  auto level = std::make_shared<std::function<void(std::ostream &, int, int, int)>>();
  *level = [=](std::ostream &out, int depth, int at, int width) {
    if (depth == static_cast<int>(shape.size())) { ::print(out, values[at]); return; }
    int inner = width / shape[depth];
    out << '[';
    for (int i = 0; i < shape[depth]; ++i) out << (i ? ", " : ""), (*level)(out, depth + 1, at + i * inner, inner);
    out << ']';
  };
  columns.push_back({name, [=](TTree &t) { t.Branch(name.c_str(), values, (spec + "/" + code).c_str(), basket); },
                     [=](TTree &t) { t.SetBranchAddress(name.c_str(), values); },
                     [=] { for (int i = 0; i < (counter ? *counter : 1) * size; ++i) if (x) values[i] = x(); else ::fill(values[i]); },
                     [=](std::ostream &out) {
                       if (!counter) { (*level)(out, 0, 0, size); return; }
                       out << '[';
                       for (int i = 0; i < *counter; ++i) out << (i ? ", " : ""), (*level)(out, 0, i * size, size);
                       out << ']';
                     }});
}

template <class T> void leaves(const std::string &name, const std::string &code, const int *n, std::function<T()> x = {}) {
  leaf<T>(name, code, {}, nullptr, x), leaf<T>(name + "_3", code, {3}, nullptr, x), leaf<T>(name + "_1", code, {1}, nullptr, x), leaf<T>(name + "_23", code, {2, 3}, nullptr, x);
  leaf<T>(name + "_n", code, {}, n, x), leaf<T>(name + "_n2", code, {2}, n, x);
}

int *counter() {
  auto *n = new int(0);
  columns.push_back({"n", [=](TTree &t) { t.Branch("n", n, "n/I", basket); }, [=](TTree &t) { t.SetBranchAddress("n", n); }, [=] { *n = below(5); }, [=](std::ostream &out) { out << *n; }});
  return n;
}

void numbers() {
  auto *n = counter();
  leaves<char>("B", "B", n), leaves<unsigned char>("b", "b", n), leaves<short>("S", "S", n), leaves<unsigned short>("s", "s", n);
  leaves<int>("I", "I", n), leaves<unsigned>("i", "i", n), leaves<Long64_t>("L", "L", n), leaves<ULong64_t>("l", "l", n), leaves<long>("G", "G", n), leaves<unsigned long>("g", "g", n);
  leaves<float>("F", "F", n), leaves<double>("D", "D", n), leaves<bool>("O", "O", n);
}

void rounded() {
  auto *n = counter();
  auto small = [] { return real(); };
  for (auto range : {"", "[0,100]", "[0,100,8]", "[0,100,16]", "[0,100,30]", "[0,0,6]", "[0,0,10]", "[0,0,14]", "[0,100,2]", "[0,100,32]", "[-pi,32*pi,20]"}) {
    std::string name = range;
    for (auto &c : name) if (!std::isalnum(c)) c = '_';
    leaves<Double32_t>("d" + name, std::string("d") + range, n, small), leaves<Float16_t>("f" + name, std::string("f") + range, n, small);
  }
}

void texts() {
  auto *text = new char[1000]();
  columns.push_back({"C", [=](TTree &t) { t.Branch("C", text, "C/C", basket); }, [=](TTree &t) { t.SetBranchAddress("C", text); },
                     [=] { std::string s; fill(s); strcpy(text, s.c_str()); }, [=](std::ostream &out) { quoted(out, text); }});
  object<std::string>("string"), object<TString>("tstring"), object<std::vector<std::string>>("strings"), object<std::vector<TString>>("tstrings");
  object<std::vector<std::vector<std::string>>>("strings2"), object<std::set<std::string>>("set_string");
}

template <class T> void vectors(const std::string &name) { object<std::vector<T>>("v_" + name); }

void stl() {
  vectors<bool>("bool"), vectors<char>("char"), vectors<signed char>("schar"), vectors<unsigned char>("uchar"), vectors<short>("short"), vectors<unsigned short>("ushort");
  vectors<int>("int"), vectors<unsigned>("uint"), vectors<long>("long"), vectors<unsigned long>("ulong"), vectors<long long>("longlong"), vectors<unsigned long long>("ulonglong");
  vectors<float>("float"), vectors<double>("double");
  object<std::vector<std::vector<float>>>("vv_float"), object<std::vector<std::vector<bool>>>("vv_bool"), object<std::vector<std::vector<short>>>("vv_short"), object<std::vector<std::vector<std::vector<float>>>>("vvv_float");
  object<std::vector<std::array<float, 2>>>("v_array"), object<std::vector<std::pair<int, float>>>("v_pair", 0), object<std::vector<std::pair<int, float>>>("v_pair_split"), object<std::vector<std::map<int, float>>>("v_map"), object<std::vector<std::set<int>>>("v_set");
  object<std::vector<std::bitset<5>>>("v_bitset");
  object<std::map<int, float>>("map", 0), object<std::map<int, float>>("map_split"), object<std::map<std::string, std::vector<float>>>("map_string_vector"), object<std::map<std::string, std::string>>("map_strings"), object<std::map<int, Point>>("map_point", 0);
  object<std::map<int, std::vector<float>>>("map_vector"), object<std::multimap<int, float>>("multimap"), object<std::unordered_map<int, float>>("unordered_map");
  object<std::set<int>>("set"), object<std::multiset<int>>("multiset"), object<std::unordered_set<int>>("unordered_set"), object<std::list<int>>("list"), object<std::deque<float>>("deque"), object<std::forward_list<int>>("forward_list");
  object<std::pair<int, float>>("pair_split"), object<std::pair<int, float>>("pair_unsplit", 0), object<std::pair<int, std::vector<float>>>("pair_vector"), object<std::pair<std::string, double>>("pair_string");
  object<std::bitset<13>>("bitset13"), object<std::bitset<130>>("bitset130");
  object<ROOT::VecOps::RVec<float>>("rvec_float"), object<ROOT::VecOps::RVec<int>>("rvec_int"), object<ROOT::VecOps::RVec<Point>>("rvec_point"), object<ROOT::VecOps::RVec<std::string>>("rvec_string");
}

template <class T> void split(const std::string &name) { object<T>(name + "_split"), object<T>(name + "_unsplit", 0), object<T>(name + "_once", 1), object<T>(name + "_dot.", 99); }

void objects() {
  split<Point>("point"), split<Derived>("derived"), split<More>("more"), split<Plain3>("plain"), split<Arrays>("arrays"), split<Small>("small"), split<Stl>("stl"), split<Deep0>("deep");
  split<Counted>("counted"), split<Named>("named"), split<Track>("track"), split<Physics>("physics"), split<TLorentzVector>("p4"), split<TVector3>("v3"), split<TVector2>("v2"), split<TBits>("bits");
}

template <class T> void lists_of(const std::string &name) { object<std::vector<T>>(name + "_split"), object<std::vector<T>>(name + "_unsplit", 0), object<std::vector<T>>(name + "_once", 1); }

void lists() {
  lists_of<Point>("points"), lists_of<Derived>("deriveds"), lists_of<Deep0>("deeps"), lists_of<Stl>("stls"), lists_of<Small>("smalls");
  lists_of<TLorentzVector>("p4s"), lists_of<TVector3>("v3s"), lists_of<std::vector<Point>>("points2");
}

template <class T> void clones(const char *type, const std::string &name, int split) {
  auto **p = new TClonesArray *(new TClonesArray(type));
  columns.push_back({name, [=](TTree &t) { t.Branch(name.c_str(), p, basket, split); }, [=](TTree &t) { t.SetBranchAddress(name.c_str(), p); },
                     [=] { (*p)->Clear("C"); int n = below(4); for (int i = 0; i < n; ++i) fill(*static_cast<T *>((*p)->ConstructedAt(i))); },
                     [=](std::ostream &out) { out << '['; for (int i = 0; i < (*p)->GetEntriesFast(); ++i) out << (i ? ", " : ""), print(out, *static_cast<T *>((*p)->At(i))); out << ']'; }});
}

void arrays_of_clones() {
  clones<Track>("Track", "tracks", 99), clones<Track>("Track", "tracks_unsplit", 0), clones<Named>("Named", "nameds", 99), clones<Named>("Named", "nameds_unsplit", 0);
  clones<TLorentzVector>("TLorentzVector", "p4s", 99), clones<TLorentzVector>("TLorentzVector", "p4s_unsplit", 0), clones<Physics>("Physics", "physics", 99), clones<TVector3>("TVector3", "v3s", 99);
}

/// Several leaves of one branch.
void leaf_lists() {
  struct Row { double d; int i; float f; short s; char b; bool o; };
  auto *row = new Row();
  columns.push_back({"row", [=](TTree &t) { t.Branch("row", row, "d/D:i/I:f/F:s/S:b/B:o/O", basket); }, [=](TTree &t) { t.SetBranchAddress("row", row); },
                     [=] { fill(row->d), fill(row->i), fill(row->f), fill(row->s), fill(row->b), fill(row->o); },
                     [=](std::ostream &out) { const char *b = "{"; auto &v = *row; M(d), M(i), M(f), M(s), M(b), M(o); out << '}'; }});
  struct Mixed { double d[2]; float m[2][3]; int i; };
  auto *mixed = new Mixed();
  columns.push_back({"mixed", [=](TTree &t) { t.Branch("mixed", mixed, "d[2]/D:m[2][3]/F:i/I", basket); }, [=](TTree &t) { t.SetBranchAddress("mixed", mixed); },
                     [=] { for (auto &x : mixed->d) fill(x); for (auto &r : mixed->m) for (auto &x : r) fill(x); fill(mixed->i); },
                     [=](std::ostream &out) { auto &v = *mixed; out << "{\"d\": ", raw(out, v.d), out << ", \"m\": [", raw(out, v.m[0]), out << ", ", raw(out, v.m[1]), out << "], \"i\": " << v.i << '}'; }});
}

void write(TFile &file, const char *name, int entries, int size, int compression, const std::function<void()> &what, const char *to, int flush = 0) {
  columns.clear();
  basket = size;
  what();
  file.SetCompressionSettings(compression);
  file.cd();
  {
    TTree tree(name, "");
    if (flush) tree.SetAutoFlush(flush);
    for (auto &column : columns) column.make(tree);
    for (int i = 0; i < entries; ++i) { for (auto &column : columns) column.fill(); tree.Fill(); }
    tree.Write();
    tree.ResetBranchAddresses();
  }
  file.Flush();
  std::unique_ptr<TFile> again(TFile::Open(file.GetName()));
  auto *tree = again->Get<TTree>(name);
  for (auto &column : columns) column.bind(*tree);
  std::ofstream out(to);
  out << '{';
  for (std::size_t i = 0; i < columns.size(); ++i) {
    auto &column = columns[i];
    out << (i ? ",\n" : ""), quoted(out, column.name), out << ": [";
    for (int entry = 0; entry < entries; ++entry) {
      tree->GetEntry(entry);
      out << (entry ? ", " : ""), column.print(out);
    }
    out << ']';
  }
  out << "}\n";
  tree->ResetBranchAddresses();
}

void write(const std::string &which, TFile &file, const char *to) {
  if (which == "numbers") write(file, "numbers", 120, 500, 505, numbers, to);
  if (which == "numbers_zlib") write(file, "numbers_zlib", 60, 400, 101, numbers, to);
  if (which == "numbers_lzma") write(file, "numbers_lzma", 60, 400, 207, numbers, to);
  if (which == "numbers_old") write(file, "numbers_old", 60, 400, 301, numbers, to);
  if (which == "numbers_lz4") write(file, "numbers_lz4", 60, 400, 404, numbers, to);
  if (which == "numbers_none") write(file, "numbers_none", 60, 400, 0, numbers, to);
  if (which == "flushed") write(file, "flushed", 120, 32000, 505, numbers, to, 17);
  if (which == "rounded") write(file, "rounded", 120, 500, 505, rounded, to);
  if (which == "texts") write(file, "texts", 120, 500, 505, texts, to);
  if (which == "stl") write(file, "stl", 120, 1000, 505, stl, to);
  if (which == "objects") write(file, "objects", 100, 1000, 505, objects, to);
  if (which == "lists") write(file, "lists", 100, 2000, 505, lists, to);
  if (which == "clones") write(file, "clones", 100, 1000, 505, arrays_of_clones, to);
  if (which == "leaf_lists") write(file, "leaf_lists", 100, 500, 404, leaf_lists, to);
  if (which == "empty") write(file, "empty", 0, 500, 505, [] { numbers(), stl(), objects(), arrays_of_clones(), leaf_lists(); }, to);
  if (which == "single") write(file, "single", 1, 500, 505, [] { numbers(), texts(), stl(); }, to);
}
