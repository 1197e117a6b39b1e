// Device memory, page-locked host memory, copies and fills.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "argument.h"
#include "guard.h"
#include "poison.h"
#include "status.h"
#include "streams.h"
#include "trace.h"

namespace emulated {
namespace {

constexpr size_t kPage = 4096;
enum Direction { kHostToHost = 0, kHostToDevice = 1, kDeviceToHost = 2, kDeviceToDevice = 3 };
const char *const kDirections[] = {"host to host", "host to device", "device to host", "device to device"};

std::mutex mutex;
size_t used_bytes = 0;

std::map<uintptr_t, size_t> &page_locked() {
  static auto *ranges = new std::map<uintptr_t, size_t>;
  return *ranges;
}

size_t rounded(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

bool is_page_locked(const void *address) {
  std::lock_guard<std::mutex> lock(mutex);
  auto next = page_locked().upper_bound(reinterpret_cast<uintptr_t>(address));
  if (next == page_locked().begin()) return false;
  --next;
  return reinterpret_cast<uintptr_t>(address) - next->first < next->second;
}

int allocate(void **address, size_t bytes) {
  if (!address || !bytes) return fail(kInvalidParameter, "aclrtMalloc: 0 bytes, or nowhere to write the address");
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (bytes > memory_bytes() || used_bytes + rounded(bytes) > memory_bytes())
      return fail(kMemoryAllocation, "aclrtMalloc: " + std::to_string(bytes) + " bytes asked for, " +
                                         std::to_string(memory_bytes() - used_bytes) + " of " +
                                         std::to_string(memory_bytes()) + " are free");
    used_bytes += rounded(bytes);
  }
  *address = map_poisoned(rounded(bytes));
  if (!*address) return fail(kMemoryAllocation, "aclrtMalloc: the host has no address space left");
  guard::add_region(*address, bytes);
  count("malloc", static_cast<int64_t>(bytes));
  return 0;
}

int release(void *address) {
  size_t bytes;
  if (!guard::remove_region(address, &bytes)) return fail(kInvalidHandle, "aclrtFree: not the start of an allocation");
  if (is_late()) synchronize_all();  // queued work may still use it; CANN waits too
  munmap(address, rounded(bytes));
  std::lock_guard<std::mutex> lock(mutex);
  used_bytes -= rounded(bytes);
  return 0;
}

std::string fault_of_copy(const void *to, const void *from, size_t bytes, int direction) {
  std::string what;
  if (direction == kHostToDevice || direction == kDeviceToDevice) what = guard::fault(to, bytes);
  if (!what.empty()) return "destination: " + what;
  if (direction == kDeviceToHost || direction == kDeviceToDevice) what = guard::fault(from, bytes);
  return what.empty() ? what : "source: " + what;
}

int check_copy(const void *to, size_t room, const void *from, size_t bytes, int direction) {
  const char *name = direction >= 0 && direction < 4 ? kDirections[direction] : "by address";
  const std::string what = std::string("copy ") + name + " of " + std::to_string(bytes) + " bytes";
  if (bytes > room) return fail(kInvalidParameter, what + " into " + std::to_string(room));
  const std::string fault = bytes ? fault_of_copy(to, from, bytes, direction) : "";
  if (!fault.empty()) return fail(kRuntimeInvalidParameter, what + ", " + fault);
  count(std::string("copy ") + name, static_cast<int64_t>(bytes));
  if (is_tracing())
    trace(std::string("\"event\": \"copy\", \"direction\": \"") + name + "\", \"bytes\": " + std::to_string(bytes));
  return 0;
}

// The host's side of an asynchronous copy: page-locked memory is read and written when the copy runs. Other memory is
// read at once, and written before the call returns.
int copy_later(void *to, const void *from, size_t bytes, int direction, void *stream) {
  if (direction == kHostToDevice && !is_page_locked(from)) {
    auto *start = static_cast<const char *>(from);
    auto values = std::make_shared<std::vector<char>>(start, start + bytes);
    return submit(stream, [to, values] {
      memcpy(to, values->data(), values->size());
      return 0;
    });
  }
  const int status = submit(stream, [to, from, bytes] {
    memmove(to, from, bytes);
    return 0;
  });
  const bool is_waiting = direction == kDeviceToHost && !is_page_locked(to) && !capture_of(stream);
  return status || !is_waiting ? status : synchronize(stream);
}

int check_fill(void *to, size_t room, size_t bytes) {
  if (bytes > room) return fail(kInvalidParameter, "fill of more bytes than there is room for");
  const std::string fault = bytes ? guard::fault(to, bytes) : "";
  if (!fault.empty()) return fail(kRuntimeInvalidParameter, "fill of " + std::to_string(bytes) + " bytes: " + fault);
  count("fill", static_cast<int64_t>(bytes));
  if (is_tracing()) trace("\"event\": \"fill\", \"bytes\": " + std::to_string(bytes));
  return 0;
}

}  // namespace
}  // namespace emulated

API int aclrtMalloc(void **address, size_t bytes, int) { return emulated::allocate(address, bytes); }
API int aclrtMallocAlign32(void **address, size_t bytes, int) { return emulated::allocate(address, bytes); }
API int aclrtFree(void *address) { return emulated::release(address); }

API int aclrtMallocHost(void **address, size_t bytes) {
  *address = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (!*address) return emulated::fail(emulated::kMemoryAllocation, "aclrtMallocHost: the host has no memory left");
  std::lock_guard<std::mutex> lock(emulated::mutex);
  emulated::page_locked()[reinterpret_cast<uintptr_t>(*address)] = bytes;
  return 0;
}
API int aclrtFreeHost(void *address) {
  {
    std::lock_guard<std::mutex> lock(emulated::mutex);
    emulated::page_locked().erase(reinterpret_cast<uintptr_t>(address));
  }
  if (emulated::is_late()) emulated::synchronize_all();
  free(address);
  return 0;
}

API int aclrtGetMemInfo(int, size_t *free_bytes, size_t *total_bytes) {
  std::lock_guard<std::mutex> lock(emulated::mutex);
  *total_bytes = emulated::memory_bytes();
  *free_bytes = *total_bytes - emulated::used_bytes;
  return 0;
}

// Does not wait for any stream.
API int aclrtMemcpy(void *to, size_t room, const void *from, size_t bytes, int direction) {
  if (const int status = emulated::refuse_while_capturing("aclrtMemcpy")) return status;
  if (const int status = emulated::check_copy(to, room, from, bytes, direction)) return status;
  memmove(to, from, bytes);
  return 0;
}
API int aclrtMemcpyAsync(void *to, size_t room, const void *from, size_t bytes, int direction, void *stream) {
  if (const int status = emulated::check_copy(to, room, from, bytes, direction)) return status;
  return emulated::copy_later(to, from, bytes, direction, stream);
}
API int aclrtMemset(void *to, size_t room, int value, size_t bytes) {
  if (const int status = emulated::refuse_while_capturing("aclrtMemset")) return status;
  if (const int status = emulated::check_fill(to, room, bytes)) return status;
  memset(to, value, bytes);
  return 0;
}
API int aclrtMemsetAsync(void *to, size_t room, int value, size_t bytes, void *stream) {
  if (const int status = emulated::check_fill(to, room, bytes)) return status;
  return emulated::submit(stream, [to, value, bytes] {
    memset(to, value, bytes);
    return 0;
  });
}
