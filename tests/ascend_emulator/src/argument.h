// One argument of an operator as the Python half sees it (arguments.py has the same layout and tags).
#pragma once
#include <cstddef>
#include <cstdint>

#define API extern "C" __attribute__((visibility("default")))

namespace emulated {

enum Tag : int32_t {
  kNone = 0,
  kTensor = 1,
  kScalar = 2,
  kInts = 3,
  kFloats = 4,
  kBools = 5,
  kTensors = 6,
  kWord = 7,  // an integer-class argument that is none of our objects
  // attributes of aclop and internal operators
  kNumberInt = 8,
  kNumberReal = 9,
  kString = 10,
  kNumbersInt = 11,
  kNumbersReal = 12,
  kScalars = 15
};

constexpr int kMaxDims = 8;

struct Argument {
  int32_t tag, dtype, ndim, format;
  int64_t dims[kMaxDims], strides[kMaxDims];  // in elements
  int64_t offset;                             // of the first element, in elements
  void *data;                                 // tensor: address in device memory; arrays: their elements
  int64_t size;                               // arrays: elements; tensor: elements of its storage
  int64_t integer;                            // a word; a kernel's tensor: 1 for an output
  double real;
  Argument *items;
  int64_t num_items;
  const char *name;
};

// Bytes of an element; dtype is CANN's aclDataType.
inline size_t bytes_of(int dtype) {
  switch (dtype) {
    case 1: case 6: case 7: case 27: return 2;
    case 0: case 3: case 8: return 4;
    case 9: case 10: case 11: case 16: return 8;
    case 17: return 16;
    default: return 1;
  }
}

// Floating-point arguments arrive in eight registers of 16 bytes each.
constexpr int kReals = 16;

}  // namespace emulated
