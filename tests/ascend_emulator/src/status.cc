#include "status.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "argument.h"

namespace emulated {
namespace {
thread_local std::string message_of_thread;
}

int fail(int status, const std::string &message) {
  message_of_thread = message;
  fprintf(stderr, "[emulated Ascend] %d: %s\n", status, message.c_str());
  return status;
}

int repeat_failure(int status, const std::string &message) {
  message_of_thread = message;
  return status;
}

const std::string &last_message() { return message_of_thread; }

int setting(const char *name, int otherwise) {
  const char *value = getenv(name);
  return value && *value ? atoi(value) : otherwise;
}

const char *soc_name() {
  static const std::string name = [] {
    const char *value = getenv("EMULATED_SOC");
    std::string soc = value && *value ? value : "Ascend910B2";
    return soc.compare(0, 6, "Ascend") == 0 ? soc : "Ascend" + soc;
  }();
  return name.c_str();
}

int num_cards() {
  static const int cards = setting("EMULATED_CARDS", 8);
  return cards;
}

size_t memory_bytes() {
  static const size_t bytes = [] {
    const int by_soc = strncmp(soc_name(), "Ascend910B4", 11) == 0 && strcmp(soc_name(), "Ascend910B4-1") != 0 ? 32 : 64;
    return static_cast<size_t>(setting("EMULATED_MEMORY_GB", by_soc)) << 30;
  }();
  return bytes;
}

bool is_late() {
  static const bool late = setting("EMULATED_LATE", 0) != 0;
  return late;
}

bool is_poisoning() {
  static const bool poisoning = setting("EMULATED_POISON", 1) != 0;
  return poisoning;
}

}  // namespace emulated

// CANN hands a message out once.
API const char *aclGetRecentErrMsg() {
  thread_local std::string handed_out;
  handed_out.swap(emulated::message_of_thread);
  emulated::message_of_thread.clear();
  return handed_out.c_str();
}
