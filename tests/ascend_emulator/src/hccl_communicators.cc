// HCCL's communicators: made, asked, destroyed.
#include <cstdio>
#include <cstring>

#include "argument.h"
#include "hccl_group.h"
#include "status.h"
#include "trace.h"

using emulated::Group;

namespace {

int make(const std::string &name, uint32_t rank, uint32_t size, Group **group) {
  const int status = emulated::join_group(name, rank, size, group);
  if (!status && emulated::is_tracing())
    emulated::trace("\"event\": \"communicator\", \"group\": " + emulated::quoted(name) +
                    ", \"rank\": " + std::to_string(rank) + ", \"ranks\": " + std::to_string(size));
  return status;
}

int refuse_rank_table() {
  return emulated::fail(emulated::kHcclNotSupported, "communicators from a rank table file are not emulated: use msrun");
}

}  // namespace

API int HcclCommInitRootInfo(uint32_t size, const char *info, uint32_t rank, Group **group) {
  return make(info, rank, size, group);
}
API int HcclCommInitRootInfoConfig(uint32_t size, const char *info, uint32_t rank, const void *, Group **group) {
  return make(info, rank, size, group);
}
API int HcclCreateSubCommConfig(Group **parent, uint32_t size, uint32_t *ranks, uint64_t id, uint32_t rank, void *,
                                Group **group) {
  std::string name = (*parent)->name + "_" + std::to_string(id);
  for (uint32_t i = 0; i < size; i++) name += "." + std::to_string(ranks[i]);
  return make(name, rank, size, group);
}
API int HcclCommInitClusterInfo(const char *, uint32_t, Group **) { return refuse_rank_table(); }
API int HcclCommInitClusterInfoConfig(const char *, uint32_t, void *, Group **) { return refuse_rank_table(); }
// Other ranks may still read this one's slot: the memory stays until the process ends.
API int HcclCommDestroy(Group *) { return 0; }

API int HcclGetCommName(Group *group, char *name) {
  snprintf(name, 128, "%s", group->name.c_str());
  return 0;
}
API int HcclGetRankId(Group *group, uint32_t *rank) {
  *rank = group->rank;
  return 0;
}
API int HcclGetRankSize(Group *group, uint32_t *size) {
  *size = group->size;
  return 0;
}
API int HcclGetCommAsyncError(Group *, int *error) {
  *error = 0;
  return 0;
}
API const char *HcclGetErrorString(int status) {
  static thread_local std::string text;
  text = emulated::last_message().empty() ? "status " + std::to_string(status) : emulated::last_message();
  return text.c_str();
}
API uint32_t HcclGetCommConfigCapability() { return 0; }
API int HcclSetConfig(int, int) { return 0; }
