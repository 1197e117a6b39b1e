// Small functions of CANN's other libraries: the "secure" C functions, reports, profiling, logging.
#include <time.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "argument.h"
#include "status.h"

API int memcpy_s(void *to, size_t room, const void *from, size_t bytes) {
  if (bytes > room) return 1;
  memcpy(to, from, bytes);
  return 0;
}
API int memset_s(void *to, size_t room, int value, size_t bytes) {
  if (bytes > room) return 1;
  memset(to, value, bytes);
  return 0;
}
API int strcpy_s(char *to, size_t room, const char *from) {
  if (strlen(from) >= room) return 1;
  strcpy(to, from);
  return 0;
}
API int vsnprintf_s(char *to, size_t room, size_t, const char *format, va_list values) {
  return vsnprintf(to, room, format, values);
}
API int snprintf_s(char *to, size_t room, size_t, const char *format, ...) {
  va_list values;
  va_start(values, format);
  const int length = vsnprintf(to, room, format, values);
  va_end(values);
  return length;
}

API int aclrtSubscribeReport(uint64_t, void *) { return 0; }
API int aclrtUnSubscribeReport(uint64_t, void *) { return 0; }
// Callbacks are run by the stream itself, so there is never anything to report.
API int aclrtProcessReport(int timeout_ms) {
  usleep((timeout_ms > 0 && timeout_ms < 1000 ? timeout_ms : 100) * 1000);
  return emulated::kReportTimeout;
}
API int aclrtMemGetAllocationGranularity(void *, int, size_t *bytes) {
  *bytes = 2 << 20;
  return 0;
}
API int aclrtReserveMemAddress(void **, size_t, size_t, void *, uint64_t) {
  return emulated::fail(emulated::kInvalidParameter, "virtual memory of the card is not emulated: set "
                                                     "MS_ALLOC_CONF=enable_vmm:False");
}
API void *aclrtAllocatorCreateDesc() {
  static int description;
  return &description;
}
API uint64_t MsprofGetHashId(const char *, size_t) { return 1; }
API uint64_t MsprofSysCycleTime() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + now.tv_nsec / 1000;
}
API int mmGetTid() { return static_cast<int>(gettid()); }
__attribute__((visibility("default"))) int CheckLogLevel(int, int) { return 0; }
__attribute__((visibility("default"))) void DlogFlush() {}

namespace Adx {
struct DumpChunk;
struct __attribute__((visibility("default"))) AdxDumpProcess {
  int MessageCallbackRegister(int (*)(const DumpChunk *, int));
  void MessageCallbackUnRegister();
};
int AdxDumpProcess::MessageCallbackRegister(int (*)(const DumpChunk *, int)) { return 0; }
void AdxDumpProcess::MessageCallbackUnRegister() {}
}  // namespace Adx
