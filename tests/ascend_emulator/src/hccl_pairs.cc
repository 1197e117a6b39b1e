// What HCCL sends from one rank to another: Send, Recv, batches of them, AlltoAll.
#include <algorithm>
#include <cstring>
#include <memory>
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

// One message between this rank and another, piece by piece through the box of the pair.
struct Message {
  bool is_send;
  char *data;
  size_t bytes;
  uint32_t peer;
  size_t done = 0;
  bool is_finished = false;

  // Moves on by a piece if the box allows it. A message of no bytes is a piece too.
  bool step(Group *group) {
    const uint32_t from = is_send ? group->rank : peer, to = is_send ? peer : group->rank;
    auto &full = group->shared->ranks[from].full[to];
    if (is_finished || (full != 0) == is_send) return false;
    const size_t piece = std::min(kBoxBytes, bytes - done);
    if (piece) is_send ? memcpy(group->box(from, to), data + done, piece) : memcpy(data + done, group->box(from, to), piece);
    full = is_send ? 1 : 0;
    done += piece;
    is_finished = done == bytes;
    return true;
  }
};

int transfer(Group *group, const std::string &call, std::vector<Message> messages) {
  std::lock_guard<std::mutex> lock(group->mutex);
  const auto all_finished = [&] {
    bool moved = true;
    while (moved) {
      moved = false;
      for (Message &message : messages) moved |= message.step(group);
    }
    return std::all_of(messages.begin(), messages.end(), [](const Message &m) { return m.is_finished; });
  };
  const auto missing = [&] {
    return std::find_if(messages.begin(), messages.end(), [](const Message &m) { return !m.is_finished; })->peer;
  };
  return wait_until(group, call, setting("HCCL_EXEC_TIMEOUT", 60), all_finished, missing);
}

int check(const char *name, Group *group, const Message &message, int dtype) {
  const std::string call = std::string("Hccl") + name + " with rank " + std::to_string(message.peer);
  if (!group) return fail(kHcclParameter, call + ": no communicator");
  if (!hccl_bytes(dtype)) return fail(kHcclNotSupported, call + ": HcclDataType " + std::to_string(dtype));
  if (message.peer >= group->size)
    return fail(kHcclParameter, call + ": the communicator has " + std::to_string(group->size) + " ranks");
  const std::string fault = message.bytes ? guard::fault(message.data, message.bytes) : "";
  return fault.empty() ? 0 : fail(kHcclParameter, call + ": " + fault);
}

int start(const char *name, Group *group, std::vector<Message> messages, int dtype, void *stream) {
  size_t sent = 0;
  for (const Message &message : messages) {
    if (const int status = check(name, group, message, dtype)) return status;
    if (message.is_send || messages.size() == 1) sent += message.bytes;
  }
  count(std::string("hccl ") + name, static_cast<int64_t>(sent));
  if (is_tracing())
    trace(std::string("\"event\": \"collective\", \"name\": \"") + name + "\", \"dtype\": \"" + hccl_name(dtype) +
          "\", \"bytes\": " + std::to_string(sent) + ", \"group\": " + quoted(group->name) +
          ", \"ranks\": " + std::to_string(group->size));
  return submit(stream, [=] { return transfer(group, name, messages); });
}

char *at(const void *start, uint64_t elements, int dtype) {
  return static_cast<char *>(const_cast<void *>(start)) + elements * hccl_bytes(dtype);
}

struct Item {  // HcclSendRecvItem
  int type;    // 0: send
  void *data;
  uint64_t count;
  int dtype;
  uint32_t peer;
};

}  // namespace
}  // namespace emulated

using namespace emulated;

API int HcclSend(void *data, uint64_t count, int dtype, uint32_t to, Group *group, void *stream) {
  return start("Send", group, {{true, static_cast<char *>(data), count * hccl_bytes(dtype), to}}, dtype, stream);
}
API int HcclRecv(void *data, uint64_t count, int dtype, uint32_t from, Group *group, void *stream) {
  return start("Recv", group, {{false, static_cast<char *>(data), count * hccl_bytes(dtype), from}}, dtype, stream);
}
API int HcclBatchSendRecv(Item *items, uint32_t num_items, Group *group, void *stream) {
  std::vector<Message> messages;
  for (uint32_t i = 0; i < num_items; i++) {
    const Item &item = items[i];
    messages.push_back({item.type == 0, static_cast<char *>(item.data), item.count * hccl_bytes(item.dtype), item.peer});
  }
  return start("BatchSendRecv", group, messages, num_items ? items[0].dtype : 0, stream);
}
API int HcclAlltoAllV(const void *in, const uint64_t *in_counts, const uint64_t *in_places, int in_dtype, const void *out,
                      const uint64_t *out_counts, const uint64_t *out_places, int out_dtype, Group *group, void *stream) {
  if (!group || in_dtype != out_dtype) return fail(kHcclParameter, "HcclAlltoAllV: no communicator, or two data types");
  std::vector<Message> messages;
  for (uint32_t rank = 0; rank < group->size; rank++) {
    messages.push_back({true, at(in, in_places[rank], in_dtype), in_counts[rank] * hccl_bytes(in_dtype), rank});
    messages.push_back({false, at(out, out_places[rank], in_dtype), out_counts[rank] * hccl_bytes(in_dtype), rank});
  }
  return start("AlltoAllV", group, messages, in_dtype, stream);
}
API int HcclAlltoAll(const void *in, uint64_t in_count, int in_dtype, const void *out, uint64_t out_count, int out_dtype,
                     Group *group, void *stream) {
  if (!group || in_count != out_count) return fail(kHcclParameter, "HcclAlltoAll: no communicator, or two counts");
  std::vector<uint64_t> counts(group->size, in_count), places(group->size);
  for (uint32_t rank = 0; rank < group->size; rank++) places[rank] = rank * in_count;
  return HcclAlltoAllV(in, counts.data(), places.data(), in_dtype, out, counts.data(), places.data(), out_dtype, group,
                       stream);
}
