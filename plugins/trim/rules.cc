#include "plugins/trim/rules.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "plugins/lib/text/allowed_scripts.h"
#include "plugins/lib/text/corpus.h"
#include "plugins/lib/text/count.h"
#include "plugins/lib/text/unicode.h"
#include "plugins/trim/remap_files.h"
#include "plugins/trim/template_text.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::trim {
namespace {

using editd::plugins::trim::v1::TrimResult;
using editd::plugins::trim::v1::TrimSpec;

// The chat templates of a model: chat_template.jinja, and those inside tokenizer_config.json.
std::vector<std::string> ChatTemplates(const Model& model) {
  std::vector<std::string> templates;
  if (const File* file = model.FindFile("chat_template.jinja")) templates.emplace_back(file->content);
  for (const char* name : {"tokenizer_config.json", "chat_template.json"}) {
    const File* file = model.FindFile(name);
    if (file == nullptr) continue;
    const auto json = nlohmann::json::parse(file->content, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("chat_template")) continue;
    const auto& value = json["chat_template"];
    if (value.is_string()) templates.push_back(value.get<std::string>());
    if (!value.is_array()) continue;
    for (const auto& named : value) {
      if (named.is_object() && named.contains("template") && named["template"].is_string()) {
        templates.push_back(named["template"].get<std::string>());
      }
    }
  }
  return templates;
}

// Bytes, added tokens, ids with a role, and what the chat templates say themselves.
absl::Status KeepAlways(const Model& model, const text::Tokenizer& tokenizer, const TokenizerFile& file,
                        KeepSet* keep) {
  keep->KeepLeavesAndAdded(tokenizer.Leaves());
  for (const char* name : {"config.json", "generation_config.json"}) {
    const File* config = model.FindFile(name);
    if (config == nullptr) continue;
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ConfigTokenIds(name, config->content, file.id_limit()));
    for (const int32_t id : ids) keep->Keep(id, KeepSet::kAlways);
  }
  const auto keep_text = [&](const std::string& piece) {
    for (const text::TokenId id : tokenizer.Encode(piece, false))
      keep->Keep(static_cast<int32_t>(id), KeepSet::kAlways);
  };
  for (const std::string& chat_template : ChatTemplates(model)) {
    for (const std::string& piece : TemplateText(chat_template)) keep_text(piece);
    for (const char* role : {"system", "user", "assistant", "tool"}) keep_text(role);  // What callers pass in.
    keep_text("\n");
    keep_text("\n\n");
  }
  return absl::OkStatus();
}

// Counts the corpus's tokens; adds to `uses`, keeps those that occur often enough.
absl::Status KeepCorpus(const TrimSpec& spec, int index, Job& job, const text::Tokenizer& tokenizer, KeepSet* keep,
                        std::vector<uint64_t>* uses, TrimResult* result) {
  const auto& corpus = spec.keep().corpus(index);
  const std::string field = StrCat("params.keep.corpus[", index, "].path");
  ASSIGN_OR_RETURN(const File file, job.FileOf(corpus.path()));
  text::CountOptions options;
  options.threads = static_cast<int>(job.threads());
  options.progress = [&](uint64_t bytes) {
    job.Progress(StrCat("count ", file.path), bytes, file.size, "bytes");
    return !job.ShouldStop();
  };
  const auto counted = text::CountTokens(tokenizer, ToCorpus(file, spec, corpus), options);
  if (!counted.ok()) return Annotate(counted.status(), field);
  result->set_corpus_tokens_before(result->corpus_tokens_before() + counted->tokens);
  result->set_corpus_bytes(result->corpus_bytes() + counted->totals.bytes);
  if (counted->totals.skipped_lines > 0) {
    job.Warning(
        StrCat("\"", file.path, "\": ", counted->totals.skipped_lines, " lines that are not UTF-8 were left out"));
  }
  const std::vector<uint64_t>& counts = counted->counts;
  job.Release(file.content);
  const uint64_t least = std::max<uint64_t>(1, corpus.min_count());
  for (size_t id = 0; id < counts.size(); ++id) {
    (*uses)[id] += counts[id];
    if (counts[id] >= least) keep->Keep(static_cast<int32_t>(id), KeepSet::kCorpus);
  }
  return absl::OkStatus();
}

// Reads a list of tokens: spelled as in the vocabulary, a line each, or JSON strings and ids in a .jsonl.
absl::Status KeepList(const TrimSpec& spec, int index, Job& job, const TokenizerFile& vocabulary, KeepSet* keep) {
  const std::string field = StrCat("params.keep.list[", index, "].path");
  ASSIGN_OR_RETURN(const File file, job.FileOf(spec.keep().list(index).path()));
  const bool json_lines = file.path.ends_with(".jsonl");
  std::vector<std::string> missing;
  std::string_view rest = file.content;
  for (int line_number = 1; !rest.empty(); ++line_number) {
    const size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    std::string token(line);
    int64_t id = -1;
    if (json_lines) {
      const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (json.is_string()) {
        token = json.get<std::string>();
      } else if (json.is_number_integer()) {
        id = json.get<int64_t>();
        token.clear();
      } else {
        return absl::InvalidArgumentError(
            StrCat(field, ": \"", file.path, "\" line ", line_number, ": a JSON string or an id expected"));
      }
    }
    if (!token.empty()) id = vocabulary.Find(token);
    if (id >= 0 && id < vocabulary.id_limit() && vocabulary.exists(static_cast<int32_t>(id))) {
      keep->Keep(static_cast<int32_t>(id), KeepSet::kList);
    } else if (missing.size() < 5) {
      missing.push_back(
          StrCat("line ", line_number, ": no token ", token.empty() ? StrCat(id) : StrCat("\"", token, "\"")));
      if (!token.empty()) {
        std::vector<std::string> tokens;
        for (int32_t i = 0; i < vocabulary.id_limit(); ++i) {
          if (vocabulary.exists(i)) tokens.push_back(vocabulary.token(i));
        }
        missing.back() += DidYouMean(token, tokens);
      }
    }
  }
  if (missing.empty()) return absl::OkStatus();
  std::string message = StrCat(field, ": \"", file.path, "\" names tokens that the model does not have");
  for (const std::string& problem : missing) StrAppend(&message, "\n  ", problem);
  return absl::InvalidArgumentError(message);
}

}  // namespace

text::CorpusFile ToCorpus(const File& file, const TrimSpec& spec, const editd::plugins::trim::v1::Corpus& of) {
  text::CorpusFile corpus;
  corpus.data = file.content;
  corpus.name = std::string(file.path);
  corpus.field = of.field();
  if (spec.invalid_utf8() == editd::plugins::trim::v1::INVALID_UTF8_REPLACE)
    corpus.invalid = text::InvalidUtf8::kReplace;
  if (spec.invalid_utf8() == editd::plugins::trim::v1::INVALID_UTF8_SKIP_LINE)
    corpus.invalid = text::InvalidUtf8::kSkipLine;
  return corpus;
}

absl::Status ApplyRules(const TrimSpec& spec, Job& job, const text::Tokenizer& tokenizer, const TokenizerFile& file,
                        KeepSet* keep, TrimResult* result) {
  RETURN_IF_ERROR(KeepAlways(job.model(), tokenizer, file, keep));
  std::vector<uint64_t> uses(std::max(tokenizer.size(), static_cast<size_t>(file.id_limit())));
  for (int i = 0; i < spec.keep().corpus_size(); ++i) {
    RETURN_IF_ERROR(KeepCorpus(spec, i, job, tokenizer, keep, &uses, result));
  }
  if (!spec.keep().script().empty()) {
    const std::vector<std::string> names(spec.keep().script().begin(), spec.keep().script().end());
    ASSIGN_OR_RETURN(const text::AllowedScripts scripts, text::AllowedScripts::Of(names));
    for (int32_t id = 0; id < file.id_limit(); ++id) {
      if (!file.exists(id)) continue;
      const std::string_view bytes = tokenizer.TokenBytes(static_cast<text::TokenId>(id));
      if (!bytes.empty() && !text::IsOutside(bytes, scripts)) keep->Keep(id, KeepSet::kScript);
    }
  }
  for (int i = 0; i < spec.keep().list_size(); ++i) RETURN_IF_ERROR(KeepList(spec, i, job, file, keep));

  const size_t by_rules = keep->Count(KeepSet::kCorpus) + keep->Count(KeepSet::kScript) + keep->Count(KeepSet::kList);
  const bool has_rules = spec.keep().corpus_size() + spec.keep().script_size() + spec.keep().list_size() > 0;
  if (has_rules && by_rules == 0) {
    return absl::InvalidArgumentError(
        "params.keep: the rules keep no token; look at the corpora (are they empty?), min_count and scripts");
  }
  if (!has_rules) {  // target_size alone starts from everything.
    for (int32_t id = 0; id < file.id_limit(); ++id) keep->Keep(id, KeepSet::kClosure);
  }
  keep->Close();
  if (spec.keep().target_size() > 0) RETURN_IF_ERROR(keep->Prune(spec.keep().target_size(), uses));
  result->set_kept_by_corpus(keep->Count(KeepSet::kCorpus));
  result->set_kept_by_script(keep->Count(KeepSet::kScript));
  result->set_kept_by_list(keep->Count(KeepSet::kList));
  result->set_kept_always(keep->Count(KeepSet::kAlways));
  result->set_kept_by_closure(has_rules ? keep->CountOnly(KeepSet::kClosure) : 0);
  return absl::OkStatus();
}

}  // namespace editd::trim
