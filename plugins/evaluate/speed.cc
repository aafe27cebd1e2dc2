#include "plugins/evaluate/speed.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <span>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "plugins/evaluate/stopwatch.h"
#include "plugins/lib/nn/stepper.h"
#include "storage/base/file.h"
#include "storage/base/memory.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::evaluate {
namespace {

// One sequence or several: their prompts are read, then each goes on token by token.
class Sequences {
 public:
  Sequences(nn::Decoder* decoder, nn::Stepper* stepper, std::span<const int32_t> ids, int64_t count)
      : decoder_(decoder), stepper_(stepper), ids_(ids), caches_(count), logits_(count * stepper->rows()) {}

  absl::Status Prefill(int64_t tokens) {
    nn::HiddenStates hidden;
    for (size_t i = 0; i < caches_.size(); ++i) {
      const std::span<const int32_t> prompt[] = {ids_.subspan(0, tokens)};
      nn::KeyValueCache* const cache[] = {&caches_[i]};
      RETURN_IF_ERROR(decoder_->Run(prompt, cache, &hidden));
      const void* const last[] = {hidden.row(0, tokens - 1)};
      RETURN_IF_ERROR(stepper_->Logits(last, logits_.data()));
    }
    return absl::OkStatus();
  }
  absl::Status Decode(int64_t first, int64_t tokens) {
    std::vector<nn::Stepper::Entry> entries(caches_.size());
    for (int64_t t = first; t < first + tokens; ++t) {
      for (size_t i = 0; i < entries.size(); ++i) entries[i] = {ids_[t], &caches_[i]};
      RETURN_IF_ERROR(stepper_->Step(entries, logits_.data()));
    }
    return absl::OkStatus();
  }

 private:
  nn::Decoder* const decoder_;
  nn::Stepper* const stepper_;
  const std::span<const int32_t> ids_;
  std::vector<nn::KeyValueCache> caches_;
  std::vector<float> logits_;
};

}  // namespace

double Rates::best() const { return all.empty() ? 0 : *std::max_element(all.begin(), all.end()); }

double Rates::median() const {
  if (all.empty()) return 0;
  std::vector<double> sorted = all;
  std::sort(sorted.begin(), sorted.end());
  return (sorted[(sorted.size() - 1) / 2] + sorted[sorted.size() / 2]) / 2;
}

absl::StatusOr<Speed> MeasureSpeed(nn::Decoder* decoder, int64_t rows, const SpeedSettings& settings,
                                   const std::function<absl::Status(int64_t repeat)>& progress) {
  const int64_t longest = decoder->config().max_position_embeddings;
  if (settings.prompt + settings.tokens > longest) {
    return absl::InvalidArgumentError(StrCat("params.speed: ", settings.prompt, " tokens read and ", settings.tokens,
                                             " made are more than the ", longest, " positions of the model"));
  }
  std::vector<int32_t> ids(settings.prompt + settings.tokens);
  uint64_t state = 1;
  for (int32_t& id : ids) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    id = static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(rows));
  }
  Speed out;
  const Stopwatch first;
  nn::Stepper stepper(decoder, rows);
  RETURN_IF_ERROR(Sequences(decoder, &stepper, ids, 1).Prefill(1));
  out.first_seconds = first.seconds();
  for (int64_t repeat = 0; repeat < settings.repeats; ++repeat) {
    Sequences one(decoder, &stepper, ids, 1);
    const Stopwatch prefill;
    RETURN_IF_ERROR(one.Prefill(settings.prompt));
    out.prefill.all.push_back(static_cast<double>(settings.prompt) / prefill.seconds());
    const Stopwatch decode;
    RETURN_IF_ERROR(one.Decode(settings.prompt, settings.tokens));
    out.decode.all.push_back(static_cast<double>(settings.tokens) / decode.seconds());
    if (settings.batch > 0) {
      Sequences several(decoder, &stepper, ids, settings.batch);
      RETURN_IF_ERROR(several.Prefill(settings.prompt));
      const Stopwatch together;
      RETURN_IF_ERROR(several.Decode(settings.prompt, settings.tokens));
      out.decode_batch.all.push_back(static_cast<double>(settings.tokens * settings.batch) / together.seconds());
      out.anonymous_bytes = std::max(out.anonymous_bytes, AnonymousBytes("self"));
    }
    out.anonymous_bytes = std::max(out.anonymous_bytes, AnonymousBytes("self"));
    RETURN_IF_ERROR(progress(repeat + 1));
  }
  return out;
}

double ProcessSeconds() {
  const auto stat = ReadWholeFile("/proc/self/stat");
  if (!stat.ok()) return 0;
  // After the program's name, which may hold anything: state is the first, the start the twentieth.
  const size_t name = stat->rfind(") ");
  if (name == std::string::npos) return 0;
  const std::vector<std::string> fields = absl::StrSplit(stat->substr(name + 2), ' ');
  uint64_t ticks = 0;
  if (fields.size() < 20 || !absl::SimpleAtoi(fields[19], &ticks)) return 0;
  timespec now = {};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  const double seconds = static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
  return std::max(0.0, seconds - static_cast<double>(ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

std::string MachineText() {
  std::string model = "unknown processor";
  const auto info = ReadWholeFile("/proc/cpuinfo");
  for (const absl::string_view line : absl::StrSplit(info.ok() ? absl::string_view(*info) : "", '\n')) {
    if (!absl::StartsWith(line, "model name")) continue;
    const size_t colon = line.find(':');
    if (colon != absl::string_view::npos) model = std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
    break;
  }
  return StrCat(model, ", ", std::thread::hardware_concurrency(), " processors");
}

}  // namespace editd::evaluate
