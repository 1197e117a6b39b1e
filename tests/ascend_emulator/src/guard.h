// What lies where in emulated device memory: allocations of the runtime and, inside them, the blocks of MindSpore's pool.
#pragma once
#include <string>
#include <vector>

#include "argument.h"

namespace emulated {
namespace guard {

void add_region(void *start, size_t bytes);
// False if the address is not the start of a region.
bool remove_region(void *start, size_t *bytes);

// A block of MindSpore's pool was handed out or given back. Addresses outside of every region (the pool of the CPU, a dry
// run without memory) are left alone.
void add_block(void *start, size_t bytes);
void remove_block(void *start);
// Blocks were given back except for parts of them, which keep their values.
void split_blocks(const std::vector<void *> &freed, const std::vector<void *> &kept, const std::vector<size_t> &kept_bytes);

// "" if all bytes lie in one live block or, where no pool is, in one region; else what is wrong with them.
std::string fault(const void *start, size_t bytes);
// The first fault of the tensors among the arguments, with the tensor's place and shape; "" if there is none.
std::string fault_of(const Argument *arguments, int count);

// MindSpore gives the memory of a captured graph back to its pool and still uses it at every replay: the tensors of a
// captured launch are valid from now on, and not poisoned, as long as they are device memory at all.
void keep_captured(const Argument *arguments, int count);

// The host has waited for the card. MindSpore gives memory back before the last work that uses it is launched (by another
// of its threads, in the order of the stream), so that blocks freed since the last waiting may still be used; what was
// freed before may not, and is poisoned now.
void host_has_waited();

}  // namespace guard

}  // namespace emulated
