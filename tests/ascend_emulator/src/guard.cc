#include "guard.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <mutex>

#include "poison.h"
#include "status.h"
#include "streams.h"

namespace emulated {
namespace guard {
namespace {

using Address = uintptr_t;
struct Region {
  size_t bytes = 0;
  bool has_pool = false;
};
using Ranges = std::map<Address, size_t>;
struct Maps {
  std::map<Address, Region> regions;
  Ranges blocks;      // live
  Ranges freed;       // blocks and regions, until the addresses are used again
  Ranges captured;  // tensors of captured launches
  Ranges just_freed;  // blocks, since the host waited, whether or not the addresses are used again
};

std::mutex mutex;

Maps &maps() {
  static auto *all = new Maps;
  return *all;
}

// The entry with the largest start that is not behind the address.
template <class Map>
typename Map::iterator before(Map &map, Address address) {
  auto next = map.upper_bound(address);
  return next == map.begin() ? map.end() : std::prev(next);
}

size_t size_of(size_t bytes) { return bytes; }
size_t size_of(const Region &region) { return region.bytes; }

template <class Map>
bool covers(Map &map, typename Map::iterator found, Address address) {
  return found != map.end() && address - found->first < size_of(found->second);
}

// Forgets what overlaps the range, as its addresses are used anew.
void erase_overlapping(Ranges &map, Address start, size_t bytes) {
  auto entry = before(map, start);
  if (entry == map.end() || entry->first + entry->second <= start) entry = map.upper_bound(start);
  while (entry != map.end() && entry->first < start + bytes) entry = map.erase(entry);
}

void forget_block(Ranges::iterator block) {
  maps().freed[block->first] = block->second;
  size_t &bytes = maps().just_freed[block->first];
  bytes = std::max(bytes, block->second);
  maps().blocks.erase(block);
}

// Whether one of the ranges, which may overlap, holds all the bytes.
bool holds(Ranges &ranges, Address address, size_t bytes) {
  for (auto next = ranges.upper_bound(address); next != ranges.begin();) {
    --next;
    if (address + bytes <= next->first + next->second) return true;
  }
  return false;
}

}  // namespace

void add_region(void *start, size_t bytes) {
  const auto address = reinterpret_cast<Address>(start);
  std::lock_guard<std::mutex> lock(mutex);
  erase_overlapping(maps().freed, address, bytes);
  maps().regions[address] = {bytes, false};
}

bool remove_region(void *start, size_t *bytes) {
  const auto address = reinterpret_cast<Address>(start);
  std::lock_guard<std::mutex> lock(mutex);
  auto found = maps().regions.find(address);
  if (found == maps().regions.end()) return false;
  *bytes = found->second.bytes;
  for (Ranges *ranges : {&maps().blocks, &maps().freed, &maps().just_freed, &maps().captured})
    erase_overlapping(*ranges, address, *bytes);
  maps().freed[address] = *bytes;
  maps().regions.erase(found);
  return true;
}

void add_block(void *start, size_t bytes) {
  const auto address = reinterpret_cast<Address>(start);
  std::lock_guard<std::mutex> lock(mutex);
  auto region = before(maps().regions, address);
  if (!covers(maps().regions, region, address)) return;
  region->second.has_pool = true;
  erase_overlapping(maps().blocks, address, bytes);
  erase_overlapping(maps().freed, address, bytes);
  maps().blocks[address] = bytes;
}

void remove_block(void *start) {
  std::lock_guard<std::mutex> lock(mutex);
  auto found = maps().blocks.find(reinterpret_cast<Address>(start));
  if (found != maps().blocks.end()) forget_block(found);
}

void split_blocks(const std::vector<void *> &freed, const std::vector<void *> &kept,
                  const std::vector<size_t> &kept_bytes) {
  for (void *start : freed) remove_block(start);
  for (size_t i = 0; i < kept.size(); i++) add_block(kept[i], kept_bytes[i]);
}

void host_has_waited() {
  if (num_queued() > 0) return;  // on other streams
  std::lock_guard<std::mutex> lock(mutex);
  for (auto &range : maps().just_freed) {
    auto found = maps().freed.find(range.first);
    if (found == maps().freed.end()) continue;
    const auto captured = maps().captured.lower_bound(found->first);
    if (captured == maps().captured.end() || captured->first >= found->first + found->second) 
      poison(reinterpret_cast<void *>(found->first), found->second);
  }
  maps().just_freed.clear();
}

std::string fault(const void *start, size_t bytes) {
  const auto address = reinterpret_cast<Address>(start);
  const auto past_end = [&](Address first, size_t size, const char *what) {
    return address + bytes <= first + size ? std::string()
                                           : std::to_string(bytes) + " bytes from byte " +
                                                 std::to_string(address - first) + " cross the end of " + what + " of " +
                                                 std::to_string(size) + " bytes";
  };
  std::lock_guard<std::mutex> lock(mutex);
  auto region = before(maps().regions, address);
  const bool in_region = covers(maps().regions, region, address);
  if (in_region && !region->second.has_pool) return past_end(region->first, region->second.bytes, "an allocation");
  std::string what = in_region ? "outside of any allocation (in MindSpore's pool, in no block)"
                               : "outside of any allocation";
  auto block = before(maps().blocks, address), freed = before(maps().freed, address);
  if (in_region && covers(maps().blocks, block, address))
    what = past_end(block->first, block->second, "a block");
  else if (covers(maps().freed, freed, address))
    what = "use after free";
  if (what.empty() || holds(maps().just_freed, address, bytes) || holds(maps().captured, address, bytes)) return "";
  return what;
}

namespace {

struct Extent {
  char *start = nullptr;
  size_t bytes = 0;
};

// From the first to the last element; nothing for a tensor without elements or memory.
Extent extent_of(const Argument &tensor) {
  int64_t first = tensor.offset, last = tensor.offset;
  for (int i = 0; i < tensor.ndim; i++) {
    if (tensor.dims[i] == 0) return {};
    (tensor.strides[i] < 0 ? first : last) += (tensor.dims[i] - 1) * tensor.strides[i];
  }
  if (!tensor.data) return {};  // the operator says whether it may be missing
  const auto bytes = static_cast<int64_t>(bytes_of(tensor.dtype));
  return {static_cast<char *>(tensor.data) + first * bytes, static_cast<size_t>((last - first + 1) * bytes)};
}

std::string fault_of_tensor(const Argument &tensor) {
  const Extent extent = extent_of(tensor);
  const std::string what = extent.bytes ? fault(extent.start, extent.bytes) : "";
  if (what.empty()) return "";
  std::string shape;
  for (int i = 0; i < tensor.ndim; i++) shape += (i ? ", " : "") + std::to_string(tensor.dims[i]);
  char address[32];
  snprintf(address, sizeof address, "%p", tensor.data);
  return "shape (" + shape + ") at " + address + ": " + what;
}

}  // namespace

std::string fault_of(const Argument *arguments, int count) {
  for (int i = 0; i < count; i++) {
    const Argument &argument = arguments[i];
    if (argument.tag == kTensor) {
      const std::string what = fault_of_tensor(argument);
      if (!what.empty()) return "argument " + std::to_string(i) + ", " + what;
    }
    for (int64_t k = 0; argument.tag == kTensors && k < argument.num_items; k++) {
      const std::string what = fault_of_tensor(argument.items[k]);
      if (!what.empty()) return "argument " + std::to_string(i) + "[" + std::to_string(k) + "], " + what;
    }
  }
  return "";
}

void keep_captured(const Argument *arguments, int count) {
  for (int i = 0; i < count; i++) {
    const bool is_list = arguments[i].tag == kTensors;
    const int64_t tensors = is_list ? arguments[i].num_items : arguments[i].tag == kTensor;
    for (int64_t k = 0; k < tensors; k++) {
      const Argument &tensor = is_list ? arguments[i].items[k] : arguments[i];
      const Extent extent = extent_of(tensor);
      if (!extent.bytes) continue;
      std::lock_guard<std::mutex> lock(mutex);
      size_t &bytes = maps().captured[reinterpret_cast<Address>(extent.start)];
      bytes = std::max(bytes, extent.bytes);
    }
  }
}

}  // namespace guard
}  // namespace emulated
