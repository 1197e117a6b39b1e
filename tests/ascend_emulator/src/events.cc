// Events: a ticket of a stream. In a capture they order streams, and bring a stream that waits into the capture.
#include <time.h>

#include <atomic>
#include <string>

#include "argument.h"
#include "capture.h"
#include "guard.h"
#include "status.h"
#include "stream.h"
#include "trace.h"

namespace emulated {
namespace {

double now_ms() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

}  // namespace

struct Event {
  std::mutex mutex;
  Stream *stream = nullptr;  // nullptr: never recorded, or the work was done when it was
  uint64_t ticket = 0;
  Capture *capture = nullptr;
  std::atomic<double> time_ms{0};
};

namespace {

std::pair<Stream *, uint64_t> place_of(Event *event) {
  std::lock_guard<std::mutex> lock(event->mutex);
  return {event->stream, event->ticket};
}

}  // namespace
}  // namespace emulated

using emulated::Event;
using emulated::Stream;

API int aclrtCreateEvent(Event **event) {
  *event = new Event;
  return 0;
}
API int aclrtCreateEventWithFlag(Event **event, uint32_t) { return aclrtCreateEvent(event); }
API int aclrtCreateEventExWithFlag(Event **event, uint32_t) { return aclrtCreateEvent(event); }
// Queued work may still set its time: the few bytes are kept.
API int aclrtDestroyEvent(Event *) { return 0; }

API int aclrtRecordEvent(Event *event, void *handle) {
  Stream *stream = emulated::resolve(handle);
  std::lock_guard<std::mutex> lock(event->mutex);
  event->capture = stream->capture;
  event->time_ms = emulated::now_ms();
  event->stream = nullptr;
  if (stream->capture || !emulated::is_late()) return 0;
  event->stream = stream;
  event->ticket = emulated::enqueue(stream, [event] {
    event->time_ms = emulated::now_ms();
    return 0;
  });
  return 0;
}

API int aclrtStreamWaitEvent(void *handle, Event *event) {
  Stream *stream = emulated::resolve(handle);
  if (event->capture) {
    if (!stream->capture) emulated::join(event->capture, handle);
    return 0;  // a capture is replayed in the order of its launches
  }
  const auto place = emulated::place_of(event);
  if (!place.first || stream->capture) return 0;
  emulated::enqueue(stream, [place] {
    emulated::wait_for(place.first, place.second);
    return 0;
  });
  return 0;
}

API int aclrtResetEvent(Event *event, void *) {
  std::lock_guard<std::mutex> lock(event->mutex);
  event->stream = nullptr;
  return 0;
}

API int aclrtQueryEventStatus(Event *event, int *status) {
  const auto place = emulated::place_of(event);
  *status = !place.first || emulated::is_done(place.first, place.second);  // 1: complete
  return 0;
}

API int aclrtSynchronizeEvent(Event *event) {
  emulated::count("synchronize event");
  if (emulated::is_tracing()) emulated::trace("\"event\": \"synchronize\", \"of\": \"event\"");
  if (event->capture && emulated::is_active(event->capture))
    return emulated::fail(emulated::kNotWhileCapturing, "synchronisation of an event that was recorded in a capture");
  const auto place = emulated::place_of(event);
  if (place.first) emulated::wait_for(place.first, place.second);
  emulated::guard::host_has_waited();
  if (!place.first) return 0;
  return emulated::take_failure(place.first);
}

API int aclrtEventElapsedTime(float *ms, Event *start, Event *end) {
  *ms = static_cast<float>(end->time_ms - start->time_ms);
  return 0;
}
API int aclrtEventGetTimestamp(Event *event, uint64_t *us) {
  *us = static_cast<uint64_t>(event->time_ms * 1000);
  return 0;
}
