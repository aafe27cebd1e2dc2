#include "plugins/lib/generate/generator.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include "plugins/lib/generate/text_stream.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::generate {
namespace {

using Clock = std::chrono::steady_clock;
double Since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// An answer in the making.
struct Open {
  size_t prompt;
  nn::KeyValueCache cache;
  std::unique_ptr<TextStream> stream;
  std::vector<int32_t> occurred;  // Each token of prompt and answer once.
  std::vector<bool> seen;         // By token.
  int32_t last = 0;

  void Occur(int32_t token) {
    if (seen[token]) return;
    seen[token] = true;
    occurred.push_back(token);
  }
};

class Run {
 public:
  Run(nn::Decoder* decoder, nn::Stepper* stepper, const text::Tokenizer& tokenizer,
      const std::vector<std::vector<int32_t>>& prompts, const Settings& settings, const Listener& listener,
      Times* times)
      : decoder_(decoder),
        stepper_(stepper),
        tokenizer_(tokenizer),
        prompts_(prompts),
        settings_(settings),
        listener_(listener),
        times_(times),
        answers_(prompts.size()) {}

  absl::StatusOr<std::vector<Answer>> All() {
    const size_t room = std::clamp<int64_t>(settings_.batch, 1, nn::kBlockRows);
    size_t next = 0;
    std::vector<float> logits(room * stepper_->rows());
    for (;;) {
      while (open_.size() < room && next < prompts_.size()) RETURN_IF_ERROR(Begin(next++, logits.data()));
      if (open_.empty()) break;
      std::vector<nn::Stepper::Entry> entries;
      for (const auto& open : open_) entries.push_back({open->last, &open->cache});
      const auto begun = Clock::now();
      RETURN_IF_ERROR(stepper_->Step(entries, logits.data()));
      for (size_t i = 0; i < open_.size(); ++i) RETURN_IF_ERROR(Next(open_[i].get(), &logits[i * stepper_->rows()]));
      times_->decode_seconds += Since(begun);
      times_->decoded += open_.size();
      std::erase_if(open_, [](const auto& open) { return open->stream == nullptr; });
      RETURN_IF_ERROR(listener_.progress(times_->decoded + next));
    }
    return std::move(answers_);
  }

 private:
  absl::Status Begin(size_t prompt, float* logits) {
    auto open = std::make_unique<Open>();
    open->prompt = prompt;
    open->stream = std::make_unique<TextStream>(&tokenizer_, &settings_.stops);
    open->seen.resize(decoder_->config().vocab_size);
    const std::vector<int32_t>& ids = prompts_[prompt];
    const auto begun = Clock::now();
    const std::span<const int32_t> sequences[] = {ids};
    nn::KeyValueCache* const caches[] = {&open->cache};
    nn::HiddenStates hidden;
    RETURN_IF_ERROR(decoder_->Run(sequences, caches, &hidden));
    for (int32_t id : ids) {
      if (id < stepper_->rows()) open->Occur(id);
    }
    const void* const last[] = {hidden.row(0, static_cast<int64_t>(ids.size()) - 1)};
    RETURN_IF_ERROR(stepper_->Logits(last, logits));
    times_->prefill_seconds += Since(begun);
    times_->prefilled += ids.size();
    RETURN_IF_ERROR(Next(open.get(), logits));
    if (open->stream != nullptr) open_.push_back(std::move(open));
    return absl::OkStatus();
  }

  // Takes an answer's next token from its logits. An answer that has ended loses its stream.
  absl::Status Next(Open* open, float* logits) {
    const std::span<float> all(logits, stepper_->rows());
    // A sum is finite only if all are; a large finite sum is none to fear here.
    float sum = 0;
    for (float logit : all) sum += logit;
    if (!std::isfinite(sum)) {
      return absl::InvalidArgumentError(StrCat("prompt ", open->prompt, ": logits after ", open->cache.length,
                                               " tokens are not finite; the model's weights are broken or too large"));
    }
    Answer& answer = answers_[open->prompt];
    Penalize(settings_.sampling.repetition_penalty, open->occurred, all);
    const int32_t token = Choose(settings_.sampling, open->prompt, answer.tokens.size(), all);
    answer.tokens.push_back(token);
    open->last = token;
    open->Occur(token);
    const bool end =
        std::find(settings_.end_tokens.begin(), settings_.end_tokens.end(), token) != settings_.end_tokens.end();
    if (end) {
      answer.ending = Ending::kEnd;
    } else if (open->stream->Add(token)) {
      answer.ending = Ending::kStop;
      answer.stop = open->stream->stop();
    } else if (static_cast<int64_t>(answer.tokens.size()) >= settings_.max_tokens) {
      answer.ending = Ending::kMaxTokens;
    } else if (open->cache.length >= decoder_->config().max_position_embeddings) {
      answer.ending = Ending::kContext;  // The token just made has no position left to go on from.
    } else {
      listener_.text(open->prompt, open->stream->Take());
      return absl::OkStatus();
    }
    open->stream->End();
    listener_.text(open->prompt, open->stream->Take());
    answer.text = open->stream->text();
    open->stream.reset();
    return absl::OkStatus();
  }

  nn::Decoder* const decoder_;
  nn::Stepper* const stepper_;
  const text::Tokenizer& tokenizer_;
  const std::vector<std::vector<int32_t>>& prompts_;
  const Settings& settings_;
  const Listener& listener_;
  Times* const times_;
  std::vector<Answer> answers_;
  std::vector<std::unique_ptr<Open>> open_;
};

}  // namespace

absl::StatusOr<std::vector<Answer>> Generate(nn::Decoder* decoder, nn::Stepper* stepper,
                                             const text::Tokenizer& tokenizer,
                                             const std::vector<std::vector<int32_t>>& prompts, const Settings& settings,
                                             const Listener& listener, Times* times) {
  return Run(decoder, stepper, tokenizer, prompts, settings, listener, times).All();
}

}  // namespace editd::generate
