// An adapter being made: its factors and tensors in full, written as PEFT names them, its configuration and what the
// version says of itself.
//
// Not thread-safe; one a job.
#ifndef EDITD_PLUGINS_ADAPTER_NEW_ADAPTER_H_
#define EDITD_PLUGINS_ADAPTER_NEW_ADAPTER_H_

#include <map>
#include <set>
#include <string>

#include "plugins/adapter/low_rank.h"
#include "plugins/lib/formats/adapter.h"
#include "storage/base/dtype.h"

namespace editd::adapter {

class NewAdapter {
 public:
  explicit NewAdapter(Job& job) : job_(job) {}

  // A module's factors, whose product is the change; the scale is one. As F32.
  absl::Status AddModule(const std::string& module, bool embedding, const Factors& factors);
  // A base's tensor in full, as an input has it. Its module has no factors, or they were added before.
  absl::Status AddSaved(const std::string& target, const Tensor& tensor);

  // Writes adapter_config.json and attributes. `text` has what cannot be told from the tensors: the base's name and
  // fan_in_fan_out; `targets` if the last names of modules would say too much.
  absl::Status Finish(formats::AdapterConfigText text);

  bool empty() const { return tensors_.empty(); }

 private:
  absl::Status AddTensor(std::string name, std::vector<int64_t> shape, const std::vector<float>& values);

  Job& job_;
  std::map<std::string, int64_t> ranks_;  // By module.
  std::set<std::string> saved_;           // Module names for modules_to_save.
  std::set<std::string> targets_;
  bool biases_ = false;
  std::vector<std::pair<std::string, std::vector<int64_t>>> tensors_;
};

}  // namespace editd::adapter

#endif  // EDITD_PLUGINS_ADAPTER_NEW_ADAPTER_H_
