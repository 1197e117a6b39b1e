#include "hccl_group.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "argument.h"

namespace emulated {
namespace {

constexpr const char *kPrefix = "ms_omni_hccl_";

// The names exist only while ranks join. Those of processes that are gone are left over from a crash.
void remove_left_over() {
  DIR *folder = opendir("/dev/shm");
  if (!folder) return;
  while (dirent *entry = readdir(folder)) {
    int process = 0;
    if (sscanf(entry->d_name, "ms_omni_hccl_%d_", &process) != 1 || process <= 0) continue;
    const std::string path = std::string("/dev/shm/") + entry->d_name;
    struct stat status;
    const bool is_old = stat(path.c_str(), &status) == 0 && time(nullptr) - status.st_mtime > 600;
    if (is_old && kill(process, 0) != 0 && errno == ESRCH) unlink(path.c_str());
  }
  closedir(folder);
}

Shared *map_shared(const std::string &path, size_t bytes) {
  const int file = shm_open(path.c_str(), O_RDWR | O_CREAT, 0600);
  if (file < 0) return nullptr;
  // All of it now: a full /dev/shm would end the process later
  void *memory = posix_fallocate(file, 0, static_cast<off_t>(bytes))
                     ? MAP_FAILED
                     : mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  return memory == MAP_FAILED ? nullptr : static_cast<Shared *>(memory);
}

size_t shared_bytes(uint32_t size) { return sizeof(Shared) + size * kSlotBytes + size * size * kBoxBytes; }

}  // namespace

int join_group(const std::string &name, uint32_t rank, uint32_t size, Group **made) {
  if (size == 0 || size > kMaxRanks || rank >= size)
    return fail(kHcclParameter, "communicator: rank " + std::to_string(rank) + " of " + std::to_string(size) +
                                    ", allowed: 1 to " + std::to_string(kMaxRanks) + " ranks");
  auto *group = new Group;
  group->name = name;
  group->rank = rank;
  group->size = size;
  const std::string path = "/" + (name.compare(0, strlen(kPrefix), kPrefix) == 0 ? name : kPrefix + name);
  group->shared = map_shared(path, shared_bytes(size));
  if (!group->shared) {
    shm_unlink(path.c_str());
    return fail(kHcclMemory, "communicator: no " + std::to_string(shared_bytes(size) >> 20) +
                                 " MiB of shared memory in /dev/shm (docker: --shm-size)");
  }
  Shared *shared = group->shared;
  shared->ranks[rank].process = getpid();
  const auto missing = [shared, size] {
    uint32_t other = 0;
    while (other + 1 < size && shared->ranks[other].process) other++;
    return other;
  };
  const int status = wait_until(group, "creation", setting("HCCL_CONNECT_TIMEOUT", 120),
                                [&] { return shared->ranks[missing()].process != 0; }, missing);
  if (rank == 0 || status) shm_unlink(path.c_str());
  *made = group;
  return status;
}

void leave_group(Group *group) {
  munmap(group->shared, shared_bytes(group->size));
  delete group;
}

int meet(Group *group, const std::string &call) {
  SharedRank *ranks = group->shared->ranks;
  const uint64_t wanted = ++group->arrived;
  ranks[group->rank].arrived = wanted;
  // The first that is not here; all are looked at once, since one that comes says nothing of those behind it
  const auto missing = [ranks, group, wanted] {
    uint32_t other = 0;
    while (other < group->size && ranks[other].arrived >= wanted) other++;
    return other;
  };
  return wait_until(group, call, setting("HCCL_EXEC_TIMEOUT", 60), [&] { return missing() == group->size; }, [&] {
    const uint32_t other = missing();  // meanwhile all may have come
    return other == group->size ? other - 1 : other;
  });
}

}  // namespace emulated

// The text names the shared memory: the process and the time make it unique.
API int HcclGetRootInfo(char *info) {
  constexpr size_t kBytes = 4108;
  static std::atomic<int> number{0};
  emulated::remove_left_over();
  memset(info, 0, kBytes);
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  snprintf(info, 128, "%s%d_%ld%09ld_%d", emulated::kPrefix, getpid(), static_cast<long>(now.tv_sec), now.tv_nsec,
           number++);
  return 0;
}
