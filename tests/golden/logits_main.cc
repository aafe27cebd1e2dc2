// The decoder's logits for compare_decoder.py.
//
//   decoder_logits f32|bf16 FOLDER...
//
// Each folder is a Hugging Face checkpoint with ids.i32, the token ids of sequences, each followed by -1. Writes
// logits.f32 there: rows of vocab_size, position by position.
#include <cstdio>

#include "plugins/lib/nn/block_gemm_onednn.h"
#include "plugins/lib/nn/head.h"
#include "storage/base/strings.h"
#include "tests/model_folder.h"

namespace editd::nn {
namespace {

absl::Status Run(Compute compute, const std::string& folder) {
  ASSIGN_OR_RETURN(const ModelFolder model, ModelFolder::Open(folder));
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ReadIds(folder + "/ids.i32"));
  std::vector<std::span<const int32_t>> sequences;
  for (size_t begin = 0, i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0) continue;
    sequences.emplace_back(ids.data() + begin, i - begin);
    begin = i + 1;
  }
  ASSIGN_OR_RETURN(const auto decoder,
                   Decoder::Load(model.config(), model.source(), {compute, 2, OneDnnBlockGemm(compute)}));
  HiddenStates hidden;
  RETURN_IF_ERROR(decoder->Run(sequences, &hidden));
  std::vector<const void*> positions;
  for (size_t s = 0; s < sequences.size(); ++s) {
    for (size_t t = 0; t < sequences[s].size(); ++t) positions.push_back(hidden.row(s, t));
  }
  ASSIGN_OR_RETURN(const std::vector<float> logits, Logits(*decoder, positions));
  std::FILE* const out = std::fopen((folder + "/logits.f32").c_str(), "wb");
  if (out == nullptr) return absl::InternalError(StrCat(folder, "/logits.f32 cannot be written"));
  const bool written = std::fwrite(logits.data(), 4, logits.size(), out) == logits.size();
  return std::fclose(out) == 0 && written ? absl::OkStatus() : absl::InternalError("writing failed");
}

}  // namespace
}  // namespace editd::nn

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "decoder_logits f32|bf16 FOLDER...\n");
    return 2;
  }
  const auto compute = std::string_view(argv[1]) == "bf16" ? editd::nn::Compute::kBF16 : editd::nn::Compute::kF32;
  for (int i = 2; i < argc; ++i) {
    if (const absl::Status status = editd::nn::Run(compute, argv[i]); !status.ok()) {
      std::fprintf(stderr, "%s: %s\n", argv[i], std::string(status.message()).c_str());
      return 1;
    }
  }
  return 0;
}
