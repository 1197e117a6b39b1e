#include "launch.h"

#include <sys/uio.h>
#include <unistd.h>

#include <cctype>
#include <cstring>

#include "guard.h"
#include "poison.h"
#include "python.h"
#include "status.h"
#include "streams.h"
#include "trace.h"

namespace emulated {
namespace {

void *own(Launch &launch, const void *data, size_t bytes) {
  auto *start = static_cast<const char *>(data);
  launch.owned.emplace_back(start, start + bytes);
  launch.owned.back().resize(bytes + 8);  // an empty array has an address too
  return launch.owned.back().data();
}

// A word may be the address of a string (a layout), which need not live as long as the launch.
void own_string(Launch &launch, Argument &argument) {
  char text[64];
  iovec here{text, sizeof text}, there{reinterpret_cast<void *>(argument.integer), sizeof text};
  if (argument.integer < 0x10000 || process_vm_readv(getpid(), &here, 1, &there, 1, 0) != sizeof text) return;
  if (isalpha(static_cast<unsigned char>(text[0]))) argument.integer = reinterpret_cast<int64_t>(own(launch, text, 64));
}

void own_argument(Launch &launch, Argument &argument) {
  if (argument.name) argument.name = static_cast<char *>(own(launch, argument.name, strlen(argument.name) + 1));
  switch (argument.tag) {
    case kScalar: argument.data = own(launch, argument.data, 16); break;
    case kInts:
    case kNumbersInt: argument.data = own(launch, argument.data, argument.size * 8); break;
    case kFloats:
    case kNumbersReal: argument.data = own(launch, argument.data, argument.size * 4); break;
    case kBools: argument.data = own(launch, argument.data, argument.size); break;
    case kString: argument.data = own(launch, argument.data, strlen(static_cast<char *>(argument.data)) + 1); break;
    case kTensors:
    case kScalars: {
      auto *items = static_cast<Argument *>(own(launch, argument.items, argument.num_items * sizeof(Argument)));
      for (int64_t i = 0; i < argument.num_items; i++) own_argument(launch, items[i]);
      argument.items = items;
      break;
    }
    case kWord: own_string(launch, argument); break;
    default: break;
  }
}

int check_memory(const Launch &launch) {
  std::string what = guard::fault_of(launch.arguments.data(), static_cast<int>(launch.arguments.size()));
  if (what.empty() && launch.workspace_bytes && !launch.is_captured) {
    what = guard::fault(launch.workspace, launch.workspace_bytes);
    if (!what.empty()) what = "workspace of " + std::to_string(launch.workspace_bytes) + " bytes: " + what;
  }
  return what.empty() ? 0 : fail(kInnerError, launch.name + ": " + what);
}

int run(Launch &launch, Phase phase) {
  if (launch.workspace_bytes && !launch.is_captured) poison(launch.workspace, launch.workspace_bytes);  // it is the operator's to overwrite
  auto arguments = launch.arguments;  // a record is run more than once
  const int status = call_python(phase, launch.kind, launch.name.c_str(), arguments.data(),
                                 static_cast<int>(arguments.size()), launch.reals);
  for (size_t i = 0; i < launch.objects.size(); i++)
    if (launch.objects[i] && arguments[i].tag == kTensor) {
      memcpy(launch.objects[i]->argument.dims, arguments[i].dims, sizeof arguments[i].dims);
    }
  return status;
}

}  // namespace

Launch::~Launch() {
  for (Object *object : objects) release(object);
}

int launch(std::unique_ptr<Launch> made, void *stream) {
  if (const int status = check_memory(*made)) return status;
  for (auto &constant : made->constants) made->arguments[constant.first].data = constant.second.data();
  count(std::string(made->kind) + " " + made->name);
  const int num_arguments = static_cast<int>(made->arguments.size());
  if (is_tracing())
    call_python(kNote, made->kind, made->name.c_str(), made->arguments.data(), num_arguments, made->reals);
  if (!is_deferred(stream)) return run(*made, kRun);
  // Refused now, as CANN does, and not when it runs; an aclnn operator has been checked already.
  if (strcmp(made->kind, "aclnn") != 0)
    if (const int status = call_python(kCheck, made->kind, made->name.c_str(), made->arguments.data(), num_arguments,
                                       made->reals))
      return status;
  std::shared_ptr<Launch> kept = std::move(made);
  for (Argument &argument : kept->arguments) own_argument(*kept, argument);
  if (!capture_of(stream)) return submit(stream, [kept] { return run(*kept, kRun); });
  kept->is_captured = true;  // its workspace too has been given back by the time of a replay
  guard::keep_captured(kept->arguments.data(), num_arguments);
  return submit(stream, [kept] {
    count("replayed " + std::string(kept->kind) + " " + kept->name);
    const int status = check_memory(*kept);
    return status ? status : run(*kept, kReplay);
  });
}

}  // namespace emulated

// Internal kernels come from libemulated_kernels.so.
API int emulated_launch_kernel(const char *name, const emulated::Argument *arguments, int count, void *stream) {
  auto made = std::make_unique<emulated::Launch>();
  made->kind = "internal";
  made->name = name;
  made->arguments.assign(arguments, arguments + count);
  return emulated::launch(std::move(made), stream);
}
