// Streams and events. Work runs at once or, with EMULATED_LATE=1, as late as allowed.
#pragma once
#include <functional>
#include <string>

namespace emulated {

using Task = std::function<int()>;  // returns a status
struct Capture;

// Whether work on the stream is kept for later (queued or captured), so that it must own its arguments.
bool is_deferred(void *stream);
// Runs the task, queues it, or records it in the capture that the stream belongs to.
int submit(void *stream, Task task);
// Waits until all work of the stream, or of every stream, is done; the first failure of that work is returned.
int synchronize(void *stream);
int synchronize_all();
// Work queued on all streams.
long num_queued();

// The capture that the stream belongs to, or nullptr.
Capture *capture_of(void *stream);
void set_capture(void *stream, Capture *capture);
// Fails if any stream is being captured.
int refuse_while_capturing(const char *what);

}  // namespace emulated
