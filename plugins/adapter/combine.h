// Several adapters become one.
#ifndef EDITD_PLUGINS_ADAPTER_COMBINE_H_
#define EDITD_PLUGINS_ADAPTER_COMBINE_H_

#include <string>
#include <vector>

#include "editd/plugins/adapter/v1/adapter.pb.h"
#include "plugins/adapter/change.h"

namespace editd::adapter {

namespace v1 = editd::plugins::adapter::v1;

// Compares the adapters' modules by names and shapes. Problems go to `problems`.
void CheckCombine(const v1::Combine& spec, const std::vector<Adapter>& adapters, std::vector<std::string>* problems);

// Makes the adapter.
absl::Status RunCombine(const v1::Combine& spec, const std::vector<Adapter>& adapters, Job& job,
                        v1::AdapterResult* result);

}  // namespace editd::adapter

#endif  // EDITD_PLUGINS_ADAPTER_COMBINE_H_
