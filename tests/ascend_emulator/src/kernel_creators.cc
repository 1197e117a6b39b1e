// Stands in front of libms_kernels_internal.so (this library is preloaded): its kernels are created by the real functions,
// so that its tables of dtypes and its inference of shapes stay the real ones, and then wrapped (kernel.cc).
#include <dlfcn.h>

#include <string>

#include "kernel_fields.h"
#include "status.h"

using mindspore::internal::InputsImmutableInfoList;
using mindspore::internal::InternalOpPtr;
using mindspore::internal::OutputsImmutableInfoList;
using emulated::Fields;

namespace {

// The function of this name in the real library. It is called by our own mangled name, which dladdr tells.
template <class F>
F real(F self) {
  Dl_info info;
  dladdr(reinterpret_cast<void *>(self), &info);
  void *library = dlopen("libms_kernels_internal.so", RTLD_NOLOAD | RTLD_LAZY);
  return library ? reinterpret_cast<F>(dlsym(library, info.dli_sname)) : nullptr;
}

// kernel.cc is in a library of its own, as it derives from a class of libms_kernels_internal.so.
using Wrap = void (*)(InternalOpPtr *, const char *, const InputsImmutableInfoList &, const OutputsImmutableInfoList &,
                      const Fields &);
Wrap wrap_function() {
  Dl_info info;
  dladdr(reinterpret_cast<void *>(&wrap_function), &info);
  std::string path = info.dli_fname;
  path = path.substr(0, path.rfind('/') + 1) + "libemulated_kernels.so";
  void *library = dlopen(path.c_str(), RTLD_LAZY);
  if (!library) emulated::fail(emulated::kInnerError, dlerror());
  return library ? reinterpret_cast<Wrap>(dlsym(library, "emulated_wrap_kernel")) : nullptr;
}

InternalOpPtr wrap(InternalOpPtr kernel, const char *name, const InputsImmutableInfoList &inputs,
                   const OutputsImmutableInfoList &outputs, const Fields &fields) {
  static const Wrap function = wrap_function();
  if (!kernel || !function) {
    emulated::fail(emulated::kInnerError, std::string("internal kernel ") + name + " could not be created");
    return nullptr;
  }
  function(&kernel, name, inputs, outputs, fields);
  return kernel;
}

}  // namespace

#define EXPORT __attribute__((visibility("default")))
#define CREATOR(NAME, PARAM)                                                                                  \
  EXPORT InternalOpPtr Create##NAME##Op(const InputsImmutableInfoList &inputs,                                \
                                        const OutputsImmutableInfoList &outputs, const PARAM &param,          \
                                        const std::string &name) {                                            \
    static const auto next = real(static_cast<InternalOpPtr (*)(                                              \
        const InputsImmutableInfoList &, const OutputsImmutableInfoList &, const PARAM &, const std::string &)>( \
        &Create##NAME##Op));                                                                                  \
    Fields fields;                                                                                            \
    emulated::note(fields, param);                                                                            \
    return wrap(next(inputs, outputs, param, name), #NAME, inputs, outputs, fields);                          \
  }
#define CREATOR_WITHOUT_PARAM(NAME)                                                                           \
  EXPORT InternalOpPtr Create##NAME##Op(const InputsImmutableInfoList &inputs,                                \
                                        const OutputsImmutableInfoList &outputs, const std::string &name) {   \
    static const auto next = real(static_cast<InternalOpPtr (*)(                                              \
        const InputsImmutableInfoList &, const OutputsImmutableInfoList &, const std::string &)>(             \
        &Create##NAME##Op));                                                                                  \
    return wrap(next(inputs, outputs, name), #NAME, inputs, outputs, Fields());                               \
  }

namespace mindspore {
namespace internal {
CREATOR(Matmul, MatmulParam)
CREATOR(GroupedMatmul, MatmulParam)
CREATOR(AddLayerNorm, NormParam)
CREATOR(Transpose, TransposeParam)
CREATOR(SwiGLU, SwiGLUParam)
CREATOR(Softmax, SoftmaxParam)
CREATOR(ReduceSum, ReduceSumParam)
CREATOR(Gather, GatherParam)
CREATOR(ApplyRotaryPosEmb, ApplyRotaryPosEmbParam)
CREATOR(RmsNorm, NormParam)
CREATOR(MatmulAddRmsNorm, MatmulAddRmsNormParam)
CREATOR(MultiWeightMatmul, MultiWeightMatmulParam)
CREATOR(AddRmsNorm, NormParam)
CREATOR(PagedAttention, PagedAttentionParam)
CREATOR(FlashAttentionScore, FlashAttentionScoreParam)
CREATOR(Split, SplitParam)
CREATOR(MoeInitRouting, MoeInitRoutingParam)
CREATOR(TransData, TransDataParam)
CREATOR_WITHOUT_PARAM(Add)
CREATOR_WITHOUT_PARAM(Cast)
CREATOR_WITHOUT_PARAM(Swish)
CREATOR_WITHOUT_PARAM(LogicalNot)
CREATOR_WITHOUT_PARAM(GeLU)
CREATOR_WITHOUT_PARAM(MoeTokenUnpermute)
CREATOR_WITHOUT_PARAM(ReshapeAndCache)
CREATOR_WITHOUT_PARAM(Mul)
CREATOR_WITHOUT_PARAM(Sub)
CREATOR_WITHOUT_PARAM(RealDiv)
CREATOR_WITHOUT_PARAM(FastGeLU)
CREATOR_WITHOUT_PARAM(Less)
CREATOR_WITHOUT_PARAM(Equal)
CREATOR_WITHOUT_PARAM(NotEqual)
}  // namespace internal
}  // namespace mindspore
