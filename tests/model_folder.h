// A Hugging Face folder with one model.safetensors, mapped, as the decoder reads it: for benchmarks and for programs
// that compare with transformers.
#ifndef EDITD_TESTS_MODEL_FOLDER_H_
#define EDITD_TESTS_MODEL_FOLDER_H_

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "plugins/lib/formats/safetensors.h"
#include "plugins/lib/nn/config.h"
#include "plugins/lib/nn/weights.h"
#include "storage/base/file.h"
#include "storage/base/status.h"

namespace editd::nn {

class ModelFolder {
 public:
  static absl::StatusOr<ModelFolder> Open(const std::string& folder) {
    ASSIGN_OR_RETURN(const std::string config_json, ReadWholeFile(folder + "/config.json"));
    ASSIGN_OR_RETURN(DecoderConfig config, ParseDecoderConfig(config_json));
    ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(folder + "/model.safetensors"));
    ASSIGN_OR_RETURN(const formats::SafetensorsHeader header,
                     formats::ReadSafetensors(file.view(), "model.safetensors"));
    std::map<std::string, TensorView, std::less<>> tensors;
    for (const auto& t : header.tensors) tensors[t.name] = {t.dtype, t.shape, file.data() + t.offset};
    return ModelFolder(std::move(config), std::move(file), std::move(tensors));
  }

  const DecoderConfig& config() const { return config_; }
  // This must outlive it.
  WeightSource source() const {
    return {[this](std::string_view name) -> std::optional<TensorView> {
      const auto found = tensors_.find(name);
      if (found == tensors_.end()) return std::nullopt;
      return found->second;
    }};
  }

 private:
  ModelFolder(DecoderConfig config, MappedFile file, std::map<std::string, TensorView, std::less<>> tensors)
      : config_(std::move(config)), file_(std::move(file)), tensors_(std::move(tensors)) {}

  DecoderConfig config_;
  MappedFile file_;
  std::map<std::string, TensorView, std::less<>> tensors_;
};

// Token ids as numpy's tofile writes int32.
inline absl::StatusOr<std::vector<int32_t>> ReadIds(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadWholeFile(path));
  std::vector<int32_t> ids(bytes.size() / 4);
  std::memcpy(ids.data(), bytes.data(), ids.size() * 4);
  return ids;
}

}  // namespace editd::nn

#endif  // EDITD_TESTS_MODEL_FOLDER_H_
