#include "status.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "argument.h"

extern char **environ;

namespace emulated {
namespace {

thread_local std::string message_of_thread;

// The environment that the process began with. getenv may find nothing while another thread calls setenv.
const std::map<std::string, std::string> &environment() {
  static const auto *all = [] {
    auto *variables = new std::map<std::string, std::string>;
    for (char **entry = environ; entry && *entry; entry++)
      if (const char *equals = strchr(*entry, '=')) variables->emplace(std::string(*entry, equals - *entry), equals + 1);
    return variables;
  }();
  return *all;
}

__attribute__((constructor)) void read_environment() { environment(); }

}  // namespace

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

std::string setting(const char *name) {
  const auto found = environment().find(name);
  return found == environment().end() ? "" : found->second;
}

int setting(const char *name, int otherwise) {
  const std::string value = setting(name);
  return value.empty() ? otherwise : atoi(value.c_str());
}

const char *soc_name() {
  static const std::string name = [] {
    const std::string value = setting("EMULATED_SOC");
    const std::string soc = value.empty() ? "Ascend910B2" : value;
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

int late_ms() {
  static const int given = setting("EMULATED_LATE", 0);
  return given == 1 ? 200 : given;
}

bool is_late() { return late_ms() != 0; }

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
