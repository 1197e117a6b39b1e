// aclTensor, aclScalar, arrays and lists: made, destroyed, counted. An operator's executor keeps what it was given alive.
#include "objects.h"

#include <cstring>
#include <mutex>
#include <unordered_set>

namespace emulated {
namespace {

std::mutex mutex;

std::unordered_set<int64_t> &live() {
  static auto *objects = new std::unordered_set<int64_t>;
  return *objects;
}

int64_t word_of(Object *object) { return reinterpret_cast<int64_t>(object); }

template <class T>
Object *make_array(Tag tag, const T *values, uint64_t count) {
  Object *object = make_object(tag);
  object->bytes.resize(count * sizeof(T) + 8);
  if (count) memcpy(object->bytes.data(), values, count * sizeof(T));
  object->argument.data = object->bytes.data();
  object->argument.size = static_cast<int64_t>(count);
  return object;
}

Object *make_list(Tag tag, Object *const *values, uint64_t count) {
  Object *object = make_object(tag);
  object->items.assign(values, values + count);
  object->argument.num_items = static_cast<int64_t>(count);
  return object;
}

int destroy(Object *object) {
  release(object);
  return 0;
}

}  // namespace

Object *make_object(Tag tag) {
  auto *object = new Object;
  object->argument.tag = tag;
  std::lock_guard<std::mutex> lock(mutex);
  live().insert(word_of(object));
  return object;
}

bool is_object(int64_t word) {
  std::lock_guard<std::mutex> lock(mutex);
  return live().count(word) > 0;
}

void retain(Object *object) {
  std::lock_guard<std::mutex> lock(mutex);
  object->references++;
}

void release(Object *object) {
  if (!object) return;
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (!live().count(word_of(object)) || --object->references > 0) return;
    live().erase(word_of(object));
  }
  for (Object *item : object->items) release(item);  // a list owns its items
  delete object;
}

const Argument &argument_of(Object *object) {
  if (object->argument.tag == kTensors || object->argument.tag == kScalars) {
    object->item_arguments.clear();
    for (Object *item : object->items) object->item_arguments.push_back(item ? item->argument : Argument{});
    object->argument.items = object->item_arguments.data();
  }
  return object->argument;
}

}  // namespace emulated

using emulated::Object;

API Object *aclCreateTensor(const int64_t *dims, uint64_t ndim, int dtype, const int64_t *strides, int64_t offset,
                            int format, const int64_t *storage_dims, uint64_t storage_ndim, void *data) {
  if (ndim > emulated::kMaxDims) return nullptr;
  Object *object = emulated::make_object(emulated::kTensor);
  auto &argument = object->argument;
  argument.dtype = dtype;
  argument.ndim = static_cast<int>(ndim);
  argument.format = format;
  argument.offset = offset;
  argument.data = data;
  int64_t step = 1;
  for (int i = argument.ndim - 1; i >= 0; i--) {
    argument.dims[i] = dims[i];
    argument.strides[i] = strides ? strides[i] : step;
    step *= dims[i];
  }
  argument.size = 1;
  for (uint64_t i = 0; i < storage_ndim; i++) argument.size *= storage_dims[i];
  return object;
}

API Object *aclCreateScalar(void *value, int dtype) {
  Object *object = emulated::make_object(emulated::kScalar);
  object->argument.dtype = dtype;
  object->bytes.resize(16);
  memcpy(object->bytes.data(), value, emulated::bytes_of(dtype));
  object->argument.data = object->bytes.data();
  return object;
}

API Object *aclCreateIntArray(const int64_t *values, uint64_t count) {
  return emulated::make_array(emulated::kInts, values, count);
}
API Object *aclCreateFloatArray(const float *values, uint64_t count) {
  return emulated::make_array(emulated::kFloats, values, count);
}
API Object *aclCreateBoolArray(const bool *values, uint64_t count) {
  return emulated::make_array(emulated::kBools, values, count);
}
API Object *aclCreateTensorList(Object *const *values, uint64_t count) {
  return emulated::make_list(emulated::kTensors, values, count);
}
API Object *aclCreateScalarList(Object *const *values, uint64_t count) {
  return emulated::make_list(emulated::kScalars, values, count);
}
API int aclDestroyTensor(Object *object) { return emulated::destroy(object); }
API int aclDestroyScalar(Object *object) { return emulated::destroy(object); }
API int aclDestroyIntArray(Object *object) { return emulated::destroy(object); }
API int aclDestroyFloatArray(Object *object) { return emulated::destroy(object); }
API int aclDestroyBoolArray(Object *object) { return emulated::destroy(object); }
API int aclDestroyTensorList(Object *object) { return emulated::destroy(object); }
API int aclDestroyScalarList(Object *object) { return emulated::destroy(object); }

// The caller frees the array with delete[].
API int aclGetViewShape(Object *object, int64_t **dims, uint64_t *ndim) {
  *ndim = static_cast<uint64_t>(object->argument.ndim);
  *dims = new int64_t[emulated::kMaxDims];
  memcpy(*dims, object->argument.dims, sizeof object->argument.dims);
  return 0;
}
API size_t aclDataTypeSize(int dtype) { return emulated::bytes_of(dtype); }
