// A launch of an operator, by whichever of the three ways it came: aclnn, aclop, internal kernel.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "argument.h"
#include "objects.h"

namespace emulated {

struct Launch {
  const char *kind = "";
  std::string name;
  std::vector<Argument> arguments;
  double reals[kReals] = {};
  // Beside the arguments, where they come from objects: shapes that the operator finds are written back to them.
  std::vector<Object *> objects;
  void *workspace = nullptr;
  size_t workspace_bytes = 0;
  bool is_captured = false;
  std::map<size_t, std::vector<char>> constants;  // values of the host, by the place of their argument
  std::deque<std::vector<char>> owned;            // copies of host arrays, strings, lists

  Launch() = default;
  Launch(const Launch &) = delete;
  ~Launch();
};

// Checks that all tensors lie in live memory, then runs the launch, queues it or records it.
int launch(std::unique_ptr<Launch> made, void *stream);

}  // namespace emulated
