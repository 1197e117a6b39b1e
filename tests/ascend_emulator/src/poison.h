// The pattern that memory holds which nobody has written.
#pragma once
#include <cstddef>
#include <cstdint>

namespace emulated {

// NaN in float16, bfloat16, float32 and float64, and far out of range as an index.
constexpr uint16_t kPoison = 0x7FF9;
// Fills device memory, unless EMULATED_POISON=0.
void poison(void *start, size_t bytes);
// Address space that reads as poison and takes memory of the host only where it is written; nullptr if there is none.
void *map_poisoned(size_t bytes);

}  // namespace emulated
