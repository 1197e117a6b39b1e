// How ranks wait for each other: never for ever, and with the name of the one that is missing.
#pragma once
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>

#include "hccl_group.h"
#include "python.h"
#include "status.h"

namespace emulated {

// Also of a process that nobody has asked for its status yet.
inline bool has_ended(const SharedRank &rank) {
  const int process = rank.process;
  if (process <= 0) return false;
  FILE *file = fopen(("/proc/" + std::to_string(process) + "/stat").c_str(), "r");
  if (!file) return errno == ENOENT;  // without a free descriptor nothing is known
  char state = 'R';
  if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1) state = 'X';  // it ended while the file was open
  fclose(file);
  return state == 'Z' || state == 'X';
}

inline int give_up(Group *group, const std::string &call, uint32_t rank, const std::string &why) {
  return fail(kHcclTimeout, call + " in group " + group->name + ", rank " + std::to_string(group->rank) + " of " +
                                std::to_string(group->size) + ": rank " + std::to_string(rank) + " " + why);
}

template <class Done, class Missing>
int wait_until(Group *group, const std::string &call, int seconds, Done done, Missing missing) {
  for (int i = 0; i < 200; i++) {
    if (done()) return 0;
    sched_yield();
  }
  WithoutInterpreter without;
  // not the time of day, which jumps when a virtual machine goes on after a pause
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  for (int i = 0; !done(); i++) {
    usleep(i < 200 ? 50 : 500);
    if (i % 256 != 255) continue;  // a rank that has done its part may leave: look whether it is done once more
    const uint32_t rank = missing();
    if (has_ended(group->shared->ranks[rank]) && !done()) return give_up(group, call, rank, "has ended");
    if (std::chrono::steady_clock::now() >= end)
      return give_up(group, call, rank, "did not take part within " + std::to_string(seconds) + " s");
  }
  return 0;
}

}  // namespace emulated
