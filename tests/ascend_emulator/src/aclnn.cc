// The two entry points of every aclnn operator (entry_points.s) end here: aclnnXGetWorkspaceSize, which has another
// argument list for each operator, in emulated_prepare; aclnnX, which has one for all, in emulated_run.
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "launch.h"
#include "python.h"
#include "status.h"

namespace emulated {

struct Executor {
  std::string name;
  std::vector<int64_t> words;
  std::vector<Object *> objects;  // beside the words; nullptr for a word that is no object
  double reals[kReals];
  size_t workspace_bytes = 0;
  bool is_repeatable = false;

  ~Executor() {
    for (Object *object : objects) release(object);
  }
};

namespace {

// More words than any operator has.
constexpr int kMaxWords = 64;
// CANN's sizes are not known here. Some operators ask for some bytes, so that a caller who forgets them is found.
constexpr size_t kWorkspaceBytes = 4096;

size_t workspace_bytes_of(const std::string &name) {
  for (const char *part : {"Mat", "Mm", "Attention", "Sort", "Topk", "Cumsum", "Reduce", "Sum", "Softmax", "Moe", "Conv",
                           "Index", "Scatter"})
    if (name.find(part) != std::string::npos) return kWorkspaceBytes;
  return 0;
}

// The words of a call: six registers, then the stack.
struct Words {
  const int64_t *registers, *stack;
  int64_t operator[](int i) const { return i < 6 ? registers[i] : stack[i - 6]; }
};

// Whether the word is the address of eight bytes of zeros.
bool points_to_zero(int64_t word) {
  int64_t value = 1;
  iovec here{&value, sizeof value}, there{reinterpret_cast<void *>(word), sizeof value};
  if (word < 0x10000 || word % 8 || is_object(word)) return false;
  return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == sizeof value && value == 0;
}

// Every argument list ends with the addresses of the workspace's size and of the executor, which are 0 at the call.
bool ends_at(const Words &words, int place) {
  return words[place] != words[place + 1] && points_to_zero(words[place]) && points_to_zero(words[place + 1]);
}

std::vector<Argument> arguments_of(const Executor &executor) {
  std::vector<Argument> arguments(executor.words.size());
  for (size_t i = 0; i < arguments.size(); i++) {
    if (executor.objects[i]) {
      arguments[i] = argument_of(executor.objects[i]);
    } else {
      arguments[i].tag = kWord;
      arguments[i].integer = executor.words[i];
    }
  }
  return arguments;
}

int prepare(const char *name, const Words &words, const double *reals) {
  int num_words = documented_words(name);
  if (num_words < 0) return call_python(kCheck, "aclnn", name, nullptr, 0, reals);  // not emulated
  const bool as_documented = ends_at(words, num_words);
  for (int i = 0; i < kMaxWords && !as_documented; i++)
    if (ends_at(words, i)) {
      num_words = i;  // Python refuses it with both counts
      break;
    }
  auto executor = std::make_unique<Executor>();
  executor->name = name;
  memcpy(executor->reals, reals, sizeof executor->reals);
  for (int i = 0; i < num_words; i++) {
    executor->words.push_back(words[i]);
    executor->objects.push_back(is_object(words[i]) ? reinterpret_cast<Object *>(words[i]) : nullptr);
    if (executor->objects[i]) retain(executor->objects[i]);
  }
  auto arguments = arguments_of(*executor);
  if (const int status = call_python(kCheck, "aclnn", name, arguments.data(), num_words, reals)) return status;
  if (!as_documented)
    return fail(kInnerError, std::string(name) + ": no end of the arguments found after the " +
                                 std::to_string(num_words) + " of CANN's header");
  executor->workspace_bytes = workspace_bytes_of(name);
  *reinterpret_cast<uint64_t *>(words[num_words]) = executor->workspace_bytes;
  *reinterpret_cast<Executor **>(words[num_words + 1]) = executor.release();
  return 0;
}

int run(void *workspace, uint64_t workspace_bytes, Executor *executor, void *stream) {
  if (!executor) return fail(kInnerError, "aclnn: launch without an executor");
  auto made = std::make_unique<Launch>();
  made->kind = "aclnn";
  made->name = executor->name;
  made->arguments = arguments_of(*executor);
  memcpy(made->reals, executor->reals, sizeof made->reals);
  made->objects = executor->objects;
  for (Object *object : made->objects)
    if (object) retain(object);
  made->workspace = workspace;
  made->workspace_bytes = executor->workspace_bytes;
  const size_t needed = executor->workspace_bytes;
  if (!executor->is_repeatable) delete executor;
  if (workspace_bytes < needed)
    return fail(kInnerError, made->name + ": workspace of " + std::to_string(workspace_bytes) + " bytes given, " +
                                 std::to_string(needed) + " were asked for");
  return launch(std::move(made), stream);
}

}  // namespace
}  // namespace emulated

using emulated::Executor;
using emulated::Object;

API int emulated_prepare(const char *name, const int64_t *registers, const double *reals, const int64_t *stack) {
  return emulated::prepare(name, {registers, stack}, reals);
}
API int emulated_run(void *workspace, uint64_t workspace_bytes, Executor *executor, void *stream) {
  return emulated::run(workspace, workspace_bytes, executor, stream);
}
API int aclnnInit(const char *) { return 0; }
API int aclnnFinalize() { return 0; }
API int aclDestroyAclOpExecutor(Executor *executor) {
  delete executor;
  return 0;
}
API int aclSetAclOpExecutorRepeatable(Executor *executor) {
  executor->is_repeatable = true;
  return 0;
}
// The tensor keeps its shape and its offset.
API int aclSetTensorAddr(Executor *, size_t, Object *tensor, void *address) {
  if (tensor) tensor->argument.data = address;
  return 0;
}
API int aclSetDynamicTensorAddr(Executor *, size_t, size_t place, Object *list, void *address) {
  if (place >= list->items.size()) return emulated::fail(emulated::kInnerError, "aclSetDynamicTensorAddr: no such item");
  list->items[place]->argument.data = address;
  return 0;
}
API int InitHugeMemThreadLocal(void *, bool) { return 0; }
API void UnInitHugeMemThreadLocal(void *, bool) {}
API void ReleaseHugeMem(void *, bool) {}
