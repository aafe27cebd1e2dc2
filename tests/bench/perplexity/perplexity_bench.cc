// Perplexity of a Hugging Face folder over windows of token ids: our side of run.py. Prints one JSON object.
//
//   perplexity_bench FOLDER IDS.i32 CONTEXT f32|bf16 BATCH THREADS

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "plugins/lib/nn/block_gemm_onednn.h"
#include "plugins/lib/nn/head.h"
#include "storage/base/memory.h"
#include "storage/base/strings.h"
#include "tests/model_folder.h"

namespace editd::nn {
namespace {

absl::Status Run(char** argv) {
  const std::string folder = argv[1];
  const int64_t context = std::atoll(argv[3]), batch = std::atoll(argv[5]);
  const Compute compute = std::string_view(argv[4]) == "bf16" ? Compute::kBF16 : Compute::kF32;
  ASSIGN_OR_RETURN(const ModelFolder model, ModelFolder::Open(folder));
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ReadIds(argv[2]));

  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::time_point since) {
    return std::chrono::duration<double>(Clock::now() - since).count();
  };
  const auto begun = Clock::now();
  ASSIGN_OR_RETURN(const auto decoder, Decoder::Load(model.config(), model.source(),
                                                     {compute, std::atoi(argv[6]), OneDnnBlockGemm(compute)}));
  const double load = seconds(begun);
  const int64_t windows = ids.size() / context;
  double nll = 0, best = 0, decode = 0;
  int64_t scored = 0;
  HiddenStates hidden;
  const auto started = Clock::now();
  for (int64_t w = 0; w < windows; w += batch) {
    const auto from = Clock::now();
    std::vector<std::span<const int32_t>> rows;
    for (int64_t i = w; i < std::min(w + batch, windows); ++i) rows.emplace_back(&ids[i * context], context);
    RETURN_IF_ERROR(decoder->Run(rows, &hidden));
    decode += seconds(from);
    std::vector<Position> positions;
    for (size_t i = 0; i < rows.size(); ++i) {
      for (int64_t t = 0; t + 1 < context; ++t) positions.push_back({hidden.row(i, t), rows[i][t + 1]});
    }
    ASSIGN_OR_RETURN(const std::vector<Score> scores, ScoreTargets(*decoder, positions, model.config().vocab_size));
    for (const Score& score : scores) nll += score.nll;
    scored += positions.size();
    best = std::max(best, static_cast<double>(rows.size() * context) / seconds(from));
  }
  std::printf(
      "{\"tokens_per_second\": %.1f, \"best\": %.1f, \"rss_mb\": %.1f, \"nll\": %.9f, \"load_s\": %.3f, "
      "\"decode_share\": %.3f}\n",
      windows * context / seconds(started), best, static_cast<double>(editd::PeakResidentBytes("self")) / (1 << 20),
      nll / scored, load, decode / seconds(started));
  return absl::OkStatus();
}

}  // namespace
}  // namespace editd::nn

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: %s FOLDER IDS.i32 CONTEXT f32|bf16 BATCH THREADS\n", argv[0]);
    return 2;
  }
  const absl::Status status = editd::nn::Run(argv);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
