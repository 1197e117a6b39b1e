// Stands in front of MindSpore's memory pool (this library is preloaded) to know which blocks are live. The pool itself
// is the real one. Its classes are named here only for their mangled names; entry_points.s has the thunks of their
// virtual tables.
#include <dlfcn.h>

#include <cstdint>
#include <vector>

#include "guard.h"

namespace {

// The real function of the same name. Looked up in the pool's own library, as this one comes first everywhere else.
template <class F>
F real(const char *name) {
  void *library = dlopen("libmindspore_memory_pool.so", RTLD_NOLOAD | RTLD_LAZY);
  return reinterpret_cast<F>(library ? dlsym(library, name) : nullptr);
}

using Addresses = std::vector<void *>;
using Sizes = std::vector<size_t>;

void free_block(void *address) {
  if (address) emulated::guard::remove_block(address);
}

}  // namespace

#define MANGLED(CLASS, REST) "_ZN9mindspore6device" CLASS REST

// Blocks are forgotten before the pool may hand them to another thread.
#define POOL(CLASS, MANGLED_CLASS)                                                                                  \
  struct __attribute__((visibility("default"))) CLASS {                                                             \
    void *AllocTensorMem(size_t bytes, bool is_persistent, bool is_retried, uint32_t stream);                       \
    void FreeTensorMem(void *const &address);                                                                       \
    void *DoFreeTensorMem(void *const &address);                                                                    \
    void FreePartTensorMems(const Addresses &freed, const Addresses &kept, const Sizes &kept_bytes);                \
    Addresses AllocContinuousTensorMem(const Sizes &bytes, uint32_t stream);                                        \
  };                                                                                                                \
  void *CLASS::AllocTensorMem(size_t bytes, bool is_persistent, bool is_retried, uint32_t stream) {                 \
    using F = void *(*)(CLASS *, size_t, bool, bool, uint32_t);                                                     \
    static const F next = real<F>(MANGLED(MANGLED_CLASS, "14AllocTensorMemEmbbj"));                                 \
    void *address = next(this, bytes, is_persistent, is_retried, stream);                                           \
    if (address) emulated::guard::add_block(address, bytes);                                                        \
    return address;                                                                                                 \
  }                                                                                                                 \
  void CLASS::FreeTensorMem(void *const &address) {                                                                 \
    using F = void (*)(CLASS *, void *const &);                                                                     \
    static const F next = real<F>(MANGLED(MANGLED_CLASS, "13FreeTensorMemERKPv"));                                  \
    free_block(address);                                                                                            \
    next(this, address);                                                                                            \
  }                                                                                                                 \
  void CLASS::FreePartTensorMems(const Addresses &freed, const Addresses &kept, const Sizes &kept_bytes) {          \
    using F = void (*)(CLASS *, const Addresses &, const Addresses &, const Sizes &);                               \
    static const F next =                                                                                           \
        real<F>(MANGLED(MANGLED_CLASS, "18FreePartTensorMemsERKSt6vectorIPvSaIS3_EES7_RKS2_ImSaImEE"));             \
    emulated::guard::split_blocks(freed, kept, kept_bytes);                                                         \
    next(this, freed, kept, kept_bytes);                                                                            \
  }                                                                                                                 \
  Addresses CLASS::AllocContinuousTensorMem(const Sizes &bytes, uint32_t stream) {                                  \
    using F = Addresses (*)(CLASS *, const Sizes &, uint32_t);                                                      \
    static const F next = real<F>(MANGLED(MANGLED_CLASS, "24AllocContinuousTensorMemERKSt6vectorImSaImEEj"));       \
    Addresses addresses = next(this, bytes, stream);                                                                \
    for (size_t i = 0; i < addresses.size() && i < bytes.size(); i++)                                               \
      emulated::guard::add_block(addresses[i], bytes[i]);                                                           \
    return addresses;                                                                                               \
  }

namespace mindspore {
namespace device {
POOL(AbstractDynamicMemPool, "22AbstractDynamicMemPool")
// What the enhanced pools, which hold another pool, call in place of FreeTensorMem.
void *AbstractDynamicMemPool::DoFreeTensorMem(void *const &address) {
  using F = void *(*)(AbstractDynamicMemPool *, void *const &);
  static const F next = real<F>(MANGLED("22AbstractDynamicMemPool", "15DoFreeTensorMemERKPv"));
  free_block(address);
  return next(this, address);
}
POOL(DynamicMemPoolBestFit, "21DynamicMemPoolBestFit")
}  // namespace device
}  // namespace mindspore
