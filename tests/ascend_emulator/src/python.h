// Calls into the Python half, and the interpreter's lock.
#pragma once
#include "argument.h"

namespace emulated {

enum Phase { kCheck = 0, kRun = 1, kNote = 2, kReplay = 3 };

// Integer-class arguments that CANN's header has for an aclnn operator; -1 if the operator is not emulated.
int documented_words(const char *name);
// 0, or a status after fail().
int call_python(Phase phase, const char *kind, const char *name, Argument *arguments, int count, const double *reals);
// Imports the Python half if this process has an interpreter and it was not done yet.
bool has_python();

// Lets other threads have the interpreter while this one waits. A thread that waits for work of another one, which
// needs the interpreter, would wait for ever otherwise.
class WithoutInterpreter {
 public:
  WithoutInterpreter();
  ~WithoutInterpreter();
  WithoutInterpreter(const WithoutInterpreter &) = delete;

 private:
  void *state_ = nullptr;
};

}  // namespace emulated
