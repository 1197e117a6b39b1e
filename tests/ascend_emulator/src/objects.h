// The objects that aclCreateTensor and its kin return.
#pragma once
#include <string>
#include <vector>

#include "argument.h"

namespace emulated {

struct Object {
  Argument argument{};
  std::vector<char> bytes;             // elements of an array, value of a scalar
  std::vector<Object *> items;         // of a list
  std::vector<Argument> item_arguments;
  std::string name;
  int references = 1;
};

Object *make_object(Tag tag);
// Whether the bits of an argument are the address of one of our objects.
bool is_object(int64_t word);
void retain(Object *object);
void release(Object *object);
// The argument with the items of a list filled in; valid as long as the object.
const Argument &argument_of(Object *object);

}  // namespace emulated
