// The difference of two models as an adapter.
#ifndef EDITD_PLUGINS_ADAPTER_EXTRACT_H_
#define EDITD_PLUGINS_ADAPTER_EXTRACT_H_

#include <string>
#include <vector>

#include "editd/plugins/adapter/v1/adapter.pb.h"
#include "plugins/adapter/change.h"

namespace editd::adapter {

namespace v1 = editd::plugins::adapter::v1;

// Compares the models by names and shapes. Problems go to `problems`.
void CheckExtract(const v1::Extract& spec, const Model& base, const Model& tuned, std::vector<std::string>* problems);

// Memory beyond mapped inputs.
uint64_t ExtractMemory(const v1::Extract& spec, const Model& base, unsigned threads);

// Makes the adapter.
absl::Status RunExtract(const v1::Extract& spec, const Model& base, const Model& tuned, Job& job,
                        v1::AdapterResult* result);

}  // namespace editd::adapter

#endif  // EDITD_PLUGINS_ADAPTER_EXTRACT_H_
