// A Hugging Face folder as a version: tensors and files as they are, unless another element type is asked for.
#include <algorithm>

#include "plugins/import/source.h"
#include "plugins/lib/formats/convert.h"
#include "plugins/lib/formats/dequantize.h"
#include "plugins/lib/text/tokenizer.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::importer {
namespace {

// What the decoder in plugins/lib/nn can run.
constexpr std::string_view kKnown[] = {"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"};

void DescribeVocabulary(const formats::Checkpoint& checkpoint, std::string_view name, Understood* out) {
  const auto embedding = std::find_if(checkpoint.tensors.begin(), checkpoint.tensors.end(),
                                      [](const auto& tensor) { return tensor.name == formats::kEmbedding; });
  if (embedding == checkpoint.tensors.end() || embedding->shape.empty()) {
    out->remarks.push_back(StrCat("there is no tensor \"", formats::kEmbedding,
                                  "\"; edits of the vocabulary will not understand this model"));
    return;
  }
  const int64_t rows = embedding->shape[0];
  out->attributes["vocab.rows"] = StrCat(rows);
  out->attributes["vocab.tied"] = checkpoint.tied ? "true" : "false";
  const auto size = checkpoint.config.find("vocab_size");
  if (size != checkpoint.config.end() && size->is_number_integer() && size->get<int64_t>() != rows) {
    out->remarks.push_back(
        StrCat("config.json says vocab_size ", size->get<int64_t>(), ", the embedding has ", rows, " rows"));
  }
  for (const formats::NamedBytes& file : checkpoint.files) {
    if (file.name != "tokenizer.json") continue;
    const absl::StatusOr<int64_t> used = formats::CountTokenIds(file.bytes, StrCat(name, "/tokenizer.json"));
    if (used.ok()) out->attributes["vocab.used"] = StrCat(*used);
    const auto tokenizer = text::Tokenizer::FromJson(file.bytes);
    if (!tokenizer.ok()) {
      out->remarks.push_back(StrCat("kept, but not understood: ", tokenizer.status().message()));
    } else if (static_cast<int64_t>((*tokenizer)->size()) > rows) {
      out->remarks.push_back(
          StrCat("tokenizer.json has ids up to ", (*tokenizer)->size() - 1, ", the embedding ", rows, " rows"));
    }
  }
}

}  // namespace

TensorSource Source(const formats::CheckpointTensor& tensor, v1::StoreAs store_as) {
  TensorSource out;
  out.name = tensor.name;
  out.shape = tensor.shape;
  out.dtype = StoredAs(store_as, tensor.dtype, tensor.shape);
  out.elements = tensor.bytes.size() / DTypeBytes(tensor.dtype);
  out.bytes = tensor.bytes;
  if (out.dtype == tensor.dtype) return out;
  const char* data = tensor.bytes.data();
  const DType own = tensor.dtype;
  const formats::GgmlType type = own == DType::kF32   ? formats::GgmlType::kF32
                                 : own == DType::kF16 ? formats::GgmlType::kF16
                                                      : formats::GgmlType::kBF16;
  out.fill = [=](uint64_t first, uint64_t count, float* to) {
    formats::ToFloats(own, data + first * DTypeBytes(own), count, to);
  };
  out.reference = [=](uint64_t element) { return formats::DequantizeElement(type, data, element); };
  return out;
}

absl::StatusOr<Understood> UnderstandCheckpoint(const std::vector<formats::NamedBytes>& folder, std::string_view name,
                                                v1::StoreAs store_as) {
  ASSIGN_OR_RETURN(const formats::Checkpoint checkpoint, formats::ReadCheckpoint(folder, name));
  Understood out;
  out.format = "safetensors";
  out.architecture = checkpoint.architecture;
  out.remarks = checkpoint.remarks;
  bool changed = false;
  for (const formats::CheckpointTensor& tensor : checkpoint.tensors) {
    out.tensors.push_back(Source(tensor, store_as));
    changed |= out.tensors.back().dtype != tensor.dtype;
  }
  for (const formats::NamedBytes& file : checkpoint.files) {
    std::string content(file.bytes);
    if (changed && file.name == "config.json") {
      formats::Json config = checkpoint.config;
      formats::SetConfigDType(MainDType(out.tensors), &config);
      content = formats::DumpJson(config);
    }
    out.files.emplace_back(std::string(file.name), std::move(content));
  }
  if (!out.architecture.empty()) out.attributes["architecture"] = out.architecture;
  const bool known = std::any_of(std::begin(kKnown), std::end(kKnown), [&](auto k) { return k == out.architecture; });
  if (!known && !out.architecture.empty()) {
    out.remarks.push_back(
        StrCat("architecture \"", out.architecture, "\" is kept, but edits that run the model do not know it"));
  }
  DescribeVocabulary(checkpoint, name, &out);
  return out;
}

}  // namespace editd::importer
