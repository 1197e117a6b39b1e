// Legacy operators (aclopCompileAndExecute): descriptions of tensors, data buffers, attributes by name.
#include <cstring>
#include <memory>

#include "launch.h"
#include "status.h"
#include "streams.h"

namespace emulated {

struct Description {
  Argument argument{};
  std::string name;
  std::vector<char> constant;  // a value of the host that the operator is compiled with
  bool is_host = false;        // the buffer is in the host's memory
};
struct Buffer {
  void *data;
  size_t bytes;
};
struct Attributes {
  std::vector<Object *> all;
};

namespace {

Object *add(Attributes *attributes, const char *name, Tag tag) {
  Object *object = make_object(tag);
  object->name = name;
  object->argument.name = object->name.c_str();
  attributes->all.push_back(object);
  return object;
}

int add_integer(Attributes *attributes, const char *name, int64_t value) {
  add(attributes, name, kNumberInt)->argument.integer = value;
  return 0;
}

template <class T>
int add_array(Attributes *attributes, const char *name, Tag tag, int count, const T *values) {
  Object *object = add(attributes, name, tag);
  object->bytes.resize(count * sizeof(T) + 8);
  if (count) memcpy(object->bytes.data(), values, count * sizeof(T));
  object->argument.data = object->bytes.data();
  object->argument.size = count;
  return 0;
}

int refuse_attribute(const char *name, const char *kind) {
  return fail(kInvalidParameter, std::string("attribute ") + name + ": " + kind + " is not emulated");
}

void add_tensor(Launch &launch, const Description *description, const Buffer *buffer, bool is_output) {
  Argument argument = description->argument;
  if (!description->constant.empty())
    launch.constants[launch.arguments.size()] = description->constant;
  else if (description->is_host && buffer && buffer->data)
    launch.constants[launch.arguments.size()] = {static_cast<char *>(buffer->data),
                                                 static_cast<char *>(buffer->data) + buffer->bytes};
  else
    argument.data = buffer ? buffer->data : nullptr;
  argument.integer = is_output;
  launch.owned.emplace_back(description->name.c_str(), description->name.c_str() + description->name.size() + 1);
  argument.name = launch.owned.back().data();
  launch.arguments.push_back(argument);
}

int execute(const char *type, int num_inputs, Description *const *inputs, Buffer *const *in, int num_outputs,
            Description *const *outputs, Buffer *const *out, const Attributes *attributes, void *stream) {
  if (capture_of(stream)) return fail(kNotWhileCapturing, std::string("aclop ") + type + " on a captured stream");
  auto made = std::make_unique<Launch>();
  made->kind = "aclop";
  made->name = type;
  for (int i = 0; i < num_inputs; i++) add_tensor(*made, inputs[i], in[i], false);
  for (int i = 0; i < num_outputs; i++) add_tensor(*made, outputs[i], out[i], true);
  if (attributes)
    for (Object *object : attributes->all) made->arguments.push_back(object->argument);
  return launch(std::move(made), stream);
}

}  // namespace
}  // namespace emulated

using emulated::Attributes;
using emulated::Buffer;
using emulated::Description;

API Description *aclCreateTensorDesc(int dtype, int ndim, const int64_t *dims, int format) {
  if (ndim > emulated::kMaxDims) return nullptr;
  auto *description = new Description;
  auto &argument = description->argument;
  argument.tag = emulated::kTensor;
  argument.dtype = dtype;
  argument.ndim = ndim;
  argument.format = format;
  int64_t step = 1;
  for (int i = ndim - 1; i >= 0; i--) {
    argument.dims[i] = dims[i];
    argument.strides[i] = step;
    step *= dims[i];
  }
  argument.size = step;
  return description;
}
API void aclDestroyTensorDesc(Description *description) { delete description; }
API int aclSetTensorShape(Description *, int, const int64_t *) { return 0; }
API int aclSetTensorFormat(Description *, int) { return 0; }
API int aclSetTensorPlaceMent(Description *description, int memory) {
  description->is_host = memory != 0;  // ACL_MEMTYPE_DEVICE
  return 0;
}
API void aclSetTensorDescName(Description *description, const char *name) { description->name = name; }
API int aclSetTensorConst(Description *description, void *data, size_t bytes) {
  auto *start = static_cast<char *>(data);
  description->constant.assign(start, start + bytes);
  return 0;
}
API int aclGetTensorDescDimV2(Description *description, size_t i, int64_t *dim) {
  *dim = description->argument.dims[i];
  return 0;
}
API size_t aclGetTensorDescNumDims(Description *description) { return description->argument.ndim; }
API size_t aclGetTensorDescSize(Description *description) {
  return description->argument.size * emulated::bytes_of(description->argument.dtype);
}
API Buffer *aclCreateDataBuffer(void *data, size_t bytes) { return new Buffer{data, bytes}; }
API int aclDestroyDataBuffer(Buffer *buffer) {
  delete buffer;
  return 0;
}
API int aclUpdateDataBuffer(Buffer *buffer, void *data, size_t bytes) {
  *buffer = {data, bytes};
  return 0;
}
API void *aclGetDataBufferAddr(Buffer *buffer) { return buffer->data; }

API Attributes *aclopCreateAttr() { return new Attributes; }
API void aclopDestroyAttr(Attributes *attributes) {
  for (auto *object : attributes->all) emulated::release(object);
  delete attributes;
}
API int aclopSetAttrBool(Attributes *a, const char *name, uint8_t value) { return emulated::add_integer(a, name, value); }
API int aclopSetAttrInt(Attributes *a, const char *name, int64_t value) { return emulated::add_integer(a, name, value); }
API int aclopSetAttrDataType(Attributes *a, const char *name, int value) { return emulated::add_integer(a, name, value); }
API int aclopSetAttrFloat(Attributes *a, const char *name, float value) {
  emulated::add(a, name, emulated::kNumberReal)->argument.real = value;
  return 0;
}
API int aclopSetAttrString(Attributes *a, const char *name, const char *value) {
  return emulated::add_array(a, name, emulated::kString, static_cast<int>(strlen(value)) + 1, value);
}
API int aclopSetAttrListInt(Attributes *a, const char *name, int count, const int64_t *values) {
  return emulated::add_array(a, name, emulated::kNumbersInt, count, values);
}
API int aclopSetAttrListFloat(Attributes *a, const char *name, int count, const float *values) {
  return emulated::add_array(a, name, emulated::kNumbersReal, count, values);
}
API int aclopSetAttrListBool(Attributes *a, const char *name, int count, const uint8_t *values) {
  const std::vector<int64_t> wide(values, values + count);
  return emulated::add_array(a, name, emulated::kNumbersInt, count, wide.data());
}
API int aclopSetAttrListDataType(Attributes *a, const char *name, int count, const int *values) {
  const std::vector<int64_t> wide(values, values + count);
  return emulated::add_array(a, name, emulated::kNumbersInt, count, wide.data());
}
API int aclopSetAttrListListInt(Attributes *, const char *name, int, const int *, const int64_t *const *) {
  return emulated::refuse_attribute(name, "a list of lists");
}
API int aclopSetAttrListString(Attributes *, const char *name, int, const char **) {
  return emulated::refuse_attribute(name, "a list of strings");
}

API int aclopCompileAndExecute(const char *type, int num_inputs, Description *const *inputs, Buffer *const *in,
                               int num_outputs, Description *const *outputs, Buffer *const *out,
                               const Attributes *attributes, int, int, const char *, void *stream) {
  return emulated::execute(type, num_inputs, inputs, in, num_outputs, outputs, out, attributes, stream);
}
API int aclopCompileAndExecuteV2(const char *type, int num_inputs, Description **inputs, Buffer **in, int num_outputs,
                                 Description **outputs, Buffer **out, const Attributes *attributes, int, int,
                                 const char *, void *stream) {
  return emulated::execute(type, num_inputs, inputs, in, num_outputs, outputs, out, attributes, stream);
}
API int aclSetCompileopt(int, const char *) { return 0; }
API int aclopSetCompileFlag(int) { return 0; }
API int aclopSetModelDir(const char *) { return 0; }
API int aclGenGraphAndDumpForOp() { return 0; }
API int aclopStartDumpArgs() { return 0; }
API int aclopStopDumpArgs() { return 0; }
