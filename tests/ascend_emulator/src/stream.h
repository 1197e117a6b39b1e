// The inside of a stream, for streams.cc and events.cc.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>

#include "streams.h"

namespace emulated {

struct Queued {
  Task task;
  std::chrono::steady_clock::time_point due;
};

// Tickets count the work submitted to a stream, from 1.
struct Stream {
  int id = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Queued> queue;
  uint64_t num_submitted = 0, num_done = 0, num_demanded = 0;
  bool has_worker = false, is_destroyed = false;
  int status = 0;  // first failure that nobody was told of
  std::string message;
  Capture *capture = nullptr;
};

Stream *resolve(void *handle);  // nullptr is the default stream
Stream *make_stream();
uint64_t enqueue(Stream *stream, Task task);
uint64_t last_ticket(Stream *stream);
bool is_done(Stream *stream, uint64_t ticket);
void wait_for(Stream *stream, uint64_t ticket);
int take_failure(Stream *stream);

}  // namespace emulated
