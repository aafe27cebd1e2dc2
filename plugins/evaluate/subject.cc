#include "plugins/evaluate/subject.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/numbers.h"
#include "storage/base/strings.h"

namespace editd::evaluate {
namespace {

absl::Status Load(const SubjectFiles& files, const nn::WeightSource& weights, const nn::DecoderOptions& options,
                  Subject* subject) {
  if (files.config_json.empty()) return absl::InvalidArgumentError("the version has no config.json");
  if (files.tokenizer_json.empty()) return absl::InvalidArgumentError("the version has no tokenizer.json");
  ASSIGN_OR_RETURN(const nn::DecoderConfig config, nn::ParseDecoderConfig(files.config_json));
  ASSIGN_OR_RETURN(subject->tokenizer, text::Tokenizer::FromJson(files.tokenizer_json));
  const int64_t tokens = subject->tokenizer->size();
  if (tokens > config.vocab_size) {
    return absl::InvalidArgumentError(
        StrCat("tokenizer.json has ids up to ", tokens - 1, ", the embedding only ", config.vocab_size, " rows"));
  }
  int64_t used = 0;
  if (!absl::SimpleAtoi(ToAbsl(files.rows_used), &used)) used = 0;
  subject->rows = std::clamp(used, tokens, config.vocab_size);

  std::vector<int64_t> candidates(subject->tokenizer->prefix().begin(), subject->tokenizer->prefix().end());
  candidates.resize(std::min<size_t>(candidates.size(), 1));
  candidates.push_back(config.bos_token_id);
  candidates.insert(candidates.end(), config.eos_token_ids.begin(), config.eos_token_ids.end());
  const auto first = std::find_if(candidates.begin(), candidates.end(), [&](int64_t id) {
    return id >= 0 && subject->tokenizer->HasToken(static_cast<text::TokenId>(std::min(id, tokens)));
  });
  if (first == candidates.end()) {
    return absl::InvalidArgumentError(
        "config.json names neither a beginning nor an end of text; set bos_token_id or eos_token_id, so that a "
        "document's first token can be scored");
  }
  subject->first_token = static_cast<int32_t>(*first);

  if (files.id_map.size() == static_cast<size_t>(config.vocab_size) * 4) {
    subject->parent_ids.resize(config.vocab_size);
    std::memcpy(subject->parent_ids.data(), files.id_map.data(), files.id_map.size());
  }
  ASSIGN_OR_RETURN(subject->decoder, nn::Decoder::Load(config, weights, options));
  return absl::OkStatus();
}

}  // namespace

absl::Status LoadSubject(const SubjectFiles& files, const nn::WeightSource& weights, const nn::DecoderOptions& options,
                         Subject* subject) {
  return Annotate(Load(files, weights, options, subject), subject->name);
}

}  // namespace editd::evaluate
