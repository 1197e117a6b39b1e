// Captured work of streams (aclmdlRI*).
#pragma once
#include "streams.h"

namespace emulated {

void record(Capture *capture, Task task);
// A stream that waits for an event of the capture belongs to it from then on.
void join(Capture *capture, void *stream);
bool is_active(Capture *capture);

}  // namespace emulated
