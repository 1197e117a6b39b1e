#include "python.h"

#include <dlfcn.h>

#include <mutex>
#include <string>
#include <unordered_map>

#include "status.h"

namespace emulated {
namespace {

using NumWords = int (*)(const char *name);
using Call = int (*)(int phase, const char *kind, const char *name, Argument *arguments, int count, const double *reals,
                     char *message, int size);
NumWords num_words;
Call call;

// Python's C interface is looked up, as the emulator is also loaded into programs without an interpreter.
template <class F>
F python_function(const char *name) {
  return reinterpret_cast<F>(dlsym(RTLD_DEFAULT, name));
}

bool is_interpreter_running() {
  static auto is_initialized = python_function<int (*)()>("Py_IsInitialized");
  return is_initialized && is_initialized();
}

void import_bridge() {
  static auto ensure = python_function<int (*)()>("PyGILState_Ensure");
  static auto drop = python_function<void (*)(int)>("PyGILState_Release");
  static auto import = python_function<void *(*)(const char *)>("PyImport_ImportModule");
  static auto print = python_function<void (*)()>("PyErr_Print");
  const int state = ensure();
  if (!import("ascend_emulator.bridge")) print();  // its last line registers the callbacks
  drop(state);
}

}  // namespace

bool has_python() {
  if (!call && is_interpreter_running()) import_bridge();
  return call != nullptr;
}

int documented_words(const char *name) {
  static std::mutex mutex;
  static auto *known = new std::unordered_map<std::string, int>;
  {
    std::lock_guard<std::mutex> lock(mutex);
    auto found = known->find(name);
    if (found != known->end()) return found->second;
  }
  if (!has_python()) return -1;
  const int count = num_words(name);  // takes the interpreter's lock: not under ours
  if (count >= 0) {
    std::lock_guard<std::mutex> lock(mutex);
    (*known)[name] = count;
  }
  return count;
}

int call_python(Phase phase, const char *kind, const char *name, Argument *arguments, int count, const double *reals) {
  if (!has_python())
    return fail(kInnerError, std::string(name) + ": no operators: ascend_emulator is not on PYTHONPATH (use "
                                                 "launch/emulated.sh)");
  char message[8192] = "";
  const int status = call(phase, kind, name, arguments, count, reals, message, sizeof message);
  return status ? fail(status, message) : 0;
}

WithoutInterpreter::WithoutInterpreter() {
  static auto holds = python_function<int (*)()>("PyGILState_Check");
  static auto save = python_function<void *(*)()>("PyEval_SaveThread");
  if (holds && is_interpreter_running() && holds()) state_ = save();
}

WithoutInterpreter::~WithoutInterpreter() {
  static auto restore = python_function<void (*)(void *)>("PyEval_RestoreThread");
  if (state_) restore(state_);
}

}  // namespace emulated

API void emulated_register(emulated::NumWords words, emulated::Call function) {
  emulated::num_words = words;
  emulated::call = function;
}
