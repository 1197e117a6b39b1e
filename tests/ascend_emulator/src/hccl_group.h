// A communicator: processes that share memory. Each rank has a slot for collectives and a box for each other rank.
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace emulated {

// hccl_types.h, CANN 8.1.RC1
constexpr int kHcclParameter = 1;
constexpr int kHcclMemory = 3;
constexpr int kHcclNotSupported = 5;
constexpr int kHcclTimeout = 9;

constexpr size_t kSlotBytes = 1 << 20;
constexpr size_t kBoxBytes = 256 << 10;
constexpr uint32_t kMaxRanks = 16;

struct SharedRank {
  std::atomic<int32_t> process;       // 0: not joined
  std::atomic<uint64_t> arrived;      // barriers that the rank has reached
  char call[128];                     // what it is doing: all ranks must do the same
  std::atomic<uint32_t> full[kMaxRanks];  // whether the box for another rank holds a piece
};
struct Shared {
  SharedRank ranks[kMaxRanks];
  char memory[];
};

struct Group {
  std::string name;
  uint32_t rank = 0, size = 1;
  Shared *shared = nullptr;
  uint64_t arrived = 0;
  std::mutex mutex;  // one collective at a time

  char *slot(uint32_t of) const { return shared->memory + of * kSlotBytes; }
  char *box(uint32_t from, uint32_t to) const {
    return shared->memory + size * kSlotBytes + (from * size + to) * kBoxBytes;
  }
};

// Joins the group of that name; waits for the other ranks. Fails with a status of HCCL.
int join_group(const std::string &name, uint32_t rank, uint32_t size, Group **group);
void leave_group(Group *group);

// Waits until all ranks are here. call: for messages.
int meet(Group *group, const std::string &call);

// Waits with growing patience. step(): 0 to go on waiting, else done. Fails when time is over or a process is gone;
// missing(): ranks that are waited for.
template <class Done, class Missing>
int wait_until(Group *group, const std::string &call, int seconds, Done done, Missing missing);

}  // namespace emulated

#include "hccl_wait.h"
