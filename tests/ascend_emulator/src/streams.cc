// A stream has a queue and a thread of its own, which runs work when somebody waits for it, or after late_ms().
#include "streams.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "argument.h"
#include "capture.h"
#include "guard.h"
#include "python.h"
#include "status.h"
#include "stream.h"
#include "trace.h"

namespace emulated {
namespace {

std::mutex streams_mutex;
std::atomic<long> queued{0};
std::atomic<int> num_capturing{0};

std::set<Stream *> &streams() {
  static auto *all = new std::set<Stream *>;
  return *all;
}

void run_queue(Stream *stream) {
  std::unique_lock<std::mutex> lock(stream->mutex);
  while (true) {
    if (stream->queue.empty()) {
      if (stream->is_destroyed) return;
      stream->changed.wait(lock);
      continue;
    }
    if (stream->num_done >= stream->num_demanded && std::chrono::steady_clock::now() < stream->queue.front().due) {
      stream->changed.wait_until(lock, stream->queue.front().due);
      continue;
    }
    Task task = std::move(stream->queue.front().task);
    stream->queue.pop_front();
    lock.unlock();
    const int status = task();
    const std::string message = status ? last_message() : "";
    task = nullptr;  // its arguments are given up before anybody is told that it is done
    queued--;
    lock.lock();
    if (status && !stream->status) {
      stream->status = status;
      stream->message = message;
    }
    stream->num_done++;
    stream->changed.notify_all();
  }
}

}  // namespace

Stream *resolve(void *handle) {
  static auto *default_stream = make_stream();
  return handle ? static_cast<Stream *>(handle) : default_stream;
}

Stream *make_stream() {
  static std::atomic<int> next{0};
  auto *stream = new Stream;
  stream->id = next++;
  std::lock_guard<std::mutex> lock(streams_mutex);
  streams().insert(stream);
  return stream;
}

uint64_t enqueue(Stream *stream, Task task) {
  std::lock_guard<std::mutex> lock(stream->mutex);
  if (!stream->has_worker) std::thread(run_queue, stream).detach();
  stream->has_worker = true;
  queued++;
  stream->queue.push_back({std::move(task), std::chrono::steady_clock::now() + std::chrono::milliseconds(late_ms())});
  stream->changed.notify_all();
  return ++stream->num_submitted;
}

bool is_done(Stream *stream, uint64_t ticket) {
  std::lock_guard<std::mutex> lock(stream->mutex);
  return stream->num_done >= ticket;
}

void wait_for(Stream *stream, uint64_t ticket) {
  WithoutInterpreter without;
  std::unique_lock<std::mutex> lock(stream->mutex);
  if (stream->num_demanded < ticket) stream->num_demanded = ticket;
  stream->changed.notify_all();
  stream->changed.wait(lock, [&] { return stream->num_done >= ticket; });
}

uint64_t last_ticket(Stream *stream) {
  std::lock_guard<std::mutex> lock(stream->mutex);
  return stream->num_submitted;
}

int take_failure(Stream *stream) {
  std::lock_guard<std::mutex> lock(stream->mutex);
  const int status = stream->status;
  stream->status = 0;
  return status ? repeat_failure(status, stream->message) : 0;
}

long num_queued() { return queued; }

bool is_deferred(void *handle) { return is_late() || resolve(handle)->capture; }

int submit(void *handle, Task task) {
  Stream *stream = resolve(handle);
  if (Capture *capture = stream->capture) {
    record(capture, std::move(task));
    return 0;
  }
  if (!is_late()) return task();
  enqueue(stream, std::move(task));
  return 0;
}

int synchronize(void *handle) {
  Stream *stream = resolve(handle);
  if (stream->capture) return fail(kStreamCaptured, "synchronisation of a stream that is being captured");
  if (is_late()) wait_for(stream, last_ticket(stream));
  guard::host_has_waited();
  return take_failure(stream);
}

int synchronize_all() {
  std::set<Stream *> all;
  {
    std::lock_guard<std::mutex> lock(streams_mutex);
    all = streams();
  }
  int status = 0;
  for (Stream *stream : all)
    if (const int failed = synchronize(stream)) status = failed;
  return status;
}

Capture *capture_of(void *handle) { return resolve(handle)->capture; }

void set_capture(void *handle, Capture *capture) {
  Stream *stream = resolve(handle);
  num_capturing += (capture != nullptr) - (stream->capture != nullptr);
  stream->capture = capture;
}

int refuse_while_capturing(const char *what) {
  return num_capturing ? fail(kNotWhileCapturing, std::string(what) + " while a stream is being captured") : 0;
}

}  // namespace emulated

using emulated::Stream;

API int aclrtCreateStream(Stream **stream) {
  *stream = emulated::make_stream();
  return 0;
}
API int aclrtCreateStreamWithConfig(Stream **stream, uint32_t, uint32_t) { return aclrtCreateStream(stream); }
// The object stays, as its thread and events may still look at it.
API int aclrtDestroyStream(Stream *stream) {
  const int status = emulated::synchronize(stream);
  std::lock_guard<std::mutex> all_lock(emulated::streams_mutex);
  emulated::streams().erase(stream);
  std::lock_guard<std::mutex> lock(stream->mutex);
  stream->is_destroyed = true;
  stream->changed.notify_all();
  return status;
}
API int aclrtDestroyStreamForce(Stream *stream) { return aclrtDestroyStream(stream); }
API int aclrtStreamQuery(Stream *handle, int *status) {
  Stream *stream = emulated::resolve(handle);
  *status = emulated::is_done(stream, emulated::last_ticket(stream)) ? 0 : 1;
  return 0;
}
API int aclrtStreamGetId(Stream *handle, int *id) {
  *id = emulated::resolve(handle)->id;
  return 0;
}
API int aclrtSynchronizeStream(void *stream) {
  emulated::count("synchronize stream");
  if (emulated::is_tracing()) emulated::trace("\"event\": \"synchronize\", \"of\": \"stream\"");
  return emulated::synchronize(stream);
}
API int aclrtSynchronizeStreamWithTimeout(void *stream, int) { return aclrtSynchronizeStream(stream); }
API int aclrtSynchronizeDevice() {
  emulated::count("synchronize device");
  if (emulated::is_tracing()) emulated::trace("\"event\": \"synchronize\", \"of\": \"device\"");
  return emulated::synchronize_all();
}
API int aclrtSynchronizeDeviceWithTimeout(int) { return aclrtSynchronizeDevice(); }
API int aclrtSetStreamFailureMode(void *, uint64_t) { return 0; }
API int aclrtLaunchCallback(void (*function)(void *), void *data, int, void *stream) {
  return emulated::submit(stream, [function, data] {
    function(data);
    return 0;
  });
}
API int aclrtLaunchHostFunc(void *stream, void (*function)(void *), void *data) {
  return aclrtLaunchCallback(function, data, 0, stream);
}
