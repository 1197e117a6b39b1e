// GE's operators: made by name, with attributes of many types; and the registry that MindSpore's tables fill.
#include <any>
#include <functional>
#include <map>

#include "ge.h"

namespace ge {

struct OperatorImpl {
  std::string name, type;
  std::map<std::string, std::any> attrs;
};
template <class T>
using V1 = std::vector<T>;
#define TYPES(X) X(bool) X(float) X(int) X(unsigned) X(int64_t)
#define REFS(X)                                                                                                                       \
  X(DataType)                                                                                                                         \
  X(Tensor) X(AscendString) X(V1<AscendString>) X(V1<DataType>) X(V1<float>) X(V1<int>) X(V1<int64_t>) X(V1<bool>) X(V1<V1<int64_t>>) \
      X(std::string) X(V1<std::string>)
class V Operator {
 public:
  Operator() {}
  explicit Operator(const std::string &t);
  explicit Operator(const char *t);
  Operator(const std::string &n, const std::string &t);
  Operator(const char *n, const char *t);
  Operator(const AscendString &n, const AscendString &t);
  virtual ~Operator() = default;
#define DA(T)                                \
  void AttrRegister(const char *, T);        \
  Operator &SetAttr(const char *, T);        \
  Operator &SetAttr(const std::string &, T); \
  unsigned GetAttr(const char *, T &) const; \
  unsigned GetAttr(const std::string &, T &) const;
#define DR(T)                                        \
  void AttrRegister(const char *, const T &);        \
  Operator &SetAttr(const char *, const T &);        \
  Operator &SetAttr(const std::string &, const T &); \
  unsigned GetAttr(const char *, T &) const;         \
  unsigned GetAttr(const std::string &, T &) const;
  TYPES(DA)
  REFS(DR)
  Operator &SetAttr(const char *, const char *);
  std::string GetName() const;
  std::string GetOpType() const;
  unsigned GetName(AscendString &) const;
  unsigned GetOpType(AscendString &) const;
  void InputRegister(const char *, const char *);
  void OutputRegister(const char *, const char *);
  void OptionalInputRegister(const char *, const char *);
  void DynamicInputRegister(const char *, unsigned, const char *, bool);
  void DynamicOutputRegister(const char *, unsigned, const char *, bool);
  void RequiredAttrWithTypeRegister(const char *, const char *);
  void DataTypeRegister(const char *, const TensorType &);
  void DataTypeRegister(const char *, const Promote &);
  OperatorImpl &i() const {
    if (!i_) i_ = std::make_shared<OperatorImpl>();
    return *i_;
  }
  template <class T>
  void set(const char *n, const T &v) {
    i().attrs[n] = v;
  }
  template <class T>
  unsigned get(const char *n, T &v) const {
    auto k = i().attrs.find(n);
    if (k == i().attrs.end()) return 1;
    if (auto *p = std::any_cast<T>(&k->second)) {
      v = *p;
      return 0;
    }
    return 1;
  }
  mutable std::shared_ptr<OperatorImpl> i_;
};
#define IA(T)                                                                    \
  void Operator::AttrRegister(const char *n, T v) { set<T>(n, v); }              \
  Operator &Operator::SetAttr(const char *n, T v) {                              \
    set<T>(n, v);                                                                \
    return *this;                                                                \
  }                                                                              \
  Operator &Operator::SetAttr(const std::string &n, T v) {                       \
    set<T>(n.c_str(), v);                                                        \
    return *this;                                                                \
  }                                                                              \
  unsigned Operator::GetAttr(const char *n, T &v) const { return get<T>(n, v); } \
  unsigned Operator::GetAttr(const std::string &n, T &v) const { return get<T>(n.c_str(), v); }
#define IR(T)                                                                    \
  void Operator::AttrRegister(const char *n, const T &v) { set<T>(n, v); }       \
  Operator &Operator::SetAttr(const char *n, const T &v) {                       \
    set<T>(n, v);                                                                \
    return *this;                                                                \
  }                                                                              \
  Operator &Operator::SetAttr(const std::string &n, const T &v) {                \
    set<T>(n.c_str(), v);                                                        \
    return *this;                                                                \
  }                                                                              \
  unsigned Operator::GetAttr(const char *n, T &v) const { return get<T>(n, v); } \
  unsigned Operator::GetAttr(const std::string &n, T &v) const { return get<T>(n.c_str(), v); }
TYPES(IA)
REFS(IR)
Operator &Operator::SetAttr(const char *n, const char *v) {
  set<AscendString>(n, AscendString(v));
  return *this;
}
Operator::Operator(const std::string &t) { i().type = t; }
Operator::Operator(const char *t) { i().type = t; }
Operator::Operator(const std::string &n, const std::string &t) {
  i().name = n;
  i().type = t;
}
Operator::Operator(const char *n, const char *t) {
  i().name = n;
  i().type = t;
}
Operator::Operator(const AscendString &n, const AscendString &t) {
  i().name = n.GetString();
  i().type = t.GetString();
}
std::string Operator::GetName() const { return i().name; }
std::string Operator::GetOpType() const { return i().type; }
unsigned Operator::GetName(AscendString &s) const {
  s = AscendString(i().name.c_str());
  return 0;
}
unsigned Operator::GetOpType(AscendString &s) const {
  s = AscendString(i().type.c_str());
  return 0;
}
void Operator::InputRegister(const char *, const char *) {}
void Operator::OutputRegister(const char *, const char *) {}
void Operator::OptionalInputRegister(const char *, const char *) {}
void Operator::DynamicInputRegister(const char *, unsigned, const char *, bool) {}
void Operator::DynamicOutputRegister(const char *, unsigned, const char *, bool) {}
void Operator::RequiredAttrWithTypeRegister(const char *, const char *) {}
void Operator::DataTypeRegister(const char *, const TensorType &) {}
void Operator::DataTypeRegister(const char *, const Promote &) {}
typedef std::function<Operator(const AscendString &)> Creator;
typedef std::function<Operator(const std::string &)> CreatorS;
static std::map<std::string, Creator> &creators() {
  static auto *m = new std::map<std::string, Creator>;
  return *m;
}
class V OperatorCreatorRegister {
 public:
  OperatorCreatorRegister(const char *t, const Creator &c);
  OperatorCreatorRegister(const std::string &t, const CreatorS &c);
};
OperatorCreatorRegister::OperatorCreatorRegister(const char *t, const Creator &c) { creators()[t] = c; }
OperatorCreatorRegister::OperatorCreatorRegister(const std::string &t, const CreatorS &c) {
  creators()[t] = [c](const AscendString &n) { return c(n.GetString()); };
}
class V OperatorFactory {
 public:
  static Operator CreateOperator(const char *n, const char *t);
  static Operator CreateOperator(const std::string &n, const std::string &t);
  static bool IsExistOp(const char *t);
  static bool IsExistOp(const std::string &t);
};
Operator OperatorFactory::CreateOperator(const char *n, const char *t) {
  auto k = creators().find(t);
  if (k == creators().end()) return Operator(n, t);
  return k->second(AscendString(n));
}
Operator OperatorFactory::CreateOperator(const std::string &n, const std::string &t) { return CreateOperator(n.c_str(), t.c_str()); }
bool OperatorFactory::IsExistOp(const char *t) { return true; }
bool OperatorFactory::IsExistOp(const std::string &t) { return true; }
}  // namespace ge
