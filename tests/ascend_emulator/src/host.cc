// What MindSpore is told of the host. It chooses its runtime by the number of cores: with fewer than about 12 there is one
// actor thread, and not the kernel-by-kernel mode of sub-graphs that servers with cards run.
#include "argument.h"
#include "status.h"

API int get_nprocs() { return emulated::setting("EMULATED_CORES", 32); }
// std::thread::hardware_concurrency
API unsigned _ZNSt6thread20hardware_concurrencyEv() { return static_cast<unsigned>(get_nprocs()); }
