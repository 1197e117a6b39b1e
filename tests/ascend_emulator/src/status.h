// CANN's statuses, the error message of a thread, and the settings that environment variables carry.
#pragma once
#include <string>

namespace emulated {

// acl_base.h and rt_error_codes.h, CANN 8.1.RC1
constexpr int kInvalidParameter = 100000;
constexpr int kRuntimeInvalidParameter = 107000;
constexpr int kInvalidDevice = 107001;
constexpr int kInvalidHandle = 107017;
constexpr int kStreamCaptured = 107027;
constexpr int kStreamNotCaptured = 107029;
constexpr int kNotWhileCapturing = 107030;
constexpr int kMemoryAllocation = 207001;
constexpr int kReportTimeout = 107012;
// opdev/op_errno.h
constexpr int kInnerError = 561000;

// Keeps the message for aclGetRecentErrMsg, prints it on stderr, returns the status.
int fail(int status, const std::string &message);
// Keeps a message that another thread has printed already.
int repeat_failure(int status, const std::string &message);
// The message of the last failure in this thread.
const std::string &last_message();

// An environment variable as it was when the process began; "", or `otherwise`, where it was not set.
std::string setting(const char *name);
int setting(const char *name, int otherwise);
const char *soc_name();      // EMULATED_SOC, with the prefix Ascend
int num_cards();             // EMULATED_CARDS
size_t memory_bytes();       // EMULATED_MEMORY_GB of one card
bool is_late();              // EMULATED_LATE: work runs as late as allowed
int late_ms();               // but not for ever, since MindSpore polls events: after 200 ms (1), or as many as are given
bool is_poisoning();         // EMULATED_POISON

}  // namespace emulated
