// Counts of what was done, and a line of JSON for each event if EMULATED_TRACE names a file.
#pragma once
#include <cstdint>
#include <string>

namespace emulated {

// Adds one to a count such as "aclnn aclnnAdd", "copy host to device", "synchronize stream".
void count(const std::string &what, int64_t bytes = 0);
bool is_tracing();
// Writes a line; fields are the inside of a JSON object.
void trace(const std::string &fields);
std::string quoted(const std::string &text);

}  // namespace emulated
