#include "plugins/evaluate/subject.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "absl/strings/numbers.h"
#include "storage/base/strings.h"
#include "storage/base/tree_hash.h"

namespace editd::evaluate {
namespace {

// What `files` call `key` ("bos_token"): a text or an object with "content". The id, or nothing.
std::optional<text::TokenId> NamedToken(const SubjectFiles& files, const text::Tokenizer& tokenizer, const char* key) {
  for (std::string_view json : {files.tokenizer_config_json, files.special_tokens_map_json}) {
    simdjson::dom::parser parser;
    simdjson::dom::element root, value;
    if (json.empty() || parser.parse(json.data(), json.size(), true).get(root)) continue;
    if (root[key].get(value)) continue;
    std::string_view content;
    if (value.get(content) && value["content"].get(content)) continue;
    if (const auto id = tokenizer.IdOf(content)) return id;
  }
  return std::nullopt;
}

absl::Status Load(const SubjectFiles& files, const nn::WeightSource& weights, const nn::DecoderOptions& options,
                  bool padding, Subject* subject) {
  if (files.config_json.empty()) return absl::InvalidArgumentError("the version has no config.json");
  if (files.tokenizer_json.empty()) return absl::InvalidArgumentError("the version has no tokenizer.json");
  ASSIGN_OR_RETURN(const nn::DecoderConfig config, nn::ParseDecoderConfig(files.config_json));
  ASSIGN_OR_RETURN(subject->tokenizer, text::Tokenizer::FromJson(files.tokenizer_json));
  subject->tokenizer_hash = Sha256::Of(files.tokenizer_json).Hex();
  const int64_t tokens = subject->tokenizer->size();
  if (tokens > config.vocab_size) {
    return absl::InvalidArgumentError(
        StrCat("tokenizer.json has ids up to ", tokens - 1, ", the embedding only ", config.vocab_size, " rows"));
  }
  int64_t used = 0;
  if (!absl::SimpleAtoi(ToAbsl(files.rows_used), &used)) used = 0;
  subject->rows = padding ? config.vocab_size : std::clamp(used, tokens, config.vocab_size);

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
  std::optional<text::TokenId> named = NamedToken(files, *subject->tokenizer, "bos_token");
  if (!named.has_value()) named = NamedToken(files, *subject->tokenizer, "eos_token");
  subject->first_token_of_lm_eval = named.has_value() ? static_cast<int32_t>(*named) : subject->first_token;

  if (files.id_map.size() == static_cast<size_t>(config.vocab_size) * 4) {
    subject->parent_ids.resize(config.vocab_size);
    std::memcpy(subject->parent_ids.data(), files.id_map.data(), files.id_map.size());
  }
  ASSIGN_OR_RETURN(subject->decoder, nn::Decoder::Load(config, weights, options));
  return absl::OkStatus();
}

}  // namespace

std::vector<uint16_t> Subject::Begins() const {
  std::vector<uint16_t> out(rows, nn::kNoByte);
  for (int64_t row = 0; row < rows; ++row) {
    const auto id = static_cast<text::TokenId>(row);
    if (!tokenizer->HasToken(id) || tokenizer->IsSpecial(id) || tokenizer->TokenBytes(id).empty()) continue;
    out[row] = static_cast<unsigned char>(tokenizer->TokenBytes(id)[0]);
  }
  return out;
}

absl::Status LoadSubject(const SubjectFiles& files, const nn::WeightSource& weights, const nn::DecoderOptions& options,
                         bool padding, Subject* subject) {
  return Annotate(Load(files, weights, options, padding, subject), subject->name);
}

}  // namespace editd::evaluate
