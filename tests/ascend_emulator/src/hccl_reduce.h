// Element types of HCCL, and reductions over the slots of a group.
#pragma once
#include "hccl_group.h"

namespace emulated {

enum ReduceOp { kSum = 0, kProduct = 1, kMax = 2, kMin = 3 };

// Bytes of an element; 0 for a type that no collective takes.
size_t hccl_bytes(int dtype);
const char *hccl_name(int dtype);
bool can_reduce(int dtype, int op);
// Of the first `count` elements of every slot. Half precision is summed in float32 and rounded once.
void reduce_slots(const Group *group, void *out, size_t count, int dtype, int op);

}  // namespace emulated
