// The plugin "import": a GGUF file, a Hugging Face folder or a PEFT adapter becomes a version. Page: README.md beside
// this file.
#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "editd/plugin.hpp"
#include "editd/plugins/importer/v1/import.pb.h"
#include "plugins/import/source.h"
#include "plugins/import/tile_stream.h"
#include "plugins/lib/formats/adapter.h"
#include "plugins/lib/formats/convert.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::importer {
namespace {

// Tiles, the decoder's buffer, the tokenizer's text, and the host's chunks on their way to the pack (80 MB at most).
constexpr uint64_t kMemory = 160 << 20;

bool IsFolder(const std::vector<File>& files) { return files.size() != 1 || !files[0].name.empty(); }

std::string_view NameOf(const std::vector<File>& files) {
  return files[0].path.empty() ? files[0].value : files[0].path;
}

// How much larger a GGUF file may become, by what people write into its name: "Q4_K_M" has four bits an element and
// more. Wrong names only make the estimate of disk space wrong.
uint64_t Expansion(std::string_view name, v1::StoreAs store_as) {
  const uint64_t stored_bits = store_as == v1::STORE_AS_BF16 || store_as == v1::STORE_AS_F16 ? 16 : 32;
  for (const char bits : {'2', '3', '4', '5', '6', '8'}) {
    for (const char letter : {'Q', 'q'}) {
      if (name.find(std::string{letter, bits}) != std::string_view::npos) return stored_bits / (bits - '0') + 1;
    }
  }
  return 2;
}

}  // namespace

class Import : public Plugin<v1::ImportSpec, v1::ImportResult> {
 public:
  absl::Status Check(const v1::ImportSpec& spec, Job& job) override {
    const std::vector<File> files = job.FilesOf(spec.source());
    if (spec.source().empty() || files.empty()) {
      job.Finding("source", "names nothing to import; give a GGUF file, a Hugging Face folder or a PEFT adapter");
      return absl::OkStatus();
    }
    if (!v1::StoreAs_IsValid(spec.store_as())) {
      job.Finding("store_as", StrCat("is ", static_cast<int>(spec.store_as()), ", which is no element type"));
    }
    uint64_t bytes = 0;
    for (const File& file : files) bytes += file.size;
    if (IsFolder(files)) {
      const auto has = [&](std::string_view name) {
        return std::any_of(files.begin(), files.end(), [&](const File& f) { return f.name == name; });
      };
      if (!has("config.json") && has(formats::kAdapterConfig)) {
        if (!has(formats::kAdapterWeights) && has("adapter_model.bin")) {
          job.Finding("source", StrCat("\"", NameOf(files), "\" has its weights in adapter_model.bin, a pickle file, ",
                                       "which is not read; convert it to ", formats::kAdapterWeights));
        }
      } else if (!has("config.json")) {
        job.Finding("source", StrCat("\"", NameOf(files), "\" has no config.json; is it a Hugging Face model folder?"));
      }
      job.Estimate(kMemory, 2 * bytes);
    } else {
      job.Estimate(kMemory, bytes * Expansion(NameOf(files), spec.store_as()));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<v1::ImportResult> Run(const v1::ImportSpec& spec, Job& job) override {
    const std::vector<File> files = job.FilesOf(spec.source());
    if (files.empty()) return absl::InvalidArgumentError("params.source: names nothing to import");
    ASSIGN_OR_RETURN(Understood source, Understand(files, spec.store_as()));
    RETURN_IF_ERROR(WriteAndFinish(&source, job));
    for (const std::string& remark : source.remarks) job.Warning(remark);
    for (const auto& [name, content] : source.files) RETURN_IF_ERROR(job.AddFile(name, content));
    for (const auto& [key, value] : source.attributes) RETURN_IF_ERROR(job.SetAttribute(key, value));

    v1::ImportResult result;
    result.set_architecture(source.architecture);
    result.set_format(source.format);
    result.set_tensors(source.tensors.size());
    for (const TensorSource& tensor : source.tensors) result.set_parameters(result.parameters() + tensor.elements);
    result.mutable_remarks()->Add(source.remarks.begin(), source.remarks.end());
    return result;
  }

 private:
  // The tensors, and what else there is to understand meanwhile. A tokenizer that is not understood ends the writing.
  static absl::Status WriteAndFinish(Understood* source, Job& job) {
    std::atomic<bool> abandoned = false;
    if (!source->finish) return WriteTensors(source->tensors, job, abandoned);
    absl::Status finished;
    absl::Status written;
    {
      std::jthread beside([&] {
        finished = source->finish(source);
        abandoned = !finished.ok();
      });
      written = WriteTensors(source->tensors, job, abandoned);
    }
    RETURN_IF_ERROR(finished);
    return written;
  }

  static absl::StatusOr<Understood> Understand(const std::vector<File>& files, v1::StoreAs store_as) {
    const std::string_view name = NameOf(files);
    if (IsFolder(files)) {
      std::vector<formats::NamedBytes> folder;
      bool is_model = false, is_adapter = false;
      for (const File& file : files) {
        folder.push_back({file.name, file.content});
        is_model |= file.name == "config.json";
        is_adapter |= file.name == formats::kAdapterConfig;
      }
      if (is_adapter && !is_model) return UnderstandAdapter(folder, name, store_as);
      return UnderstandCheckpoint(folder, name, store_as);
    }
    for (const std::string_view end : {".bin", ".pt", ".pth", ".pkl"}) {
      if (name.ends_with(end)) {
        return absl::InvalidArgumentError(
            StrCat(name, ": is a pickle file, which is not read; convert the model to safetensors"));
      }
    }
    if (name.ends_with(".safetensors")) {
      return absl::InvalidArgumentError(
          StrCat(name, ": is weights alone; import the folder that it lies in, with its config.json"));
    }
    return UnderstandGguf(files[0].content, name, store_as);
  }
};

DType StoredAs(v1::StoreAs store_as, DType own, const std::vector<int64_t>& shape) {
  if (shape.size() < 2 || !formats::Convertible(own)) return own;
  switch (store_as) {
    case v1::STORE_AS_F32:
      return DType::kF32;
    case v1::STORE_AS_BF16:
      return DType::kBF16;
    case v1::STORE_AS_F16:
      return DType::kF16;
    default:
      return own;
  }
}

DType MainDType(const std::vector<TensorSource>& tensors) {
  std::array<uint64_t, std::size(kDTypes)> elements = {};
  for (const TensorSource& tensor : tensors) {
    if (tensor.shape.size() >= 2 && formats::Convertible(tensor.dtype)) {
      elements[static_cast<size_t>(tensor.dtype)] += tensor.elements;
    }
  }
  const auto most = std::max_element(elements.begin(), elements.end());
  return *most == 0 ? DType::kF32 : static_cast<DType>(most - elements.begin());
}

}  // namespace editd::importer

EDIT_PLUGIN("import", editd::importer::Import,
            {.version = "1.0.0",
             .summary = "takes a GGUF file, a Hugging Face folder or a PEFT adapter into the store",
             .makes_version = true});
