// GE's values: strings, shapes, tensors and their descriptions.
#include "ge.h"

namespace ge {

AscendString::AscendString(const char *s) : s_(s ? std::make_shared<std::string>(s) : nullptr) {}

const char *AscendString::GetString() const { return s_ ? s_->c_str() : ""; }

bool AscendString::operator<(const AscendString &o) const { return std::string(GetString()) < std::string(o.GetString()); }

Shape::Shape() : d_(std::make_shared<std::vector<int64_t>>()) {}

Shape::Shape(const std::vector<int64_t> &d) : d_(std::make_shared<std::vector<int64_t>>(d)) {}

size_t Shape::GetDimNum() const { return d_->size(); }

int64_t Shape::GetDim(size_t i) const { return i < d_->size() ? (*d_)[i] : 0; }

std::vector<int64_t> Shape::GetDims() const { return *d_; }

unsigned Shape::SetDim(size_t i, int64_t v) {
  (*d_)[i] = v;
  return 0;
}

int64_t Shape::GetShapeSize() const {
  int64_t n = 1;
  for (auto v : *d_) n *= v;
  return n;
}

TensorDesc::TensorDesc() : i_(std::make_shared<DescImpl>()) {}

TensorDesc::TensorDesc(Shape s, Format f, DataType t) : i_(std::make_shared<DescImpl>()) {
  i_->shape = s;
  i_->format = f;
  i_->type = t;
}

TensorDesc::TensorDesc(const TensorDesc &o) : i_(std::make_shared<DescImpl>(*o.i_)) {}

TensorDesc::TensorDesc(TensorDesc &&o) : i_(o.i_) {}

Shape TensorDesc::GetShape() const { return i_->shape; }

Format TensorDesc::GetFormat() const { return i_->format; }

DataType TensorDesc::GetDataType() const { return i_->type; }

unsigned TensorDesc::SetShape(const Shape &s) {
  i_->shape = s;
  return 0;
}

void TensorDesc::SetFormat(Format f) { i_->format = f; }

void TensorDesc::SetDataType(DataType t) { i_->type = t; }

TensorType::TensorType(const std::initializer_list<DataType> &) {}

Promote::Promote(const std::initializer_list<const char *> &) {}

Tensor::Tensor() : i_(std::make_shared<TensorImpl>()) {}

Tensor::Tensor(const TensorDesc &d) : i_(std::make_shared<TensorImpl>()) { i_->desc.i_ = d.i_; }

Tensor::Tensor(const TensorDesc &d, const uint8_t *p, size_t n) : i_(std::make_shared<TensorImpl>()) {
  i_->desc.i_ = d.i_;
  i_->data.assign(p, p + n);
}

TensorDesc Tensor::GetTensorDesc() const { return i_->desc; }

uint8_t *Tensor::GetData() { return i_->data.data(); }

size_t Tensor::GetSize() const { return i_->data.size(); }

}  // namespace ge
