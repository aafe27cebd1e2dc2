// Parameters: what a spec says of one parameter for one tensor. mergekit's rules: the innermost place that has a value
// whose filter is a part of the tensor's name; several numbers are spread evenly over the layers.
//
// Functions of their arguments.
#ifndef EDITD_PLUGINS_MERGE_PARAMETERS_H_
#define EDITD_PLUGINS_MERGE_PARAMETERS_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "editd/plugins/merge/v1/merge.pb.h"

namespace editd::merge {

namespace v1 = editd::plugins::merge::v1;

// Problems of a spec, with the path of the field below params. What is wrong with many tensors in the same way is told
// of the first, with a count.
class Findings {
 public:
  void Add(std::string_view field, std::string_view message);
  // The same problem of one more tensor: `message` is kept of the first.
  void AddFor(std::string_view field, std::string_view kind, std::string_view message);
  bool empty() const { return order_.empty(); }
  size_t size() const { return order_.size(); }
  // (field, message), in order.
  std::vector<std::pair<std::string, std::string>> All() const;

 private:
  struct Finding {
    std::string message;
    size_t count = 0;
  };
  using Key = std::pair<std::string, std::string>;
  std::vector<Key> order_;
  std::map<Key, Finding> findings_;
};

// Where a tensor stands: its name, and its layer among those of the model or slice (-1 outside of them).
struct Place {
  std::string_view tensor;
  int64_t layer = -1;
  int64_t layers = 0;
};

// One place where parameters are written, and its path: "models[1].parameters".
struct Scope {
  const v1::Parameters* parameters;
  std::string path;
};

// The value at `place`, or nullopt if none matches.
std::optional<double> ValueAt(const google::protobuf::RepeatedPtrField<v1::Value>& values, const Place& place);

// Checks all that can be said of a scope alone: numbers that no tensor could have, values without a number, filters in
// no name of `names` (unless that is empty), parameters that `method` has not.
void CheckScope(const Scope& scope, v1::Method method, const std::set<std::string>& names, Findings* findings);

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_PARAMETERS_H_
