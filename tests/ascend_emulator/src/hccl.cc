// HCCL's collectives: arguments are checked at the call, the work goes to the stream, in pieces of a slot.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "argument.h"
#include "guard.h"
#include "hccl_group.h"
#include "hccl_reduce.h"
#include "status.h"
#include "streams.h"
#include "trace.h"

namespace emulated {
namespace {

struct Collective {
  const char *name;
  Group *group;
  uint64_t count;
  int dtype;
  int op = -1;
  int64_t root = -1;

  size_t bytes() const { return count * hccl_bytes(dtype); }
  std::string text() const {
    return std::string(name) + " of " + std::to_string(count) + " " + hccl_name(dtype) +
           (op >= 0 ? ", operation " + std::to_string(op) : "") + (root >= 0 ? ", root " + std::to_string(root) : "");
  }
};

int refuse(const Collective &c, int status, const std::string &why) {
  return fail(status, "Hccl" + c.text() + " in group " + (c.group ? c.group->name : "(none)") + ": " + why);
}

int check_memory(const Collective &c, const char *what, const void *start, size_t bytes) {
  const std::string fault = bytes ? guard::fault(start, bytes) : "";
  return fault.empty() ? 0 : refuse(c, kHcclParameter, std::string(what) + ": " + fault);
}

int check(const Collective &c, const void *in, size_t in_bytes, const void *out, size_t out_bytes) {
  if (!c.group) return refuse(c, kHcclParameter, "no communicator");
  if (!hccl_bytes(c.dtype)) return refuse(c, kHcclNotSupported, "HcclDataType " + std::to_string(c.dtype));
  if (c.op >= 0 && !can_reduce(c.dtype, c.op))
    return refuse(c, kHcclNotSupported, "this operation is not supported for the data type");
  if (c.root >= 0 && c.root >= c.group->size)
    return refuse(c, kHcclParameter, "root " + std::to_string(c.root) + " is not a rank of the communicator, which has " +
                                         std::to_string(c.group->size) + " (not the rank in the world)");
  if (const int status = check_memory(c, "input", in, in_bytes)) return status;
  return check_memory(c, "output", out, out_bytes);
}

// The calls of all ranks, compared after they have met.
int compare_calls(const Group *group) {
  const SharedRank *ranks = group->shared->ranks;
  for (uint32_t other = 0; other < group->size; other++)
    if (strcmp(ranks[other].call, ranks[group->rank].call) != 0)
      return fail(kHcclParameter, "group " + group->name + ": rank " + std::to_string(group->rank) + " calls " +
                                      ranks[group->rank].call + ", rank " + std::to_string(other) + " calls " +
                                      ranks[other].call);
  return 0;
}

// write: fills this rank's slot; read: uses all slots, once they are filled.
template <class Write, class Read>
int exchange(const Collective &c, Write write, Read read) {
  write();
  char *call = c.group->shared->ranks[c.group->rank].call;  // the others read it between the two meetings
  snprintf(call, sizeof SharedRank::call, "%s", c.text().c_str());
  int status = meet(c.group, c.text());
  if (!status) status = compare_calls(c.group);
  if (status) return status;
  read();
  return meet(c.group, c.text());
}

// Calls run(first element, elements) for pieces that fit a slot; at least once, as the ranks meet also for nothing.
template <class Run>
int in_pieces(const Collective &c, Run run) {
  std::lock_guard<std::mutex> lock(c.group->mutex);
  const uint64_t piece = kSlotBytes / hccl_bytes(c.dtype);
  uint64_t at = 0;
  do {
    const uint64_t count = std::min(piece, c.count - at);
    if (const int status = run(at, count)) return status;
    at += count;
  } while (at < c.count);
  return 0;
}

int start(const Collective &c, void *stream, Task task) {
  count(std::string("hccl ") + c.name, static_cast<int64_t>(c.bytes()));
  if (is_tracing())
    trace(std::string("\"event\": \"collective\", \"name\": \"") + c.name + "\", \"dtype\": \"" + hccl_name(c.dtype) +
          "\", \"count\": " + std::to_string(c.count) + ", \"group\": " + quoted(c.group->name) +
          ", \"ranks\": " + std::to_string(c.group->size) + ", \"root\": " + std::to_string(c.root));
  return submit(stream, std::move(task));
}

}  // namespace
}  // namespace emulated

using namespace emulated;

API int HcclAllReduce(void *in, void *out, uint64_t count, int dtype, int op, Group *group, void *stream) {
  const Collective c{"AllReduce", group, count, dtype, op};
  if (const int status = check(c, in, c.bytes(), out, c.bytes())) return status;
  return start(c, stream, [c, in, out] {
    return in_pieces(c, [&](uint64_t at, uint64_t n) {
      const size_t size = hccl_bytes(c.dtype);
      return exchange(
          c, [&] { memcpy(c.group->slot(c.group->rank), static_cast<char *>(in) + at * size, n * size); },
          [&] { reduce_slots(c.group, static_cast<char *>(out) + at * size, n, c.dtype, c.op); });
    });
  });
}

API int HcclReduce(void *in, void *out, uint64_t count, int dtype, int op, uint32_t root, Group *group, void *stream) {
  const Collective c{"Reduce", group, count, dtype, op, root};
  const bool is_root = group && group->rank == root;
  if (const int status = check(c, in, c.bytes(), out, is_root ? c.bytes() : 0)) return status;
  return start(c, stream, [c, in, out, is_root] {
    return in_pieces(c, [&](uint64_t at, uint64_t n) {
      const size_t size = hccl_bytes(c.dtype);
      return exchange(
          c, [&] { memcpy(c.group->slot(c.group->rank), static_cast<char *>(in) + at * size, n * size); },
          [&] {
            if (is_root) reduce_slots(c.group, static_cast<char *>(out) + at * size, n, c.dtype, c.op);
          });
    });
  });
}

API int HcclBroadcast(void *buffer, uint64_t count, int dtype, uint32_t root, Group *group, void *stream) {
  const Collective c{"Broadcast", group, count, dtype, -1, root};
  if (const int status = check(c, buffer, c.bytes(), buffer, c.bytes())) return status;
  return start(c, stream, [c, buffer] {
    return in_pieces(c, [&](uint64_t at, uint64_t n) {
      const size_t size = hccl_bytes(c.dtype);
      const auto root = static_cast<uint32_t>(c.root);
      char *here = static_cast<char *>(buffer) + at * size;
      return exchange(
          c,
          [&] {
            if (c.group->rank == root) memcpy(c.group->slot(root), here, n * size);
          },
          [&] {
            if (c.group->rank != root) memcpy(here, c.group->slot(root), n * size);
          });
    });
  });
}

API int HcclAllGather(void *in, void *out, uint64_t count, int dtype, Group *group, void *stream) {
  const Collective c{"AllGather", group, count, dtype};
  if (const int status = check(c, in, c.bytes(), out, group ? c.bytes() * group->size : 0)) return status;
  return start(c, stream, [c, in, out] {
    return in_pieces(c, [&](uint64_t at, uint64_t n) {
      const size_t size = hccl_bytes(c.dtype);
      return exchange(
          c, [&] { memcpy(c.group->slot(c.group->rank), static_cast<char *>(in) + at * size, n * size); },
          [&] {
            for (uint32_t rank = 0; rank < c.group->size; rank++)
              memcpy(static_cast<char *>(out) + (rank * c.count + at) * size, c.group->slot(rank), n * size);
          });
    });
  });
}

API int HcclReduceScatter(void *in, void *out, uint64_t count, int dtype, int op, Group *group, void *stream) {
  const Collective c{"ReduceScatter", group, count, dtype, op};
  if (const int status = check(c, in, group ? c.bytes() * group->size : 0, out, c.bytes())) return status;
  return start(c, stream, [c, in, out] {
    // one rank's part after the other; the result is written last, as in and out may overlap
    const size_t size = hccl_bytes(c.dtype);
    std::vector<char> result(c.bytes());
    for (uint32_t part = 0; part < c.group->size; part++) {
      const int status = in_pieces(c, [&](uint64_t at, uint64_t n) {
        const char *from = static_cast<char *>(in) + (part * c.count + at) * size;
        return exchange(
            c, [&] { memcpy(c.group->slot(c.group->rank), from, n * size); },
            [&] {
              if (part == c.group->rank) reduce_slots(c.group, result.data() + at * size, n, c.dtype, c.op);
            });
      });
      if (status) return status;
    }
    memcpy(out, result.data(), result.size());
    return 0;
  });
}

API int HcclBarrier(Group *group, void *stream) {
  const Collective c{"Barrier", group, 0, 0};
  if (const int status = check(c, nullptr, 0, nullptr, 0)) return status;
  return start(c, stream, [c] {
    std::lock_guard<std::mutex> lock(c.group->mutex);
    return exchange(c, [] {}, [] {});
  });
}
