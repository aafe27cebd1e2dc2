#include "plugins/evaluate/choices.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "plugins/evaluate/documents.h"
#include "plugins/evaluate/stopwatch.h"
#include "plugins/lib/nn/head.h"
#include "plugins/lib/text/unicode.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::evaluate {
namespace {

constexpr uint64_t kTokensOfABatch = 4096;
constexpr uint64_t kBytesOfCaches = 256 << 20;

// Where the white space at the end of a text begins, as Python's str.rstrip has it.
size_t EndWithoutSpace(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t begin = end - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xc0) == 0x80) --begin;
    int length = 1;
    const uint32_t c = text::DecodeUtf8(text.data() + begin, text.data() + end, &length);
    if (!((c >= 0x1c && c <= 0x1f) || (text::CodePointFlags()[c] & text::kSpace) != 0)) break;
    end = begin;
  }
  return end;
}

std::vector<int32_t> Encode(const Subject& subject, std::string_view text, bool special_tokens) {
  const std::vector<text::TokenId> ids = subject.tokenizer->Encode(text, special_tokens);
  return {ids.begin(), ids.end()};
}

// As the harness encodes a text by itself: special tokens are added unless it begins with the first of them.
std::vector<int32_t> EncodeWhole(const Subject& subject, std::string_view text) {
  const auto first = static_cast<text::TokenId>(subject.first_token_of_lm_eval);
  return Encode(subject, text, !text.starts_with(subject.tokenizer->TokenBytes(first)));
}

// A question's choices as sequences for the decoder.
struct Prepared {
  size_t question = 0;
  std::vector<std::vector<int32_t>> input;         // Of each choice, without its last token.
  std::vector<std::vector<int32_t>> continuation;  // Scored; its tokens follow the last inputs.
  size_t shared = 0;                               // Tokens that all inputs begin with.
  bool truncated = false;

  uint64_t longest() const {
    size_t out = 0;
    for (const auto& ids : input) out = std::max(out, ids.size());
    return out;
  }
};

absl::StatusOr<Prepared> Prepare(const Subject& subject, const Question& question, const ChoiceSettings& settings,
                                 uint64_t context) {
  Prepared out;
  for (const std::string& text : Continuations(question, settings)) {
    const std::string letter(1, LetterOf(out.input.size()));
    EncodedPair pair = EncodePair(subject, question.prompt, StrCat(settings.delimiter, text));
    if (pair.continuation.empty()) {
      return absl::InvalidArgumentError(StrCat("choice ", letter, " has no token of its own after the prompt"));
    }
    if (pair.continuation.size() > context) {
      return absl::InvalidArgumentError(StrCat("choice ", letter, " has ", pair.continuation.size(),
                                               " tokens; that is more than the context of ", context));
    }
    std::vector<int32_t>& input = out.input.emplace_back(std::move(pair.context));
    input.insert(input.end(), pair.continuation.begin(), pair.continuation.end() - 1);
    if (input.size() > context) {
      out.truncated = true;
      input.erase(input.begin(), input.end() - static_cast<ptrdiff_t>(context));
    }
    out.continuation.push_back(std::move(pair.continuation));
  }
  const std::vector<int32_t>& first = out.input[0];
  out.shared = first.size();
  for (const auto& input : out.input) {
    const auto end = first.begin() + static_cast<ptrdiff_t>(std::min(out.shared, input.size()));
    out.shared = std::mismatch(first.begin(), end, input.begin()).first - first.begin();
  }
  return out;
}

// Tokens side by side, so that their keys and values stay within bounds.
uint64_t TokensSideBySide(const nn::Decoder& decoder) {
  const uint64_t bytes = nn::CacheBytesPerToken(decoder.config(), decoder.compute());
  return std::clamp<uint64_t>(kBytesOfCaches / std::max<uint64_t>(1, bytes), 256, kTokensOfABatch);
}

// Questions side by side.
absl::Status ScoreBatch(const Subject& subject, std::span<const Prepared> batch, ChoicesSoFar* so_far) {
  std::vector<nn::KeyValueCache> caches(batch.size());
  std::vector<nn::HiddenStates> runs;
  std::vector<std::vector<int64_t>> row;  // [choice][place in the batch]: the sequence of that run, or -1.
  size_t choices = 0;
  for (const Prepared& prepared : batch) choices = std::max(choices, prepared.input.size());
  runs.reserve(choices);
  for (size_t c = 0; c < choices; ++c) {
    std::vector<std::span<const int32_t>> sequences;
    std::vector<nn::KeyValueCache*> going_on;
    row.emplace_back(batch.size(), -1);
    for (size_t i = 0; i < batch.size(); ++i) {
      const Prepared& prepared = batch[i];
      if (c >= prepared.input.size()) continue;
      const size_t from = c == 0 ? 0 : prepared.shared;
      if (from == prepared.input[c].size()) continue;  // The first choice went over all of it.
      row[c][i] = static_cast<int64_t>(sequences.size());
      sequences.push_back(std::span(prepared.input[c]).subspan(from));
      caches[i].length = static_cast<int64_t>(from);
      going_on.push_back(&caches[i]);
      so_far->computed_tokens += sequences.back().size();
    }
    runs.emplace_back();
    if (!sequences.empty()) RETURN_IF_ERROR(subject.decoder->Run(sequences, going_on, &runs.back()));
  }
  std::vector<nn::Position> positions;
  for (size_t i = 0; i < batch.size(); ++i) {
    const Prepared& prepared = batch[i];
    for (size_t c = 0; c < prepared.input.size(); ++c) {
      const size_t before = prepared.input[c].size() - prepared.continuation[c].size();
      for (size_t k = 0; k < prepared.continuation[c].size(); ++k) {
        const size_t at = before + k;
        const size_t run = at < prepared.shared ? 0 : c;
        const size_t from = run == 0 ? 0 : prepared.shared;
        positions.push_back({runs[run].row(row[run][i], static_cast<int64_t>(at - from)), prepared.continuation[c][k]});
      }
    }
  }
  ASSIGN_OR_RETURN(const std::vector<nn::Score> found,
                   nn::ScoreTargets(*subject.decoder, positions, subject.decoder->config().vocab_size));
  auto next = found.begin();
  for (const Prepared& prepared : batch) {
    std::vector<double>& log_likelihood = so_far->log_likelihood[prepared.question];
    for (const auto& continuation : prepared.continuation) {
      double sum = 0;
      for (size_t k = 0; k < continuation.size(); ++k) sum -= (next++)->nll;
      log_likelihood.push_back(sum);
    }
  }
  return absl::OkStatus();
}

}  // namespace

EncodedPair EncodePair(const Subject& subject, std::string_view context, std::string_view continuation) {
  const size_t end = EndWithoutSpace(context);
  const std::string moved = StrCat(context.substr(end), continuation);
  context = context.substr(0, end);
  EncodedPair out;
  if (context.empty()) {
    out.context = {subject.first_token_of_lm_eval};
    out.continuation = Encode(subject, moved, /*special_tokens=*/false);
    if (!out.continuation.empty() && out.continuation[0] == out.context[0]) {
      out.continuation.erase(out.continuation.begin());
    }
    return out;
  }
  out.context = EncodeWhole(subject, context);
  const std::vector<int32_t> whole = EncodeWhole(subject, StrCat(context, moved));
  if (out.context.empty()) {  // The tokenizer has no token for any of it.
    out.context = {subject.first_token_of_lm_eval};
    out.continuation = whole;
  } else if (whole.size() > out.context.size()) {
    out.continuation.assign(whole.begin() + static_cast<ptrdiff_t>(out.context.size()), whole.end());
  }
  return out;
}

std::vector<std::string> Continuations(const Question& question, const ChoiceSettings& settings) {
  if (!settings.letters) return question.choices;
  std::vector<std::string> out;
  for (size_t i = 0; i < question.choices.size(); ++i) out.emplace_back(1, LetterOf(i));
  return out;
}

size_t Chosen(const ChoiceScore& score, std::span<const std::string> continuations, ChoiceNorm norm) {
  const auto value = [&](size_t i) {
    const double sum = score.log_likelihood[i];
    switch (norm) {
      case ChoiceNorm::kCharacters:
        return sum / static_cast<double>(CountCharacters(continuations[i]));
      case ChoiceNorm::kBytes:
        return sum / static_cast<double>(continuations[i].size());
      case ChoiceNorm::kTokens:
        return sum / score.tokens[i];
      default:
        return sum;
    }
  };
  size_t best = 0;
  for (size_t i = 1; i < continuations.size(); ++i) {
    if (value(i) > value(best)) best = i;
  }
  return best;
}

absl::StatusOr<ChoiceMeasurement> MeasureChoices(const Subject& subject, std::span<const Question> questions,
                                                 const ChoiceSettings& settings,
                                                 const std::function<std::string(const Question&)>& place,
                                                 const std::function<absl::Status()>& told, ChoicesSoFar* so_far) {
  ChoiceMeasurement out;
  const Stopwatch watch;
  const double seconds_before = so_far->seconds;
  out.context = settings.context > 0 ? settings.context : subject.decoder->config().max_position_embeddings;
  out.questions.resize(questions.size());
  std::vector<Prepared> prepared;
  for (size_t i = 0; i < questions.size(); ++i) {
    auto ready = Prepare(subject, questions[i], settings, out.context);
    if (!ready.ok()) return Annotate(ready.status(), StrCat(subject.name, ": ", place(questions[i])));
    out.questions[i].truncated = ready->truncated;
    for (const auto& continuation : ready->continuation) {
      out.questions[i].tokens.push_back(static_cast<uint32_t>(continuation.size()));
    }
    if (so_far->log_likelihood.contains(i)) continue;
    prepared.push_back(*std::move(ready));
    prepared.back().question = i;
  }
  // Questions of a like length side by side, the longest first.
  std::stable_sort(prepared.begin(), prepared.end(),
                   [](const Prepared& a, const Prepared& b) { return a.longest() > b.longest(); });
  const uint64_t room = TokensSideBySide(*subject.decoder);
  for (size_t first = 0; first < prepared.size();) {
    size_t end = first;
    for (uint64_t tokens = 0; end < prepared.size(); ++end) {
      tokens += prepared[end].longest();
      if (end > first && (settings.batch > 0 ? end - first >= settings.batch : tokens > room)) break;
    }
    const std::span<const Prepared> batch(prepared.data() + first, end - first);
    RETURN_IF_ERROR(ScoreBatch(subject, batch, so_far));
    for (const Prepared& each : batch) {
      for (double sum : so_far->log_likelihood[each.question]) {
        if (std::isfinite(sum)) continue;
        return absl::FailedPreconditionError(StrCat(subject.name, ": ", place(questions[each.question]),
                                                    ": no finite probability of a choice; its weights hold NaN or "
                                                    "infinity, or overflow"));
      }
    }
    first = end;
    so_far->seconds = seconds_before + watch.seconds();
    RETURN_IF_ERROR(told());
  }
  for (size_t i = 0; i < questions.size(); ++i) out.questions[i].log_likelihood = so_far->log_likelihood.at(i);
  return out;
}

}  // namespace editd::evaluate
