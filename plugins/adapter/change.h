// What an adapter does to one tensor of a base: a low-rank change, DoRA's lengths, a tensor in full, rows of an
// embedding; as matrices that are filled by rows, so that nothing of the tensor's size lies in memory.
//
//   V  = saved, or saved - trained + W, or W;  rows that the adapter names are its own
//   V' = V + scale x B A              (in the orientation of the base's tensor)
//   V" = magnitude / |V'| x V'        (DoRA; lengths of rows, of columns if the tensor is stored inputs x outputs)
//
// The changed tensor is V", the change V" - W; of a low-rank change alone it is scale x B A itself.
//
// Plain values; the tensors' bytes must stay mapped. A matrix may be filled from several threads.
#ifndef EDITD_PLUGINS_ADAPTER_CHANGE_H_
#define EDITD_PLUGINS_ADAPTER_CHANGE_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/adapter/matmul.h"
#include "plugins/adapter/tiles.h"
#include "plugins/lib/formats/adapter.h"

namespace editd::adapter {

// An input that is an adapter. While a spec is checked there is no configuration.
struct Adapter {
  const Model* model = nullptr;
  formats::AdapterConfig config;
  std::vector<formats::AdapterTensor> tensors;  // Of the same order as the model's.
  formats::AdapterLayout layout;
  double weight = 1;

  const Tensor& tensor(size_t i) const { return model->tensors[i]; }
};

// Reads the layout, and with `configuration` adapter_config.json too. Problems are added to `problems`.
Adapter OpenAdapter(const Model& model, bool configuration, std::vector<std::string>* problems);

// One adapter's change of one tensor. Indices are the adapter's; pointers null where there is no such part.
struct Change {
  const Adapter* adapter = nullptr;
  const formats::LoraModule* module = nullptr;
  const formats::SavedTensor* saved = nullptr;
  const Tensor* trained = nullptr;  // The training base's tensor: the change of a saved one is its difference.
  const formats::SavedRows* rows = nullptr;
  bool transposed = false;  // The base's tensor is inputs x outputs: embeddings, and bases with fan_in_fan_out.

  bool plain() const { return saved == nullptr && rows == nullptr && (module == nullptr || module->magnitude < 0); }
};

// "q_proj" of "model.layers.0.self_attn.q_proj.weight".
std::string_view LayerName(std::string_view tensor);
// True for tensors with a row for each token or position, by the names that they have.
bool IsEmbeddingName(std::string_view tensor);

// The shape that a module's change has in the base.
std::vector<int64_t> ShapeInBase(const formats::LoraModule& module, bool transposed);

// A stored tensor as floats: rows of its last dimension; a vector is one row.
Matrix AsMatrix(const Tensor& tensor);

// A stored tensor as floats in memory: its own bytes if it is F32, else a copy.
std::shared_ptr<const float> AsFloats(const Tensor& tensor);

// scale x B A.
Matrix LowRank(const Change& change);

// V" and V" - W; `base` is W. DoRA's lengths of columns are summed now, with the job's threads.
absl::StatusOr<Matrix> Changed(Job& job, const Change& change, const Matrix& base);
absl::StatusOr<Matrix> Difference(Job& job, const Change& change, const Matrix& base);

}  // namespace editd::adapter

#endif  // EDITD_PLUGINS_ADAPTER_CHANGE_H_
