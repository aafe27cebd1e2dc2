// Logits-diff of two models against their perplexities apart, by the code of the plugin evaluate: in turns, the best of
// the rounds. Prints one line for each round and the ratios.
//
//   logits_diff_bench FOLDER_A FOLDER_B TOKENIZER.json TEXT f32|bf16 MAX_TOKENS THREADS ROUNDS
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "plugins/evaluate/measure.h"
#include "plugins/lib/nn/block_gemm_onednn.h"
#include "storage/base/strings.h"
#include "tests/model_folder.h"

namespace editd::evaluate {
namespace {

double Cpu() {
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

struct Cost {
  double seconds = 1e9, cpu = 1e9;
};

absl::Status Run(char** argv) {
  const nn::Compute compute = std::string_view(argv[5]) == "bf16" ? nn::Compute::kBF16 : nn::Compute::kF32;
  ASSIGN_OR_RETURN(const nn::ModelFolder a, nn::ModelFolder::Open(argv[1]));
  ASSIGN_OR_RETURN(const nn::ModelFolder b, nn::ModelFolder::Open(argv[2]));
  ASSIGN_OR_RETURN(const std::string tokenizer, ReadWholeFile(argv[3]));
  ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(argv[4]));
  Settings settings;
  settings.stride = settings.context;
  settings.max_tokens = std::strtoull(argv[6], nullptr, 10);
  const nn::DecoderOptions options = {compute, std::atoi(argv[7]), nn::OneDnnBlockGemm(compute)};
  Subject subjects[2];
  const nn::ModelFolder* const folders[2] = {&a, &b};
  for (int i = 0; i < 2; ++i) {
    subjects[i].name = argv[1 + i];
    ASSIGN_OR_RETURN(const std::string config, ReadWholeFile(StrCat(argv[1 + i], "/config.json")));
    RETURN_IF_ERROR(
        LoadSubject({config, tokenizer, {}, {}, {}, {}}, folders[i]->source(), options, false, &subjects[i]));
  }
  const RowPairs rows = MatchRows(subjects[0], subjects[1]);
  double kl = 0;
  const auto measure = [&](std::vector<Subject*> of, Cost* best) -> absl::Status {
    Documents documents({of.begin(), of.end()}, settings);
    documents.Add(0, 0, text);
    RETURN_IF_ERROR(documents.Finish());
    const double cpu = Cpu();
    const auto begun = std::chrono::steady_clock::now();
    ASSIGN_OR_RETURN(const Measurement measured, Measure(of, of.size() == 2 ? &rows : nullptr, documents, settings,
                                                         [](double, uint64_t, uint64_t) { return absl::OkStatus(); }));
    best->cpu = std::min(best->cpu, Cpu() - cpu);
    best->seconds =
        std::min(best->seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
    if (measured.diff.has_value()) kl = measured.diff->kl / static_cast<double>(measured.diff->positions);
    return absl::OkStatus();
  };
  Cost apart[2], together;
  for (int round = 0; round < std::atoi(argv[8]); ++round) {
    RETURN_IF_ERROR(measure({&subjects[0]}, &apart[0]));
    RETURN_IF_ERROR(measure({&subjects[0], &subjects[1]}, &together));
    RETURN_IF_ERROR(measure({&subjects[1]}, &apart[1]));
    std::printf("best so far: apart %.3f + %.3f s, together %.3f s: %.3fx; cpu %.3f + %.3f s, %.3f s: %.3fx\n",
                apart[0].seconds, apart[1].seconds, together.seconds,
                together.seconds / (apart[0].seconds + apart[1].seconds), apart[0].cpu, apart[1].cpu, together.cpu,
                together.cpu / (apart[0].cpu + apart[1].cpu));
    std::fflush(stdout);
  }
  std::printf("%s logits-diff: %.3fx the time of the perplexities apart, %.3fx the processor time (kl %.6g)\n", argv[5],
              together.seconds / (apart[0].seconds + apart[1].seconds), together.cpu / (apart[0].cpu + apart[1].cpu),
              kl);
  return absl::OkStatus();
}

}  // namespace
}  // namespace editd::evaluate

int main(int argc, char** argv) {
  if (argc != 9) {
    std::fprintf(stderr, "usage: %s FOLDER_A FOLDER_B TOKENIZER.json TEXT f32|bf16 MAX_TOKENS THREADS ROUNDS\n",
                 argv[0]);
    return 2;
  }
  const absl::Status status = editd::evaluate::Run(argv);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
