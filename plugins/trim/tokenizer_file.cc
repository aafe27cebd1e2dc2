#include "plugins/trim/tokenizer_file.h"

#include <charconv>

#include "nlohmann/json.hpp"
#include "storage/base/strings.h"

namespace editd::trim {
namespace {

using Json = nlohmann::ordered_json;

constexpr int32_t kMaxId = 1 << 24;  // Far above any vocabulary; bounds what a lying file can make us allocate.

absl::StatusOr<int32_t> ParseId(std::string_view value, std::string_view where) {
  int32_t id = -1;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), id);
  if (error != std::errc() || end != value.data() + value.size() || id < 0 || id >= kMaxId) {
    return absl::InvalidArgumentError(StrCat("tokenizer.json: ", where, ": ", value.substr(0, 40), " is no token id"));
  }
  return id;
}

absl::StatusOr<int64_t> Mapped(const Json& id, const IdMap& map, std::string_view where) {
  if (!id.is_number_integer()) {
    return absl::InvalidArgumentError(StrCat("tokenizer.json: ", where, ": ", id.dump(), " is no token id"));
  }
  const int64_t old = id.get<int64_t>();
  if (old < 0 || old >= static_cast<int64_t>(map.size()) || map[static_cast<size_t>(old)] < 0) {
    return absl::FailedPreconditionError(
        StrCat("tokenizer.json: ", where, " names token ", old, ", which is not kept"));
  }
  return map[static_cast<size_t>(old)];
}

absl::Status RewriteProcessor(Json* processor, const IdMap& map, const std::string& where) {
  if (!processor->is_object()) return absl::OkStatus();
  const std::string type = processor->value("type", "");
  if (type == "Sequence" && processor->contains("processors") && (*processor)["processors"].is_array()) {
    int i = 0;
    for (Json& inner : (*processor)["processors"]) {
      RETURN_IF_ERROR(RewriteProcessor(&inner, map, StrCat(where, ".processors[", i++, "]")));
    }
  } else if (type == "TemplateProcessing" && processor->contains("special_tokens")) {
    for (auto& [name, token] : (*processor)["special_tokens"].items()) {
      if (!token.is_object() || !token.contains("ids")) continue;
      for (Json& id : token["ids"]) {
        ASSIGN_OR_RETURN(id, Mapped(id, map, StrCat(where, ".special_tokens.", name, ".ids")));
      }
    }
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    for (const char* end : {"sep", "cls"}) {
      if (!processor->contains(end) || !(*processor)[end].is_array() || (*processor)[end].size() != 2) continue;
      ASSIGN_OR_RETURN((*processor)[end][1], Mapped((*processor)[end][1], map, StrCat(where, ".", end)));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerFile> TokenizerFile::Open(std::string_view json) {
  TokenizerFile file;
  file.json_ = json;
  const auto top = formats::JsonObject(json);
  if (!top.ok()) return Annotate(top.status(), "tokenizer.json");
  const auto model_value = formats::JsonFind(*top, "model");
  if (!model_value) return absl::InvalidArgumentError("tokenizer.json: \"model\" is missing");
  const auto model = formats::JsonObject(*model_value);
  if (!model.ok()) return Annotate(model.status(), "tokenizer.json: model");
  const auto type = formats::JsonFind(*model, "type");
  if (type && *type != "\"BPE\"") {
    return absl::InvalidArgumentError(
        StrCat("tokenizer.json: model.type: ", *type, " cannot be trimmed; only \"BPE\" can"));
  }
  const auto vocabulary = formats::JsonFind(*model, "vocab");
  const auto merges = formats::JsonFind(*model, "merges");
  if (!vocabulary) return absl::InvalidArgumentError("tokenizer.json: model.vocab is missing");
  if (!merges) return absl::InvalidArgumentError("tokenizer.json: model.merges is missing");
  file.vocabulary_span_ = *vocabulary;
  file.merges_span_ = *merges;
  file.added_span_ = formats::JsonFind(*top, "added_tokens").value_or(std::string_view());
  file.post_processor_span_ = formats::JsonFind(*top, "post_processor").value_or(std::string_view());
  file.padding_span_ = formats::JsonFind(*top, "padding").value_or(std::string_view());
  RETURN_IF_ERROR(file.ReadVocabulary(*vocabulary));
  RETURN_IF_ERROR(file.ReadMerges(*merges));
  if (!file.added_span_.empty() && file.added_span_ != "null") RETURN_IF_ERROR(file.ReadAddedTokens(file.added_span_));
  return file;
}

absl::Status TokenizerFile::AddToken(int32_t id, std::string token, std::string_view where) {
  const size_t index = static_cast<size_t>(id);
  if (index >= tokens_.size()) {
    tokens_.resize(index + 1);
    exists_.resize(index + 1);
  }
  if (exists_[index]) {
    if (tokens_[index] == token) return absl::OkStatus();
    return absl::InvalidArgumentError(StrCat("tokenizer.json: ", where, ": id ", id, " belongs to both \"",
                                             tokens_[index], "\" and \"", token, "\""));
  }
  exists_[index] = true;
  ++token_count_;
  ids_.emplace(token, id);
  tokens_[index] = std::move(token);
  return absl::OkStatus();
}

absl::Status TokenizerFile::ReadVocabulary(std::string_view value) {
  const auto members = formats::JsonObject(value);
  if (!members.ok()) return Annotate(members.status(), "tokenizer.json: model.vocab");
  entries_.reserve(members->size());
  ids_.reserve(members->size());
  for (const formats::JsonMember& member : *members) {
    ASSIGN_OR_RETURN(const int32_t id, ParseId(member.value, StrCat("model.vocab.", member.key)));
    ASSIGN_OR_RETURN(std::string token, formats::JsonUnquote(member.key));
    RETURN_IF_ERROR(AddToken(id, std::move(token), "model.vocab"));
    entries_.push_back({member.key, id});
  }
  return absl::OkStatus();
}

absl::Status TokenizerFile::ReadMerges(std::string_view value) {
  auto elements = formats::JsonArray(value);
  if (!elements.ok()) return Annotate(elements.status(), "tokenizer.json: model.merges");
  merge_spans_ = *std::move(elements);
  merges_.reserve(merge_spans_.size());
  for (size_t i = 0; i < merge_spans_.size(); ++i) {
    const std::string where = StrCat("model.merges[", i, "]");
    std::string left, right;
    if (merge_spans_[i].front() == '[') {  // ["a", "b"]
      const auto pair = formats::JsonArray(merge_spans_[i]);
      if (!pair.ok() || pair->size() != 2) {
        return absl::InvalidArgumentError(StrCat("tokenizer.json: ", where, ": two tokens expected"));
      }
      ASSIGN_OR_RETURN(left, formats::JsonUnquote((*pair)[0]));
      ASSIGN_OR_RETURN(right, formats::JsonUnquote((*pair)[1]));
    } else {  // "a b"
      ASSIGN_OR_RETURN(const std::string both, formats::JsonUnquote(merge_spans_[i]));
      const size_t space = both.find(' ');
      if (space == std::string::npos || both.find(' ', space + 1) != std::string::npos) {
        return absl::InvalidArgumentError(StrCat("tokenizer.json: ", where, ": \"", both, "\" is not two tokens"));
      }
      left = both.substr(0, space);
      right = both.substr(space + 1);
    }
    const Merge merge = {Find(left), Find(right), Find(left + right)};
    if (merge.left < 0 || merge.right < 0 || merge.result < 0) {
      return absl::InvalidArgumentError(StrCat("tokenizer.json: ", where, ": \"",
                                               merge.left < 0    ? left
                                               : merge.right < 0 ? right
                                                                 : left + right,
                                               "\" is not in the vocabulary"));
    }
    merges_.push_back(merge);
  }
  return absl::OkStatus();
}

absl::Status TokenizerFile::ReadAddedTokens(std::string_view value) {
  auto elements = formats::JsonArray(value);
  if (!elements.ok()) return Annotate(elements.status(), "tokenizer.json: added_tokens");
  added_spans_ = *std::move(elements);
  for (size_t i = 0; i < added_spans_.size(); ++i) {
    const std::string where = StrCat("added_tokens[", i, "]");
    const auto members = formats::JsonObject(added_spans_[i]);
    if (!members.ok()) return Annotate(members.status(), StrCat("tokenizer.json: ", where));
    const auto id_value = formats::JsonFind(*members, "id");
    const auto content = formats::JsonFind(*members, "content");
    if (!id_value || !content) {
      return absl::InvalidArgumentError(StrCat("tokenizer.json: ", where, ": \"id\" or \"content\" is missing"));
    }
    AddedToken token;
    ASSIGN_OR_RETURN(token.id, ParseId(*id_value, StrCat(where, ".id")));
    ASSIGN_OR_RETURN(token.content, formats::JsonUnquote(*content));
    token.special = formats::JsonFind(*members, "special").value_or("false") == "true";
    RETURN_IF_ERROR(AddToken(token.id, token.content, where));
    added_.push_back(std::move(token));
  }
  return absl::OkStatus();
}

int32_t TokenizerFile::Find(const std::string& token) const {
  const auto it = ids_.find(token);
  return it == ids_.end() ? -1 : it->second;
}

absl::StatusOr<std::string> TokenizerFile::Rewrite(const IdMap& map) const {
  formats::JsonSplice splice(json_);
  const auto new_id = [&map](int32_t id) { return map[static_cast<size_t>(id)]; };

  std::string vocabulary = "{";
  const char* separator = "\n      ";
  for (const Entry& entry : entries_) {
    if (new_id(entry.id) < 0) continue;
    StrAppend(&vocabulary, separator, entry.key, ": ", new_id(entry.id));
    separator = ",\n      ";
  }
  vocabulary += "\n    }";
  splice.Replace(vocabulary_span_, std::move(vocabulary));

  std::string merges = "[";
  separator = "\n      ";
  for (size_t i = 0; i < merges_.size(); ++i) {
    if (!Keeps(map, merges_[i])) continue;
    StrAppend(&merges, separator, merge_spans_[i]);
    separator = ",\n      ";
  }
  merges += "\n    ]";
  splice.Replace(merges_span_, std::move(merges));

  if (!added_spans_.empty()) {
    std::string added = "[";
    separator = "\n    ";
    for (size_t i = 0; i < added_.size(); ++i) {
      if (new_id(added_[i].id) < 0) continue;
      ASSIGN_OR_RETURN(const std::vector<formats::JsonMember> members, formats::JsonObject(added_spans_[i]));
      formats::JsonSplice token(added_spans_[i]);
      token.Replace(*formats::JsonFind(members, "id"), StrCat(new_id(added_[i].id)));
      StrAppend(&added, separator, token.Apply());
      separator = ",\n    ";
    }
    added += "\n  ]";
    splice.Replace(added_span_, std::move(added));
  }

  if (!post_processor_span_.empty() && post_processor_span_ != "null") {
    ASSIGN_OR_RETURN(std::string processor, RewritePostProcessor(post_processor_span_, map));
    splice.Replace(post_processor_span_, std::move(processor));
  }
  if (!padding_span_.empty() && padding_span_ != "null") {
    ASSIGN_OR_RETURN(const std::vector<formats::JsonMember> padding, formats::JsonObject(padding_span_));
    if (const auto id = formats::JsonFind(padding, "pad_id")) {
      ASSIGN_OR_RETURN(const int32_t old, ParseId(*id, "padding.pad_id"));
      if (old >= id_limit() || new_id(old) < 0) {
        return absl::FailedPreconditionError(
            StrCat("tokenizer.json: padding.pad_id names token ", old, ", which is not kept"));
      }
      splice.Replace(*id, StrCat(new_id(old)));
    }
  }
  return splice.Apply();
}

absl::StatusOr<std::string> RewritePostProcessor(std::string_view value, const IdMap& map) {
  Json processor = Json::parse(value, nullptr, /*allow_exceptions=*/false);
  if (processor.is_discarded()) return absl::InvalidArgumentError("tokenizer.json: post_processor is not JSON");
  RETURN_IF_ERROR(RewriteProcessor(&processor, map, "post_processor"));
  return processor.dump(2);
}

}  // namespace editd::trim
