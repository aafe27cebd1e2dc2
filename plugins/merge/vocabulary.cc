#include "plugins/merge/vocabulary.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "nlohmann/json.hpp"
#include "plugins/lib/formats/json_spans.h"
#include "plugins/merge/layout.h"
#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::merge {
namespace {

using text::TokenId;
using text::Tokenizer;

constexpr char kTokenizerFile[] = "tokenizer.json";
constexpr const char* kRoles[] = {"bos_token", "eos_token", "pad_token", "unk_token"};

// One input's tokens, found by bytes, by spelling and by role.
class Tokens {
 public:
  static absl::StatusOr<std::unique_ptr<Tokens>> Read(const Model& model) {
    const File* const file = model.FindFile(kTokenizerFile);
    if (file == nullptr) {
      return absl::InvalidArgumentError(
          StrCat("\"", NameOf(model), "\" has no tokenizer.json; its vocabulary can't be matched"));
    }
    auto tokenizer = Tokenizer::FromJson(file->content);
    if (!tokenizer.ok()) {
      return absl::InvalidArgumentError(StrCat("\"", NameOf(model), "\": ", ToStd(tokenizer.status().message())));
    }
    auto tokens = std::make_unique<Tokens>();
    tokens->tokenizer_ = *std::move(tokenizer);
    tokens->Index();
    if (const File* const config = model.FindFile("tokenizer_config.json")) tokens->ReadRoles(config->content);
    return tokens;
  }

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  // The byte that a token of the kind "<0x0A>" stands for.
  std::optional<uint8_t> ByteOf(TokenId id) const {
    const auto found = byte_of_.find(id);
    return found == byte_of_.end() ? std::nullopt : std::optional<uint8_t>(found->second);
  }
  bool IsText(TokenId id) const { return tokenizer_->InModel(id) && !tokenizer_->IsAdded(id); }

  // This model's token for what `id` is in `other`, or -1.
  int32_t Match(const Tokens& other, TokenId id) const {
    const Tokenizer& theirs = *other.tokenizer_;
    if (const auto byte = other.ByteOf(id)) {
      const std::optional<TokenId> own = tokenizer_->ByteTokenId(*byte);
      return own.has_value() ? static_cast<int32_t>(*own) : -1;
    }
    if (!other.IsText(id)) {
      const std::optional<TokenId> own = tokenizer_->IdOf(theirs.TokenText(id));
      if (own.has_value() && !ByteOf(*own).has_value()) return static_cast<int32_t>(*own);
      for (const char* role : kRoles) {
        const auto here = roles_.find(role);
        const auto there = other.roles_.find(role);
        if (here != roles_.end() && there != other.roles_.end() && there->second == id) {
          return static_cast<int32_t>(here->second);
        }
      }
    }
    return FindBytes(theirs.TokenBytes(id));
  }

 private:
  int32_t FindBytes(std::string_view bytes) const {
    if (const auto found = by_bytes_.find(bytes); found != by_bytes_.end()) return static_cast<int32_t>(found->second);
    if (bytes.size() != 1) return -1;
    const std::optional<TokenId> byte = tokenizer_->ByteTokenId(static_cast<uint8_t>(bytes[0]));
    return byte.has_value() ? static_cast<int32_t>(*byte) : -1;
  }

  void Index() {
    for (int byte = 0; byte < 256; ++byte) {
      const std::optional<TokenId> id = tokenizer_->ByteTokenId(static_cast<uint8_t>(byte));
      // "<0x0A>"; over a byte alphabet the token of a byte is a token like any other.
      if (id.has_value() && tokenizer_->TokenText(*id).starts_with("<0x"))
        byte_of_.emplace(*id, static_cast<uint8_t>(byte));
    }
    for (TokenId id = 0; id < tokenizer_->size(); ++id) {
      if (tokenizer_->HasToken(id) && !byte_of_.contains(id) && !tokenizer_->TokenBytes(id).empty()) {
        by_bytes_.emplace(tokenizer_->TokenBytes(id), id);  // The lowest id, if several have the same bytes.
      }
    }
  }

  void ReadRoles(std::string_view config) {
    const auto json = nlohmann::json::parse(config, nullptr, false);
    if (!json.is_object()) return;
    for (const char* role : kRoles) {
      if (!json.contains(role)) continue;
      const auto& value = json[role];
      const auto& content = value.is_object() && value.contains("content") ? value["content"] : value;
      if (!content.is_string()) continue;
      const std::optional<TokenId> id = tokenizer_->IdOf(content.get_ref<const std::string&>());
      if (id.has_value()) roles_.emplace(role, *id);
    }
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  std::unordered_map<std::string_view, TokenId> by_bytes_;
  std::unordered_map<TokenId, uint8_t> byte_of_;
  std::map<std::string, TokenId> roles_;
};

// The entry of a token that the owner's tokenizer.json gets beside its own.
std::string AddedEntry(TokenId id, std::string_view content, const text::AddedToken* like) {
  const auto flag = [](bool value) { return value ? "true" : "false"; };
  return StrCat("{\"id\": ", id, ", \"content\": ", formats::JsonQuote(content),
                ", \"single_word\": ", flag(like != nullptr && like->single_word),
                ", \"lstrip\": ", flag(like != nullptr && like->lstrip),
                ", \"rstrip\": ", flag(like != nullptr && like->rstrip),
                ", \"normalized\": ", flag(like != nullptr && like->normalized),
                ", \"special\": ", flag(like != nullptr && like->special), "}");
}

absl::StatusOr<std::string> WithAdded(std::string_view json, const std::vector<std::string>& entries) {
  ASSIGN_OR_RETURN(const std::vector<formats::JsonMember> members, formats::JsonObject(json));
  std::string all;
  for (const std::string& entry : entries) StrAppend(&all, all.empty() ? "" : ",\n    ", entry);
  formats::JsonSplice splice(json);
  const std::optional<std::string_view> added = formats::JsonFind(members, "added_tokens");
  if (!added.has_value()) {
    splice.Replace(json.substr(static_cast<size_t>(members[0].key.data() - json.data()), 0),
                   StrCat("\"added_tokens\": [", all, "],\n  "));
  } else {
    ASSIGN_OR_RETURN(const std::vector<std::string_view> own, formats::JsonArray(*added));
    splice.Replace(added->substr(added->size() - 1), StrCat(own.empty() ? "" : ", ", all, "]"));
  }
  return splice.Apply();
}

class Aligner {
 public:
  Aligner(const v1::Vocabulary& spec, const Job& job, size_t base) : spec_(spec), job_(job), base_(base) {}

  absl::StatusOr<Vocabulary> Align() {
    for (size_t i = 0; i < job_.models().size(); ++i) {
      ASSIGN_OR_RETURN(auto tokens, Tokens::Read(job_.model(i)));
      tokens_.push_back(std::move(tokens));
    }
    out_.owner = spec_.of() == v1::VOCABULARY_OF_INPUT ? FindInput(job_, spec_.input()).value_or(base_) : base_;
    RETURN_IF_ERROR(ListTokens());
    RETURN_IF_ERROR(ReadRules());
    MapRows();
    return std::move(out_);
  }

 private:
  // Where the result's tokens are from.
  struct Origin {
    size_t model;
    TokenId id;
  };

  absl::Status ListTokens() {
    const Tokenizer& own = tokens_[out_.owner]->tokenizer();
    for (TokenId id = 0; id < own.size(); ++id) origins_.push_back({out_.owner, id});
    if (spec_.of() == v1::VOCABULARY_OF_UNION) RETURN_IF_ERROR(AddOthers());
    out_.used = static_cast<int64_t>(origins_.size());
    const int64_t multiple = std::max<int64_t>(1, spec_.pad_to_multiple());
    out_.rows = (out_.used + multiple - 1) / multiple * multiple;
    return absl::OkStatus();
  }

  absl::Status AddOthers() {
    std::vector<std::string> entries;
    std::set<std::string, std::less<>> contents;
    for (size_t model = 0; model < tokens_.size(); ++model) {
      if (model == out_.owner) continue;
      const Tokens& theirs = *tokens_[model];
      size_t added = 0, impossible = 0;
      for (TokenId id = 0; id < theirs.tokenizer().size(); ++id) {
        if (!theirs.tokenizer().HasToken(id) || tokens_[out_.owner]->Match(theirs, id) >= 0) continue;
        const bool text = theirs.IsText(id);
        const std::string_view content = text ? theirs.tokenizer().TokenBytes(id) : theirs.tokenizer().TokenText(id);
        // A byte alphabet's letter for 0xE9 is spelled "é", which is what the token of that letter would be added as.
        const bool taken = text && tokens_[out_.owner]->tokenizer().IdOf(content).has_value();
        if (content.empty() || theirs.ByteOf(id).has_value() || !IsUtf8(content) || taken) {
          ++impossible;
          continue;
        }
        if (!contents.emplace(content).second) continue;
        const text::AddedToken* like = nullptr;
        for (const text::AddedToken& token : theirs.tokenizer().added_tokens()) {
          if (!text && token.id == id) like = &token;
        }
        entries.push_back(AddedEntry(static_cast<TokenId>(origins_.size()), content, like));
        origins_.push_back({model, id});
        ++added;
      }
      const std::string name = StrCat("\"", NameOf(job_.model(model)), "\"");
      if (added > 0) out_.notes.push_back(StrCat(added, " tokens of ", name, " are added to the vocabulary"));
      if (impossible > 0) {
        out_.notes.push_back(StrCat(impossible, " tokens of ", name,
                                    " are left out: they are no whole characters, which an added token is, or spelled "
                                    "as one that means something else"));
      }
    }
    if (entries.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(out_.tokenizer_json, WithAdded(job_.model(out_.owner).FindFile(kTokenizerFile)->content, entries));
    return absl::OkStatus();
  }

  absl::Status ReadRules() {
    for (int i = 0; i < spec_.token_size(); ++i) {
      const v1::TokenRow& rule = spec_.token(i);
      const std::string path = StrCat("params.vocabulary.token[", i, "]");
      Rule made;
      made.force = rule.force();
      int64_t target = -1;
      for (size_t k = 0; k < origins_.size() && target < 0; ++k) {
        const Origin& origin = origins_[k];
        if (tokens_[origin.model]->tokenizer().TokenText(origin.id) == rule.token()) target = static_cast<int64_t>(k);
      }
      if (target < 0) {
        return absl::InvalidArgumentError(StrCat(path, ".token: the result has no token \"", rule.token(), "\""));
      }
      const Origin& origin = origins_[static_cast<size_t>(target)];
      if (rule.row_case() == v1::TokenRow::kInput || rule.row_case() == v1::TokenRow::kOther) {
        const std::string& input = rule.has_other() ? rule.other().input() : rule.input();
        const std::optional<size_t> model = FindInput(job_, input);
        if (!model.has_value()) return absl::InvalidArgumentError(StrCat(path, ": no input \"", input, "\""));
        const Tokens& theirs = *tokens_[*model];
        int32_t row = -1;
        if (rule.row_case() == v1::TokenRow::kInput) {
          row = origin.model == *model ? static_cast<int32_t>(origin.id)
                                       : theirs.Match(*tokens_[origin.model], origin.id);
        } else if (rule.other().which_case() == v1::OtherToken::kId) {
          row = theirs.tokenizer().HasToken(rule.other().id()) ? static_cast<int32_t>(rule.other().id()) : -1;
        } else if (const auto id = theirs.tokenizer().IdOf(rule.other().token())) {
          row = static_cast<int32_t>(*id);
        }
        if (row < 0) {
          return absl::InvalidArgumentError(StrCat(path, ": \"", input, "\" has no such token"));
        }
        made.list.push_back({static_cast<uint32_t>(*model), row});
      }
      made.given = rule.row_case() != v1::TokenRow::ROW_NOT_SET;
      rules_[static_cast<size_t>(target)] = std::move(made);
    }
    return absl::OkStatus();
  }

  void MapRows() {
    const size_t models = tokens_.size();
    out_.models.resize(models);
    for (RowMap& map : out_.models) map.rows.reserve(static_cast<size_t>(out_.rows));
    std::vector<int32_t> rows(models);
    for (size_t token = 0; token < origins_.size(); ++token) {
      const Origin& origin = origins_[token];
      const bool exists = tokens_[origin.model]->tokenizer().HasToken(origin.id);
      std::vector<RowOf> have;
      for (size_t model = 0; model < models; ++model) {
        rows[model] = !exists                 ? -1
                      : model == origin.model ? static_cast<int32_t>(origin.id)
                                              : tokens_[model]->Match(*tokens_[origin.model], origin.id);
        if (rows[model] >= 0) have.push_back({static_cast<uint32_t>(model), rows[model]});
      }
      const auto rule = rules_.find(token);
      const bool ruled = rule != rules_.end() && rule->second.given;
      std::vector<RowOf> list = ruled ? rule->second.list : have;
      if (!ruled && rows[base_] >= 0) list = {{static_cast<uint32_t>(base_), rows[base_]}};
      for (size_t model = 0; model < models; ++model) {
        const bool own = rows[model] >= 0 && !(rule != rules_.end() && rule->second.force);
        out_.models[model].rows.push_back(own ? rows[model] : AddList(list, &out_.models[model]));
      }
    }
    for (RowMap& map : out_.models) {  // Padding.
      const int32_t zero = AddList({}, &map);
      map.rows.resize(static_cast<size_t>(out_.rows), zero);
    }
  }

  static int32_t AddList(std::vector<RowOf> list, RowMap* map) {
    map->lists.push_back(std::move(list));
    return -static_cast<int32_t>(map->lists.size());
  }

  struct Rule {
    std::vector<RowOf> list;
    bool given = false;
    bool force = false;
  };

  const v1::Vocabulary& spec_;
  const Job& job_;
  const size_t base_;
  std::vector<std::unique_ptr<Tokens>> tokens_;
  std::vector<Origin> origins_;
  std::map<size_t, Rule> rules_;
  Vocabulary out_;
};

}  // namespace

bool HasTokenRows(std::string_view tensor) {
  return tensor.ends_with("embed_tokens.weight") || tensor == "lm_head.weight" || tensor == "lm_head.bias";
}

absl::StatusOr<Vocabulary> AlignVocabularies(const v1::Vocabulary& spec, const Job& job, size_t base) {
  return Aligner(spec, job, base).Align();
}

absl::Status CheckSameVocabulary(const Job& job) {
  const File* first = nullptr;
  std::unique_ptr<Tokenizer> tokens;
  std::string_view name;
  for (size_t model = 0; model < job.models().size(); ++model) {
    const File* const file = job.model(model).FindFile(kTokenizerFile);
    if (file == nullptr) continue;
    if (first == nullptr) {
      first = file;
      name = NameOf(job.model(model));
      continue;
    }
    if (file->content == first->content) continue;
    if (tokens == nullptr) {
      auto read = Tokenizer::FromJson(first->content);
      if (!read.ok()) return absl::InvalidArgumentError(StrCat("\"", name, "\": ", ToStd(read.status().message())));
      tokens = *std::move(read);
    }
    const auto other = Tokenizer::FromJson(file->content);
    const std::string_view other_name = NameOf(job.model(model));
    if (!other.ok()) {
      return absl::InvalidArgumentError(StrCat("\"", other_name, "\": ", ToStd(other.status().message())));
    }
    for (TokenId id = 0; id < std::max(tokens->size(), (*other)->size()); ++id) {
      const std::string_view here = id < tokens->size() ? tokens->TokenText(id) : "";
      const std::string_view there = id < (*other)->size() ? (*other)->TokenText(id) : "";
      // A token that only one of them has is no conflict: added tokens take rows that were padding.
      if (here == there || here.empty() || there.empty()) continue;
      return absl::InvalidArgumentError(StrCat("token ", id, " is \"", ToValidUtf8(here, 80), "\" in \"", name,
                                               "\" and \"", ToValidUtf8(there, 80), "\" in \"", other_name,
                                               "\"; set params.vocabulary to match rows by token"));
    }
  }
  return absl::OkStatus();
}

}  // namespace editd::merge
