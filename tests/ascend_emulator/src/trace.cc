#include "trace.h"

#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "argument.h"
#include "status.h"

namespace emulated {
namespace {

struct Count {
  int64_t times = 0, bytes = 0;
};

std::mutex mutex;

std::map<std::string, Count> &counts() {
  static auto *all = new std::map<std::string, Count>;
  return *all;
}

void print_summary() {
  std::lock_guard<std::mutex> lock(mutex);
  if (counts().empty()) return;  // a process that did not use the card, such as msrun's own
  const std::string rank = setting("RANK_ID");
  std::string text = "[emulated Ascend] summary" + (rank.empty() ? "" : " of rank " + rank) + "\n";
  for (auto &entry : counts()) {
    char line[256];
    snprintf(line, sizeof line, "%12ld  %s", static_cast<long>(entry.second.times), entry.first.c_str());
    text += line;
    if (entry.second.bytes) text += ", " + std::to_string(entry.second.bytes) + " bytes";
    text += "\n";
  }
  fputs(text.c_str(), stderr);
}

// Several ranks write a file each.
FILE *open_file() {
  const std::string path = setting("EMULATED_TRACE"), rank = setting("RANK_ID");
  if (path.empty()) return nullptr;
  const std::string whole = path + (rank.empty() ? "" : ".rank" + rank);
  FILE *file = fopen(whole.c_str(), "a");
  if (!file) fprintf(stderr, "[emulated Ascend] EMULATED_TRACE: cannot write %s\n", whole.c_str());
  return file;
}

FILE *trace_file() {
  static FILE *file = open_file();
  return file;
}

double seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

void count(const std::string &what, int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  static bool first = true;
  if (first && setting("EMULATED_SUMMARY", 0)) atexit(print_summary);
  first = false;
  Count &entry = counts()[what];
  entry.times++;
  entry.bytes += bytes;
}

bool is_tracing() {
  static const bool is_asked_for = !setting("EMULATED_TRACE").empty();
  return is_asked_for;
}

void trace(const std::string &fields) {
  static std::mutex file_mutex;
  std::lock_guard<std::mutex> lock(file_mutex);
  FILE *file = trace_file();
  if (!file) return;
  fprintf(file, "{\"time_s\": %.6f, %s}\n", seconds(), fields.c_str());
  fflush(file);
}

std::string quoted(const std::string &text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += static_cast<unsigned char>(c) < 32 ? ' ' : c;
  }
  return result + "\"";
}

}  // namespace emulated

// For trace.py. The text is "name<TAB>times<TAB>bytes" lines; returns its length, which may be more than the buffer has.
API long emulated_counts(char *buffer, long size) {
  std::string text;
  {
    std::lock_guard<std::mutex> lock(emulated::mutex);
    for (auto &entry : emulated::counts())
      text += entry.first + "\t" + std::to_string(entry.second.times) + "\t" + std::to_string(entry.second.bytes) + "\n";
  }
  if (static_cast<long>(text.size()) < size) memcpy(buffer, text.c_str(), text.size() + 1);
  return static_cast<long>(text.size());
}
API void emulated_reset_counts() {
  std::lock_guard<std::mutex> lock(emulated::mutex);
  emulated::counts().clear();
}
API void emulated_trace(const char *fields) { emulated::trace(fields); }
