// Between Begin and End the work of a stream is recorded, with copies of its arguments and the addresses of its tensors,
// and not run. ExecuteAsync runs the record. CANN refuses legacy operators and waiting on a captured stream.
#include "capture.h"

#include <mutex>
#include <vector>

#include "argument.h"
#include "status.h"
#include "trace.h"

namespace emulated {

struct Capture {
  void *stream;
  std::vector<void *> joined;
  std::vector<Task> tasks;
  std::mutex mutex;
  bool is_active = true;
};

namespace {

void note(const char *what, size_t launches) {
  count(std::string("capture ") + what);
  if (is_tracing())
    trace(std::string("\"event\": \"capture\", \"what\": \"") + what + "\", \"launches\": " + std::to_string(launches));
}

}  // namespace

void record(Capture *capture, Task task) {
  std::lock_guard<std::mutex> lock(capture->mutex);
  capture->tasks.push_back(std::move(task));
}

void join(Capture *capture, void *stream) {
  capture->joined.push_back(stream);
  set_capture(stream, capture);
}

bool is_active(Capture *capture) { return capture->is_active; }

}  // namespace emulated

using emulated::Capture;
using emulated::fail;

API int aclmdlRICaptureBegin(void *stream, int) {
  if (emulated::capture_of(stream)) return fail(emulated::kStreamCaptured, "the stream is being captured already");
  auto *capture = new Capture;
  capture->stream = stream;
  emulated::set_capture(stream, capture);
  emulated::note("begin", 0);
  return 0;
}

API int aclmdlRICaptureGetInfo(void *stream, int *status, Capture **capture) {
  Capture *found = emulated::capture_of(stream);
  *status = found ? 1 : 0;
  if (capture) *capture = found;
  return 0;
}

API int aclmdlRICaptureEnd(void *stream, Capture **capture) {
  Capture *found = emulated::capture_of(stream);
  if (!found || found->stream != stream)
    return fail(emulated::kStreamNotCaptured, "end of a capture that did not begin on this stream");
  for (void *other : found->joined) emulated::set_capture(other, nullptr);
  emulated::set_capture(stream, nullptr);
  found->is_active = false;
  *capture = found;
  emulated::note("end", found->tasks.size());
  return 0;
}

API int aclmdlRIExecuteAsync(Capture *capture, void *stream) {
  if (emulated::capture_of(stream))
    return fail(emulated::kStreamCaptured, "execution of a model on a stream that is being captured");
  if (capture->is_active) return fail(emulated::kRuntimeInvalidParameter, "execution of a capture that has not ended");
  emulated::note("execute", capture->tasks.size());
  return emulated::submit(stream, [capture] {
    for (auto &task : capture->tasks)
      if (const int status = task()) return status;
    return 0;
  });
}

// Waits first, as queued executions use it. Events may still name the capture: what they look at stays.
API int aclmdlRIDestroy(Capture *capture) {
  emulated::note("destroy", capture->tasks.size());
  const int status = emulated::is_late() ? emulated::synchronize_all() : 0;
  capture->tasks.clear();
  return status;
}
