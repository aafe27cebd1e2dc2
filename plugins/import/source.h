// What an import has understood of its source.
#ifndef EDITD_PLUGINS_IMPORT_SOURCE_H_
#define EDITD_PLUGINS_IMPORT_SOURCE_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "editd/plugins/importer/v1/import.pb.h"
#include "plugins/import/tile_stream.h"
#include "plugins/lib/formats/checkpoint.h"

namespace editd::importer {

namespace v1 = editd::plugins::importer::v1;

// All but `finish` is known before a byte of a tensor is written.
struct Understood {
  std::string format;        // "GGUF v3"
  std::string architecture;  // "LlamaForCausalLM"; may be empty.
  std::vector<TensorSource> tensors;
  std::vector<std::pair<std::string, std::string>> files;
  std::map<std::string, std::string> attributes;
  std::vector<std::string> remarks;
  // Fills in the rest: files, attributes, remarks. May be empty. It takes a while and needs no tensor, so it is run
  // beside their writing; until it returns, only `tensors` may be looked at.
  std::function<absl::Status(Understood*)> finish;
  std::shared_ptr<const void> keep_alive;  // What the tensors' functions use.
};

// A GGUF file. `bytes` must outlive the result; `name` is the path that the user wrote.
absl::StatusOr<Understood> UnderstandGguf(std::string_view bytes, std::string_view name, v1::StoreAs store_as);

// A Hugging Face folder; the same.
absl::StatusOr<Understood> UnderstandCheckpoint(const std::vector<formats::NamedBytes>& folder, std::string_view name,
                                                v1::StoreAs store_as);

// A folder of PEFT's; it has an adapter_config.json. The same.
absl::StatusOr<Understood> UnderstandAdapter(const std::vector<formats::NamedBytes>& folder, std::string_view name,
                                             v1::StoreAs store_as);

// A tensor of a checkpoint, stored as asked.
TensorSource Source(const formats::CheckpointTensor& tensor, v1::StoreAs store_as);

// The type to store a tensor in that is `own` in its source (F32 if it was quantised).
DType StoredAs(v1::StoreAs store_as, DType own, const std::vector<int64_t>& shape);

// The type that most of the matrices' elements are stored in: what config.json names.
DType MainDType(const std::vector<TensorSource>& tensors);

}  // namespace editd::importer

#endif  // EDITD_PLUGINS_IMPORT_SOURCE_H_
