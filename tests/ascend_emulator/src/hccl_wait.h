// How ranks wait for each other: never for ever, and with the name of the one that is missing.
#pragma once
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "hccl_group.h"
#include "python.h"
#include "status.h"

namespace emulated {

inline bool has_ended(const SharedRank &rank) {
  const int process = rank.process;
  return process > 0 && kill(process, 0) != 0 && errno == ESRCH;
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
  const time_t end = time(nullptr) + seconds;
  for (int i = 0; !done(); i++) {
    usleep(i < 200 ? 50 : 500);
    if (i % 256 != 255) continue;  // a rank that has done its part may leave: look whether it is done once more
    const uint32_t rank = missing();
    if (has_ended(group->shared->ranks[rank]) && !done()) return give_up(group, call, rank, "has ended");
    if (time(nullptr) >= end)
      return give_up(group, call, rank, "did not take part within " + std::to_string(seconds) + " s");
  }
  return 0;
}

}  // namespace emulated
