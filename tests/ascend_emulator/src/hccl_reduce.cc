#include "hccl_reduce.h"

#include <cstring>

namespace emulated {
namespace {

struct Type {
  const char *name;
  size_t bytes;
};
// HcclDataType, in its order
const Type kTypes[] = {{"int8", 1},   {"int16", 2}, {"int32", 4},  {"float16", 2}, {"float32", 4}, {"int64", 8},
                       {"uint64", 8}, {"uint8", 1}, {"uint16", 2}, {"uint32", 4},  {"float64", 8}, {"bfloat16", 2}};
constexpr int kNumTypes = sizeof kTypes / sizeof *kTypes;
enum { kInt8 = 0, kInt16 = 1, kInt32 = 2, kFloat16 = 3, kFloat32 = 4, kInt64 = 5, kBfloat16 = 11 };

struct Bfloat16 {
  uint16_t bits;
  Bfloat16() = default;
  explicit Bfloat16(float value) {
    uint32_t wide;
    memcpy(&wide, &value, 4);
    const bool is_nan = (wide & 0x7FFFFFFF) > 0x7F800000;
    bits = static_cast<uint16_t>(is_nan ? (wide >> 16) | 0x40 : (wide + 0x7FFF + ((wide >> 16) & 1)) >> 16);
  }
  explicit operator float() const {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
  }
};

template <class Wide>
Wide combine(Wide a, Wide b, int op) {
  switch (op) {
    case kSum: return a + b;
    case kProduct: return a * b;
    case kMax: return b > a ? b : a;
    default: return b < a ? b : a;
  }
}

template <class T, class Wide>
void reduce(const Group *group, void *out, size_t count, int op) {
  for (size_t i = 0; i < count; i++) {
    auto value = static_cast<Wide>(reinterpret_cast<T *>(group->slot(0))[i]);
    for (uint32_t rank = 1; rank < group->size; rank++)
      value = combine(value, static_cast<Wide>(reinterpret_cast<T *>(group->slot(rank))[i]), op);
    static_cast<T *>(out)[i] = static_cast<T>(value);
  }
}

}  // namespace

size_t hccl_bytes(int dtype) { return dtype >= 0 && dtype < kNumTypes ? kTypes[dtype].bytes : 0; }
const char *hccl_name(int dtype) { return hccl_bytes(dtype) ? kTypes[dtype].name : "unknown"; }

// HCCL's list for Atlas A2: no product of int16 and bfloat16.
bool can_reduce(int dtype, int op) {
  switch (dtype) {
    case kInt8:
    case kInt32:
    case kInt64:
    case kFloat16:
    case kFloat32: return op >= kSum && op <= kMin;
    case kInt16:
    case kBfloat16: return op == kSum || op == kMax || op == kMin;
    default: return false;
  }
}

void reduce_slots(const Group *group, void *out, size_t count, int dtype, int op) {
  switch (dtype) {
    case kInt8: return reduce<int8_t, int32_t>(group, out, count, op);
    case kInt16: return reduce<int16_t, int32_t>(group, out, count, op);
    case kInt32: return reduce<int32_t, int64_t>(group, out, count, op);
    case kInt64: return reduce<int64_t, int64_t>(group, out, count, op);
    case kFloat16: return reduce<_Float16, float>(group, out, count, op);
    case kFloat32: return reduce<float, float>(group, out, count, op);
    case kBfloat16: return reduce<Bfloat16, float>(group, out, count, op);
    default: return;  // can_reduce() was asked
  }
}

}  // namespace emulated
