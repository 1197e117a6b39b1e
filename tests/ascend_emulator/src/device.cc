// The card and its contexts: how many there are, which one a thread uses, what it is called.
#include <cstdint>
#include <cstdio>
#include <string>

#include <atomic>

#include "argument.h"
#include "python.h"
#include "status.h"
#include "streams.h"

namespace emulated {
namespace {

// A context is a number that says its card.
constexpr intptr_t kFirstContext = 0x1000;
thread_local void *context;
std::atomic<int> last_card{0};

void *context_of(int card) { return reinterpret_cast<void *>(kFirstContext + card); }
int card_of(void *some_context) { return static_cast<int>(reinterpret_cast<intptr_t>(some_context) - kFirstContext); }

int check_card(int card, const char *what) {
  if (card >= 0 && card < num_cards()) return 0;
  return fail(kInvalidDevice, std::string(what) + ": card " + std::to_string(card) + ", there are " +
                                  std::to_string(num_cards()) + " (EMULATED_CARDS)");
}

}  // namespace
}  // namespace emulated

using namespace emulated;

API int aclInit(const char *) {
  has_python();  // a broken Python half shows before the first operator
  return 0;
}
API int aclFinalize() { return synchronize_all(); }
API const char *aclrtGetSocName() { return soc_name(); }
API int rtGetSocVersion(char *name, uint32_t room) {
  snprintf(name, room, "%s", soc_name());
  return 0;
}
API int aclrtGetDeviceCount(uint32_t *cards) {
  *cards = static_cast<uint32_t>(num_cards());
  return 0;
}
API int aclrtSetDevice(int card) {
  if (const int status = check_card(card, "aclrtSetDevice")) return status;
  last_card = card;
  context = context_of(card);
  return 0;
}
API int aclrtResetDevice(int) { return synchronize_all(); }
API int aclrtGetDevice(int *card) {
  *card = context ? card_of(context) : last_card.load();
  return 0;
}
API int aclrtCreateContext(void **made, int card) {
  if (const int status = check_card(card, "aclrtCreateContext")) return status;
  *made = context = context_of(card);
  return 0;
}
API int aclrtDestroyContext(void *) { return 0; }
API int aclrtGetCurrentContext(void **current) {
  if (!context) context = context_of(last_card);
  *current = context;
  return 0;
}
API int aclrtSetCurrentContext(void *current) {
  context = current;
  return 0;
}
API int aclrtGetRunMode(int *mode) {
  *mode = 1;  // ACL_HOST
  return 0;
}
API int aclrtGetLastError(int) { return 0; }
API int aclrtPeekAtLastError(int) { return 0; }
