#include "poison.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "status.h"

namespace emulated {
namespace {

constexpr size_t kFile = 32 << 20;
constexpr size_t kPage = 4096;
constexpr size_t kLarge = 4 << 20;  // from here on pages are mapped anew, which gives the host its memory back
constexpr int kFlags = MAP_PRIVATE | MAP_NORESERVE;

void fill(void *start, size_t bytes) {
  auto *at = static_cast<char *>(start);
  static const auto *pattern = [] {
    auto *page = new uint16_t[kPage / 2];
    std::fill_n(page, kPage / 2, kPoison);
    return page;
  }();
  for (size_t done = 0; done < bytes; done += kPage) memcpy(at + done, pattern, std::min(kPage, bytes - done));
}

// A file in memory that is full of the pattern; private mappings of it share its pages until they are written.
int pattern_file() {
  static const int file = [] {
    const int descriptor = memfd_create("emulated_ascend_poison", MFD_CLOEXEC);
    if (descriptor < 0 || ftruncate(descriptor, kFile)) return -1;
    void *memory = mmap(nullptr, kFile, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED) return -1;
    fill(memory, kFile);
    munmap(memory, kFile);
    return descriptor;
  }();
  return file;
}

// The place in the file follows from the address, so that neighbouring mappings merge into one.
bool map_pattern(char *start, size_t bytes) {
  const int file = pattern_file();
  if (file < 0) return false;
  for (char *at = start, *end = start + bytes; at < end;) {
    const size_t offset = reinterpret_cast<uintptr_t>(at) % kFile;
    const size_t piece = std::min<size_t>(kFile - offset, end - at);
    if (mmap(at, piece, PROT_READ | PROT_WRITE, kFlags | MAP_FIXED, file, static_cast<off_t>(offset)) == MAP_FAILED)
      return false;
    at += piece;
  }
  return true;
}

}  // namespace

void poison(void *start, size_t bytes) {
  if (!is_poisoning()) return;
  auto *begin = static_cast<char *>(start);
  if (bytes >= kLarge) {
    const auto address = reinterpret_cast<uintptr_t>(start);
    const size_t before = (kPage - address % kPage) % kPage, whole = (bytes - before) / kPage * kPage;
    if (map_pattern(begin + before, whole)) {
      fill(begin, before);
      fill(begin + before + whole, bytes - before - whole);
      return;
    }
  }
  fill(begin, bytes);
}

void *map_poisoned(size_t bytes) {
  void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kFlags | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (is_poisoning()) map_pattern(static_cast<char *>(memory), bytes);
  return memory;
}

}  // namespace emulated
