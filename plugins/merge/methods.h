// What each method wants of a spec: how many models, a base, which parameters, and what those are unless they are set.
#ifndef EDITD_PLUGINS_MERGE_METHODS_H_
#define EDITD_PLUGINS_MERGE_METHODS_H_

#include <string>
#include <vector>

#include "plugins/merge/tensor_merge.h"

namespace editd::merge {

enum class Base { kNone, kMay, kMust };

struct MethodTraits {
  v1::Method method;
  Base base;               // kNone: a base only gives tokenizer and configuration.
  size_t least, most;      // Models besides the base (linear, karcher, passthrough: all that are listed).
  bool weights;            // Each model needs a weight.
  bool normalize;          // By default.
  v1::Rescale rescale;     // By default.
  const char* parameters;  // Separated by spaces.
};

// Null for METHOD_UNSPECIFIED and what is no method.
const MethodTraits* TraitsOf(v1::Method method);
// "ties"
std::string MethodName(v1::Method method);
std::vector<std::string> ParametersOf(v1::Method method);

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_METHODS_H_
