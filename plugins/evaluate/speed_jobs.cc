#include "plugins/evaluate/speed_jobs.h"

#include <algorithm>

#include "plugins/evaluate/speed.h"
#include "storage/base/memory.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::evaluate {
namespace {

namespace pb = plugins::evaluate::v1;

constexpr uint32_t kMostTokens = 1 << 17;
constexpr uint32_t kMostRepeats = 100;

}  // namespace

void CheckSpeed(const pb::EvaluateSpec& spec, Job& job) {
  if (!spec.has_speed()) return;
  const auto most = [&](const char* field, uint32_t value, uint32_t largest) {
    if (value > largest) job.Finding(field, StrCat(value, " is more than ", largest));
  };
  most("speed.prompt_tokens", spec.speed().prompt_tokens(), kMostTokens);
  most("speed.tokens", spec.speed().tokens(), kMostTokens);
  most("speed.batch", spec.speed().batch(), nn::kBlockRows);
  most("speed.repeats", spec.speed().repeats(), kMostRepeats);
}

absl::Status MeasureSpeeds(const pb::EvaluateSpec& spec, const std::vector<Subject>& subjects, const StartTimes& times,
                           Job& job, pb::EvaluateResult* result) {
  int64_t half = kMostTokens;  // Of the positions that all models have.
  for (const Subject& subject : subjects) half = std::min(half, subject.decoder->config().max_position_embeddings / 2);
  half = std::max<int64_t>(1, half);
  SpeedSettings settings;
  settings.prompt = spec.speed().prompt_tokens() > 0 ? spec.speed().prompt_tokens() : std::min<int64_t>(512, half);
  settings.tokens = spec.speed().tokens() > 0 ? spec.speed().tokens() : std::min<int64_t>(64, half);
  settings.batch = spec.speed().batch();
  settings.repeats = spec.speed().repeats() > 0 ? spec.speed().repeats() : 5;

  pb::SpeedResult* const out = result->mutable_speed();
  out->set_machine(MachineText());
  out->set_threads(static_cast<uint32_t>(subjects[0].decoder->threads()));
  out->set_compute(spec.compute() == pb::COMPUTE_TYPE_BF16 ? pb::COMPUTE_TYPE_BF16 : pb::COMPUTE_TYPE_F32);
  const bool plain = subjects[0].decoder->gemm() == nn::PortableBlockGemm(subjects[0].decoder->compute());
  out->set_products(plain ? "plain" : "libtorch");
  out->set_prompt_tokens(static_cast<uint32_t>(settings.prompt));
  out->set_tokens(static_cast<uint32_t>(settings.tokens));
  out->set_batch(static_cast<uint32_t>(settings.batch));
  out->set_repeats(static_cast<uint32_t>(settings.repeats));
  out->set_start_seconds(times.start_seconds);
  out->set_products_seconds(times.products_seconds);
  const uint64_t steps = subjects.size() * settings.repeats;
  for (size_t i = 0; i < subjects.size(); ++i) {
    const Subject& subject = subjects[i];
    const auto measured = MeasureSpeed(subject.decoder.get(), subject.rows, settings, [&](int64_t repeat) {
      job.Progress("speed", i * settings.repeats + repeat, steps, "repeats");
      return job.CheckStop();
    });
    if (!measured.ok()) return Annotate(measured.status(), subject.name);
    pb::SpeedOfVersion* const speed = out->add_speed();
    speed->set_model(subject.name);
    speed->set_version(subject.version);
    speed->set_load_seconds(times.load_seconds[i]);
    speed->set_first_seconds(measured->first_seconds);
    speed->set_first_logit_seconds(times.start_seconds + times.products_seconds + times.load_seconds[i] +
                                   measured->first_seconds);
    speed->set_prefill_best(measured->prefill.best());
    speed->set_prefill_median(measured->prefill.median());
    speed->set_decode_best(measured->decode.best());
    speed->set_decode_median(measured->decode.median());
    speed->set_batch_decode_best(measured->decode_batch.best());
    speed->set_batch_decode_median(measured->decode_batch.median());
    uint64_t bytes = 0;
    for (const Tensor& tensor : job.model(i).tensors) bytes += tensor.size;
    speed->set_weight_bytes(bytes);
    speed->set_cache_bytes_per_token(nn::CacheBytesPerToken(subject.decoder->config(), subject.decoder->compute()));
    out->set_anonymous_bytes(std::max(out->anonymous_bytes(), measured->anonymous_bytes));
  }
  out->set_peak_rss_bytes(PeakResidentBytes("self"));
  return absl::OkStatus();
}

}  // namespace editd::evaluate
