// Where the functions end that MindSpore looks up and the emulator has nothing for (stubs.s): they answer 0.
#include <string>

#include "argument.h"
#include "trace.h"

API long emulated_stub(const char *name) {
  emulated::count(std::string("stub ") + name);
  if (emulated::is_tracing()) emulated::trace("\"event\": \"stub\", \"name\": " + emulated::quoted(name));
  return 0;
}
