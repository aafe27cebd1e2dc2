// A GGUF file as a version: tensors decoded and put into Hugging Face's order and names, tokenizer and configuration
// written out as the files that Hugging Face's tools read.
#include "plugins/import/source.h"
#include "plugins/lib/formats/dequantize.h"
#include "plugins/lib/formats/gguf.h"
#include "plugins/lib/formats/gguf_model.h"
#include "plugins/lib/formats/gguf_tokenizer.h"
#include "plugins/lib/text/tokenizer.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::importer {
namespace {

struct Converted {
  formats::GgufFile file;
  formats::GgufModel model;
};

DType OwnDType(formats::GgmlType type) {
  if (type == formats::GgmlType::kF16) return DType::kF16;
  return type == formats::GgmlType::kBF16 ? DType::kBF16 : DType::kF32;
}

TensorSource Source(const formats::GgufSource& from, v1::StoreAs store_as) {
  const formats::GgufTensor& tensor = *from.tensor;
  const formats::GgmlTypeTraits& traits = formats::TraitsOf(tensor.type);
  TensorSource out;
  out.name = from.name;
  out.shape = from.shape;
  out.dtype = StoredAs(store_as, OwnDType(tensor.type), from.shape);
  out.elements = static_cast<uint64_t>(tensor.Elements());
  out.bytes = tensor.bytes;
  const float surplus = from.surplus;
  const bool plain = traits.block == 1 && from.heads == 0 && surplus == 0 && OwnDType(tensor.type) == out.dtype;
  if (plain) return out;
  const char* data = tensor.bytes.data();
  const formats::GgmlType type = tensor.type;
  if (from.heads == 0) {
    out.step = traits.block;
    out.fill = [=](uint64_t first, uint64_t count, float* to) {
      formats::Dequantize(type, data + first / traits.block * traits.bytes, count, to);
      for (uint64_t i = 0; surplus != 0 && i < count; ++i) to[i] -= surplus;
    };
    out.reference = [=](uint64_t element) { return formats::DequantizeElement(type, data, element) - surplus; };
    return out;
  }
  const auto width = static_cast<uint64_t>(from.Width());
  const uint64_t row_bytes = width / traits.block * traits.bytes;
  out.in_order = false;
  out.step = width;
  out.fill = [=, &from](uint64_t first, uint64_t count, float* to) {
    for (uint64_t row = first / width; row < (first + count) / width; ++row, to += width) {
      formats::Dequantize(type, data + static_cast<uint64_t>(from.SourceRow(static_cast<int64_t>(row))) * row_bytes,
                          width, to);
    }
  };
  // By the other direction: where llama.cpp's converter put this row. It viewed a head's rows as 2 x half and swapped
  // the two dimensions.
  const uint64_t half = static_cast<uint64_t>(from.shape[0] / from.heads) / 2;
  out.reference = [=](uint64_t element) {
    const uint64_t row = element / width, head = row / (2 * half), side = row / half % 2, within = row % half;
    const uint64_t in_file = (head * half + within) * 2 + side;
    return formats::DequantizeElement(type, data, in_file * width + element % width);
  };
  return out;
}

// The tokenizer.json that was made gives each id the token that the file gives it.
absl::Status CheckTokenizer(const formats::GgufFile& file, const formats::GgufTokenizer& made, std::string_view name) {
  const auto bad = [&](std::string_view what) {
    return absl::InternalError(StrCat(name, ": the tokenizer that was made of it is wrong: ", what));
  };
  const auto tokenizer = text::Tokenizer::FromJson(made.files[0].second);
  if (!tokenizer.ok()) return bad(ToStd(tokenizer.status().message()));
  const auto& tokens = file.Array("tokenizer.ggml.tokens", formats::GgufType::kString)->strings;
  for (int64_t id = 0; id < made.used; ++id) {
    const std::string_view token = (*tokenizer)->TokenText(static_cast<text::TokenId>(id));
    if (token != tokens[id]) return bad(StrCat("id ", id, " is \"", token, "\", not \"", tokens[id], "\""));
  }
  return absl::OkStatus();
}

absl::Status Finish(const Converted& converted, std::string_view name, Understood* out) {
  const formats::GgufModel& model = converted.model;
  ASSIGN_OR_RETURN(formats::GgufTokenizer tokenizer, formats::ConvertGgufTokenizer(converted.file, model.rows, name));
  RETURN_IF_ERROR(CheckTokenizer(converted.file, tokenizer, name));
  formats::Json config = model.config;
  formats::SetTokenIds(tokenizer, &config);
  formats::SetConfigDType(MainDType(out->tensors), &config);
  out->files = std::move(tokenizer.files);
  out->files.emplace_back("config.json", formats::DumpJson(config));
  out->remarks = std::move(tokenizer.remarks);
  out->attributes = {{"architecture", model.architecture},
                     {"vocab.rows", StrCat(model.rows)},
                     {"vocab.used", StrCat(tokenizer.used)},
                     {"vocab.tied", model.tied ? "true" : "false"}};
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Understood> UnderstandGguf(std::string_view bytes, std::string_view name, v1::StoreAs store_as) {
  auto converted = std::make_shared<Converted>();
  ASSIGN_OR_RETURN(converted->file, formats::ReadGguf(bytes, name));
  ASSIGN_OR_RETURN(converted->model, formats::ConvertGgufModel(converted->file, name));
  const formats::GgufModel& model = converted->model;
  Understood out;
  out.format = StrCat("GGUF v", converted->file.version);
  out.architecture = model.architecture;
  for (const formats::GgufSource& source : model.tensors) out.tensors.push_back(Source(source, store_as));
  out.keep_alive = converted;
  out.finish = [converted, name = std::string(name)](Understood* rest) { return Finish(*converted, name, rest); };
  return out;
}

}  // namespace editd::importer
