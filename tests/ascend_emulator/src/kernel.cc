// An internal kernel of MindSpore in which what needs a card is ours: no tiling, no workspace, and Launch goes to Python.
// Everything else is forwarded to the real kernel. A library of its own (libemulated_kernels.so).
#include <set>

#include "argument.h"
#include "kernel_fields.h"

API int emulated_launch_kernel(const char *name, const emulated::Argument *arguments, int count, void *stream);

namespace emulated {
namespace {

using namespace mindspore::internal;

// Their real UpdateShape looks for kernel files of the platform, and fails without a card.
const std::set<std::string> kWithoutShapes = {"Gather",    "Add",     "Mul",       "Sub",   "RealDiv",   "ReduceSum",
                                              "Softmax",   "Transpose", "Split",   "Swish", "LogicalNot",
                                              "PagedAttention"};

constexpr size_t kTilingBytes = 64;  // nothing is written there

// aclDataType of the wheel's DataType, in its order; -1: none.
int acl_dtype(int dtype) {
  static const int dtypes[] = {-1, 1, 0, 11, 2, 6, 3, 9, 4, 7, 8, 10, 27, 12, 16, 17, 13, -1, 29};
  return dtype >= 0 && dtype < static_cast<int>(sizeof dtypes / sizeof *dtypes) ? dtypes[dtype] : -1;
}

struct OneBlock : HostRunInfo {
  uint32_t GetBlockDim() const override { return 1; }
};

class Kernel : public InternalOp {
 public:
  Kernel(InternalOpPtr real, std::string name, const InputsImmutableInfoList &inputs,
         const OutputsImmutableInfoList &outputs, Fields fields)
      : InternalOp(inputs, outputs, real->GetOpNameOrigin()),
        real_(std::move(real)),
        name_(std::move(name)),
        fields_(std::move(fields)) {}

  InternalStatus UpdateShape(const ShapeInfoList &inputs, const ShapeInfoList &outputs) override {
    inputs_shape_ = inputs;
    outputs_shape_ = outputs;
    return kWithoutShapes.count(name_) ? kInternalOk : real_->UpdateShape(inputs, outputs);
  }
  InternalStatus UpdateParam(const void *param) override {
    if (name_ != "PagedAttention") return real_->UpdateParam(param);
    note(fields_, *static_cast<const PagedAttentionParam *>(param));
    return kInternalOk;  // the real one has chosen no kernel, which it does where it learns of shapes
  }
  InternalStatus Launch(const InputsAddrList &inputs, const OutputsAddrList &outputs, const WsAddrList &, void *stream,
                        const std::string &) override {
    std::vector<Argument> arguments;
    for (size_t i = 0; i < inputs.size(); i++)
      arguments.push_back(tensor(inputs_ii_[i], inputs_shape_[i], inputs[i], false));
    for (size_t i = 0; i < outputs.size(); i++)
      arguments.push_back(tensor(outputs_ii_[i], outputs_shape_[i], outputs[i], true));
    add_fields(arguments);
    const int count = static_cast<int>(arguments.size());
    return emulated_launch_kernel(name_.c_str(), arguments.data(), count, stream) ? kInternalError : kInternalOk;
  }

  std::vector<size_t> GetWorkspaceSize() const override { return {}; }
  void SetTilingInfo(const TilingInfoPtr &) override {}
  InternalStatus Tiling(RawHostAddr, HostRunInfoPtr *info) override {
    *info = std::make_shared<OneBlock>();
    return kInternalOk;
  }
  InternalStatus Tiling(const std::vector<int64_t> &, RawHostAddr &, HostRunInfoPtr *info) override {
    *info = std::make_shared<OneBlock>();
    return kInternalOk;
  }
  InternalStatus TilingFromTuning(const RawDeviceAddr) override { return kInternalOk; }
  uint32_t GetLaunchCoreNum() const override { return 1; }

  size_t GetTilingSize() const override { return kWithoutShapes.count(name_) ? kTilingBytes : real_->GetTilingSize(); }
  std::string DumpTiling(const RawHostAddr) const override { return ""; }
  ShapeInfoList InferShape(const ShapeInfoList &inputs) const override { return real_->InferShape(inputs); }
  bool IsSupported(const InputDataTypes &dtypes) override { return real_->IsSupported(dtypes); }
  std::string GetOpName() override { return real_->GetOpName(); }
  OpType GetOpType() override { return real_->GetOpType(); }
  int64_t GetOpVersion() const override { return real_->GetOpVersion(); }
  std::vector<int64_t> GetDataBaseKey() const override { return real_->GetDataBaseKey(); }
  std::vector<int64_t> GetCurrentTiling() const override { return {}; }

 protected:
  InternalStatus InitImpl() override { return real_->Init(); }
  // Only the real Tiling and Launch call these.
  InternalStatus TilingImpl(RawHostAddr, HostRunInfoPtr *) override { return kInternalError; }
  InternalStatus LaunchImpl(const InputsAddrList &, const OutputsAddrList &, const WsAddrList &, void *) override {
    return kInternalError;
  }

 private:
  InternalStatus LaunchWithProfiling(const InputsAddrList &inputs, const OutputsAddrList &outputs,
                                     const WsAddrList &workspaces, void *stream, const std::string &name) override {
    return Launch(inputs, outputs, workspaces, stream, name);
  }

  static Argument tensor(const ArgImmutableInfo &info, const ShapeInfo &shape, void *data, bool is_output) {
    Argument argument{};
    argument.dtype = acl_dtype(info.GetDtype());
    argument.integer = is_output;
    argument.tag = argument.dtype < 0 || !data || shape.size() > kMaxDims ? kNone : kTensor;
    if (argument.tag == kNone) return argument;
    argument.format = info.GetFormat();
    argument.ndim = static_cast<int>(shape.size());
    argument.data = data;
    argument.size = 1;
    for (int i = argument.ndim - 1; i >= 0; i--) {
      argument.dims[i] = shape[i];
      argument.strides[i] = argument.size;
      argument.size *= shape[i];
    }
    return argument;
  }

  void add_fields(std::vector<Argument> &arguments) const {
    for (auto &field : fields_.numbers) {
      Argument argument{};
      argument.tag = kNumberReal;
      argument.real = field.second;
      argument.name = field.first.c_str();
      arguments.push_back(argument);
    }
    for (auto &field : fields_.lists) {
      Argument argument{};
      argument.tag = kNumbersInt;
      argument.data = const_cast<int64_t *>(field.second.data());
      argument.size = static_cast<int64_t>(field.second.size());
      argument.name = field.first.c_str();
      arguments.push_back(argument);
    }
  }

  InternalOpPtr real_;
  std::string name_;
  Fields fields_;
};

}  // namespace
}  // namespace emulated

// A pointer to change, as a C function returns no shared_ptr.
API void emulated_wrap_kernel(mindspore::internal::InternalOpPtr *kernel, const char *name,
                              const mindspore::internal::InputsImmutableInfoList &inputs,
                              const mindspore::internal::OutputsImmutableInfoList &outputs,
                              const emulated::Fields &fields) {
  *kernel = std::make_shared<emulated::Kernel>(*kernel, name, inputs, outputs, fields);
}
