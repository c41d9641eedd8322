// What both writers of files share: classes, any values for them, and how values are written as JSON.

#include <ROOT/RVec.hxx>
#include <TFile.h>
#include <bitset>
#include <fstream>
#include <functional>
#include <iomanip>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <variant>

enum class Color : short { red = -1, green = 2, blue = 300 };
enum Plain { one = 1, two };
struct Point { float x; double y; short n; };
struct Base { int b; float w; };
struct Derived : public Base { double d; std::vector<int> v; };
struct More : public Derived { bool good; };
// --- any values ------------------------------------------------------------------------------------------------------

#ifdef __ROOTCLING__
#pragma link C++ class Point+;
#pragma link C++ class Base+;
#pragma link C++ class Derived+;
#pragma link C++ class More+;
#pragma link C++ enum Color;
#pragma link C++ enum Plain;
#endif

std::mt19937_64 random_(11);
int below(int n) { return random_() % n; }

template <class T> void fill(T &value);
template <class T> struct Fill {
  static void to(T &value) {
    if constexpr (std::is_enum_v<T> || std::is_same_v<T, std::byte>) value = static_cast<T>(1 + below(2));
    else if constexpr (std::is_same_v<T, bool>) value = below(2);
    else if constexpr (std::is_integral_v<T>)
      switch (below(6)) {
        case 0: value = std::numeric_limits<T>::min(); break;
        case 1: value = std::numeric_limits<T>::max(); break;
        case 2: value = below(3); break;
        default: value = static_cast<T>(random_());
      }
    else
      switch (below(8)) {
        case 0: value = T(below(3)); break;
        case 1: value = -T(0); break;
        case 2: value = std::numeric_limits<T>::infinity() * (below(2) ? 1 : -1); break;
        case 3: value = std::numeric_limits<T>::quiet_NaN(); break;
        case 4: value = std::numeric_limits<T>::denorm_min() * below(5000); break;
        case 5: value = T(below(2000000) - 1000000) * T(1e3) / T(7); break;
        default: value = T(below(2000000) - 1000000) / T(1000.);
      }
  }
};
template <class C> void several(C &values, int most) {
  values.clear();
  for (int i = below(most); i > 0; --i) { typename C::value_type value; fill(value); values.push_back(value); }
}
template <class C> void some(C &values) {
  values.clear();
  for (int i = below(4); i > 0; --i) { typename C::value_type value; fill(value); values.insert(value); }
}
template <class C> void pairs(C &values) {
  values.clear();
  for (int i = below(4); i > 0; --i) { typename C::key_type key; typename C::mapped_type value; fill(key), fill(value); values.emplace(key, value); }
}
template <class T> struct Fill<std::vector<T>> { static void to(std::vector<T> &v) { several(v, 4); } };
template <class T> struct Fill<ROOT::VecOps::RVec<T>> { static void to(ROOT::VecOps::RVec<T> &v) { several(v, 4); } };
template <class T> struct Fill<std::set<T>> { static void to(std::set<T> &v) { some(v); } };
template <class T> struct Fill<std::multiset<T>> { static void to(std::multiset<T> &v) { some(v); } };
template <class T> struct Fill<std::unordered_set<T>> { static void to(std::unordered_set<T> &v) { some(v); } };
template <class K, class T> struct Fill<std::map<K, T>> { static void to(std::map<K, T> &v) { pairs(v); } };
template <class K, class T> struct Fill<std::multimap<K, T>> { static void to(std::multimap<K, T> &v) { pairs(v); } };
template <class K, class T> struct Fill<std::unordered_map<K, T>> { static void to(std::unordered_map<K, T> &v) { pairs(v); } };
template <class T, std::size_t N> struct Fill<std::array<T, N>> { static void to(std::array<T, N> &v) { for (auto &x : v) fill(x); } };
template <std::size_t N> struct Fill<std::bitset<N>> { static void to(std::bitset<N> &v) { for (std::size_t i = 0; i < N; ++i) v[i] = below(2); } };
template <class T> struct Fill<std::optional<T>> { static void to(std::optional<T> &v) { v.reset(); if (below(2)) { T x; fill(x); v = x; } } };
template <class T> struct Fill<std::unique_ptr<T>> { static void to(std::unique_ptr<T> &v) { v.reset(); if (below(2)) { v = std::make_unique<T>(); fill(*v); } } };
template <class T> struct Fill<std::atomic<T>> { static void to(std::atomic<T> &v) { T x; fill(x); v = x; } };
template <class A, class B> struct Fill<std::pair<A, B>> { static void to(std::pair<A, B> &v) { fill(v.first), fill(v.second); } };
template <class... A> struct Fill<std::tuple<A...>> { static void to(std::tuple<A...> &v) { std::apply([](auto &...x) { (fill(x), ...); }, v); } };
template <class... A> struct Fill<std::variant<A...>> {
  static void to(std::variant<A...> &v) {
    int which = below(sizeof...(A)), i = 0;
    ((i++ == which ? one<A>(v) : void()), ...);
  }
  template <class T> static void one(std::variant<A...> &v) { T x; fill(x); v.template emplace<T>(x); }
};
template <> struct Fill<std::string> {
  static void to(std::string &v) { v = below(9) ? std::string(below(6), 'a' + below(26)) : std::string(300, 'z'); if (!below(7)) v += "\xc3\xa9"; }
};
template <> struct Fill<Point> { static void to(Point &v) { fill(v.x), fill(v.y), fill(v.n); } };
template <> struct Fill<Base> { static void to(Base &v) { fill(v.b), fill(v.w); } };
template <> struct Fill<Derived> { static void to(Derived &v) { fill(static_cast<Base &>(v)), fill(v.d), fill(v.v); } };
template <> struct Fill<More> { static void to(More &v) { fill(static_cast<Derived &>(v)), fill(v.good); } };
template <class T> void fill(T &value) { Fill<T>::to(value); }
template <> void fill(std::vector<bool> &value) { value.clear(); for (int i = below(11); i > 0; --i) value.push_back(below(2)); }

void quoted(std::ostream &out, const std::string &text) {
  out << '"';
  for (unsigned char c : text)
    if (c < 32 || c == '"' || c == '\\') out << "\\u00" << "0123456789abcdef"[c >> 4] << "0123456789abcdef"[c & 15];
    else out << c;
  out << '"';
}

void number(std::ostream &out, double value) {
  if (std::isnan(value)) out << "NaN";
  else if (std::isinf(value)) out << (value < 0 ? "-Infinity" : "Infinity");
  else {
    std::ostringstream text;
    text << std::setprecision(17) << value;
    auto said = text.str();
    out << said << (said.find_first_of(".e") == std::string::npos ? ".0" : "");
  }
}

