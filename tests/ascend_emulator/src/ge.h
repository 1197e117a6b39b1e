// As much of GE's graph classes as MindSpore's adapters for legacy operators use: values (shapes, tensors) and a named bag
// of attributes. Only names, signatures and sizes matter: they must give the mangled symbols that the plugin leaves
// undefined, and each class is one shared_ptr (Operator: with a virtual destructor before it).
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#define V __attribute__((visibility("default")))

namespace ge {

enum DataType : int { DT_FLOAT = 0 };

enum Format : int { FORMAT_ND = 2 };

class V AscendString {
 public:
  AscendString() = default;
  AscendString(const char *s);
  const char *GetString() const;
  bool operator<(const AscendString &o) const;
  std::shared_ptr<std::string> s_;
};

class V Shape {
 public:
  Shape();
  explicit Shape(const std::vector<int64_t> &d);
  size_t GetDimNum() const;
  int64_t GetDim(size_t i) const;
  std::vector<int64_t> GetDims() const;
  unsigned SetDim(size_t i, int64_t v);
  int64_t GetShapeSize() const;
  std::shared_ptr<std::vector<int64_t>> d_;
};

struct DescImpl {
  Shape shape;
  Format format = FORMAT_ND;
  DataType type = DT_FLOAT;
};

class V TensorDesc {
 public:
  TensorDesc();
  TensorDesc(Shape s, Format f, DataType t);
  TensorDesc(const TensorDesc &o);
  TensorDesc(TensorDesc &&o);
  Shape GetShape() const;
  Format GetFormat() const;
  DataType GetDataType() const;
  unsigned SetShape(const Shape &s);
  void SetFormat(Format f);
  void SetDataType(DataType t);
  std::shared_ptr<DescImpl> i_;
};

class V TensorType {
 public:
  TensorType(const std::initializer_list<DataType> &);
  std::shared_ptr<void> i_;
};

class V Promote {
 public:
  Promote(const std::initializer_list<const char *> &);
  std::shared_ptr<void> i_;
};

struct TensorImpl {
  TensorDesc desc;
  std::vector<uint8_t> data;
};

class V Tensor {
 public:
  Tensor();
  explicit Tensor(const TensorDesc &d);
  Tensor(const TensorDesc &d, const uint8_t *p, size_t n);
  TensorDesc GetTensorDesc() const;
  uint8_t *GetData();
  size_t GetSize() const;
  std::shared_ptr<TensorImpl> i_;
};

}  // namespace ge
