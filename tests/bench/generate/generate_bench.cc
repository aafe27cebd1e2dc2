// Greedy decoding of a Hugging Face folder: our side of run.py. Prints one JSON object.
//
//   generate_bench FOLDER IDS.i32 f32|bf16 TOKENS BATCH THREADS
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "plugins/lib/nn/block_gemm_onednn.h"
#include "plugins/lib/nn/stepper.h"
#include "storage/base/memory.h"
#include "storage/base/strings.h"
#include "tests/model_folder.h"

namespace editd::nn {
namespace {

using Clock = std::chrono::steady_clock;
double Since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }
double Cpu() {
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

absl::Status Run(char** argv) {
  const std::string folder = argv[1];
  const Compute compute = std::string_view(argv[3]) == "bf16" ? Compute::kBF16 : Compute::kF32;
  const int64_t tokens = std::atoll(argv[4]), batch = std::atoll(argv[5]);
  ASSIGN_OR_RETURN(const ModelFolder model, ModelFolder::Open(folder));
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ReadIds(argv[2]));

  const auto begun = Clock::now();
  ASSIGN_OR_RETURN(const auto decoder, Decoder::Load(model.config(), model.source(),
                                                     {compute, std::atoi(argv[6]), OneDnnBlockGemm(compute)}));
  Stepper stepper(decoder.get(), model.config().vocab_size);
  const double load = Since(begun);
  std::vector<KeyValueCache> caches(batch);
  std::vector<float> logits(batch * model.config().vocab_size);
  std::vector<int32_t> last(batch);
  std::vector<int32_t> made;
  const auto prefill_begun = Clock::now();
  for (int64_t b = 0; b < batch; ++b) {
    HiddenStates hidden;
    const std::span<const int32_t> sequences[] = {ids};
    KeyValueCache* const cache[] = {&caches[b]};
    RETURN_IF_ERROR(decoder->Run(sequences, cache, &hidden));
    const void* const row[] = {hidden.row(0, static_cast<int64_t>(ids.size()) - 1)};
    RETURN_IF_ERROR(stepper.Logits(row, logits.data()));
    last[b] = static_cast<int32_t>(std::max_element(logits.begin(), logits.begin() + model.config().vocab_size) -
                                   logits.begin());
  }
  const double prefill = Since(prefill_begun);
  made.push_back(last[0]);
  double best = 1e9;
  const double cpu_before = Cpu();
  const auto decode_begun = Clock::now();
  for (int64_t t = 1; t < tokens; ++t) {
    const auto from = Clock::now();
    std::vector<Stepper::Entry> entries;
    for (int64_t b = 0; b < batch; ++b) entries.push_back({last[b], &caches[b]});
    RETURN_IF_ERROR(stepper.Step(entries, logits.data()));
    for (int64_t b = 0; b < batch; ++b) {
      const float* const row = &logits[b * model.config().vocab_size];
      last[b] = static_cast<int32_t>(std::max_element(row, row + model.config().vocab_size) - row);
    }
    made.push_back(last[0]);
    best = std::min(best, Since(from));
  }
  std::printf(
      "{\"tokens_per_second\": %.2f, \"best\": %.2f, \"cpu_ms_per_token\": %.3f, \"prefill_per_second\": %.1f, "
      "\"load_s\": %.3f, "
      "\"rss_mb\": %.1f, \"tokens\": [",
      static_cast<double>(batch * (tokens - 1)) / Since(decode_begun), static_cast<double>(batch) / best,
      (Cpu() - cpu_before) * 1000 / static_cast<double>(batch * (tokens - 1)),
      static_cast<double>(batch * ids.size()) / prefill, load,
      static_cast<double>(editd::PeakResidentBytes("self")) / (1 << 20));
  for (size_t i = 0; i < made.size(); ++i) std::printf("%s%d", i > 0 ? "," : "", made[i]);
  std::printf("]}\n");
  return absl::OkStatus();
}

}  // namespace
}  // namespace editd::nn

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: %s FOLDER IDS.i32 f32|bf16 TOKENS BATCH THREADS\n", argv[0]);
    return 2;
  }
  const absl::Status status = editd::nn::Run(argv);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
