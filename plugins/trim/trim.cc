// The plugin: chooses tokens, rewrites files, gathers rows, checks what it made, publishes. README.md is its page.
#include <algorithm>
#include <bit>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "editd/plugin.hpp"
#include "editd/plugins/trim/v1/trim.pb.h"
#include "plugins/lib/text/allowed_scripts.h"
#include "plugins/lib/text/tokenizer.h"
#include "plugins/trim/keep_set.h"
#include "plugins/trim/oracle.h"
#include "plugins/trim/remap_files.h"
#include "plugins/trim/rows.h"
#include "plugins/trim/rules.h"
#include "plugins/trim/tokenizer_file.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::trim {
namespace {

using editd::plugins::trim::v1::TrimResult;
using editd::plugins::trim::v1::TrimSpec;

constexpr uint32_t kDefaultPadding = 64;
constexpr char kIdMapFile[] = "editd_id_map.i32";

// The embedding of a model: the vocabulary tensor that every model has.
const Tensor* FindEmbedding(const Model& model) {
  for (const Tensor& tensor : model.tensors) {
    if (IsVocabularyTensor(tensor.name) && tensor.name.find("lm_head") == std::string_view::npos) return &tensor;
  }
  return nullptr;
}

// For each new row the old id, little-endian int32; -1 for padding.
std::string IdMapFile(const IdMap& map, int64_t rows) {
  std::vector<int32_t> old(static_cast<size_t>(rows), -1);
  for (size_t id = 0; id < map.size(); ++id) {
    if (map[id] >= 0) old[static_cast<size_t>(map[id])] = static_cast<int32_t>(id);
  }
  static_assert(std::endian::native == std::endian::little);
  return std::string(reinterpret_cast<const char*>(old.data()), old.size() * sizeof(int32_t));
}

class Trim : public Plugin<TrimSpec, TrimResult> {
 public:
  absl::Status Check(const TrimSpec& spec, Job& job) override {
    const auto& keep = spec.keep();
    if (keep.corpus().empty() && keep.script().empty() && keep.list().empty() && keep.target_size() == 0) {
      job.Finding("keep", "nothing is kept; give at least one corpus, script, list or target_size");
    }
    for (int i = 0; i < keep.corpus_size(); ++i) {
      if (keep.corpus(i).path().empty()) job.Finding(StrCat("keep.corpus[", i, "].path"), "is empty; name a text file");
    }
    for (int i = 0; i < keep.list_size(); ++i) {
      if (keep.list(i).path().empty())
        job.Finding(StrCat("keep.list[", i, "].path"), "is empty; name a file of tokens");
    }
    for (int i = 0; i < keep.script_size(); ++i) {
      const auto known = text::AllowedScripts::Of({&keep.script(i), 1});
      if (!known.ok()) job.Finding(StrCat("keep.script[", i, "]"), ToStd(known.status().message()));
    }
    if (spec.pad_to_multiple() > 1 << 16) {
      job.Finding("pad_to_multiple", StrCat(spec.pad_to_multiple(), " is more than 65536; 64 or 128 is usual"));
    }
    const Model& model = job.model();
    if (model.FindFile("tokenizer.json") == nullptr) {
      job.Finding("", StrCat("\"", model.name, "\" has no tokenizer.json; trim needs one"));
    }
    const Tensor* embedding = FindEmbedding(model);
    if (embedding == nullptr) {
      job.Finding(
          "", StrCat("\"", model.name, "\" has no tensor *.embed_tokens.weight; trim does not know its vocabulary"));
      return absl::OkStatus();
    }
    uint64_t bytes = 0;
    for (const Tensor& tensor : model.tensors) {
      if (!IsVocabularyTensor(tensor.name)) continue;
      bytes += tensor.size;
      if (tensor.shape.empty() || tensor.shape[0] != embedding->shape[0]) {
        job.Finding(
            "", StrCat("tensor \"", tensor.name, "\" and \"", embedding->name, "\" have not the same number of rows"));
      }
    }
    const File* tokenizer = model.FindFile("tokenizer.json");
    job.Estimate((64 << 20) + 24 * (tokenizer == nullptr ? 0 : tokenizer->size), bytes + (64 << 20));
    return absl::OkStatus();
  }

  absl::StatusOr<TrimResult> Run(const TrimSpec& spec, Job& job) override {
    const Model& model = job.model();
    const File& tokenizer_json = *model.FindFile("tokenizer.json");
    job.Progress("read tokenizer", 0, 1, "files");
    ASSIGN_OR_RETURN(const TokenizerFile file, TokenizerFile::Open(tokenizer_json.content));
    ASSIGN_OR_RETURN(const std::unique_ptr<text::Tokenizer> old_tokenizer,
                     text::Tokenizer::FromJson(tokenizer_json.content));
    const Tensor& embedding = *FindEmbedding(model);
    const int64_t old_rows = embedding.shape[0];
    if (file.id_limit() > old_rows) {
      return absl::InvalidArgumentError(StrCat("tokenizer.json: id ", file.id_limit() - 1, " has no row; tensor \"",
                                               embedding.name, "\" has ", old_rows, " rows"));
    }

    TrimResult result;
    KeepSet keep(file);
    RETURN_IF_ERROR(ApplyRules(spec, job, *old_tokenizer, file, &keep, &result));
    const IdMap map = keep.Map();
    const int64_t kept = static_cast<int64_t>(keep.size());
    const int64_t multiple = spec.pad_to_multiple() == 0 ? kDefaultPadding : spec.pad_to_multiple();
    const int64_t rows = (kept + multiple - 1) / multiple * multiple;

    ASSIGN_OR_RETURN(const std::string new_json, file.Rewrite(map));
    auto new_tokenizer = text::Tokenizer::FromJson(new_json);
    if (!new_tokenizer.ok()) return job.Refuse(StrCat("the new ", ToStd(new_tokenizer.status().message())));
    RETURN_IF_ERROR(Verify(spec, job, *old_tokenizer, **new_tokenizer, map, &result));

    RETURN_IF_ERROR(WriteFiles(job, file, new_json, map, old_rows, rows));
    for (const auto& [key, value] : model.attributes) {
      if (key != "vocab.rows" && key != "vocab.used") RETURN_IF_ERROR(job.SetAttribute(key, value));
    }
    RETURN_IF_ERROR(job.SetAttribute("vocab.rows", StrCat(rows)));
    RETURN_IF_ERROR(job.SetAttribute("vocab.used", StrCat(kept)));
    for (const Tensor& tensor : model.tensors) {
      if (IsVocabularyTensor(tensor.name)) {
        RETURN_IF_ERROR(GatherRows(job, tensor, map, kept, rows));
      } else {
        RETURN_IF_ERROR(job.Reuse(tensor));
      }
    }

    result.set_vocab_before(file.token_count());
    result.set_vocab_after(static_cast<uint64_t>(kept));
    result.set_rows_before(static_cast<uint64_t>(old_rows));
    result.set_rows_after(static_cast<uint64_t>(rows));
    result.set_merges_before(file.merges().size());
    result.set_merges_after(
        static_cast<uint64_t>(std::count_if(file.merges().begin(), file.merges().end(),
                                            [&](const Merge& merge) { return TokenizerFile::Keeps(map, merge); })));
    return result;
  }

 private:
  static absl::Status WriteFiles(Job& job, const TokenizerFile& file, const std::string& tokenizer_json,
                                 const IdMap& map, int64_t old_rows, int64_t rows) {
    for (const File& old : job.model().files) {
      absl::StatusOr<std::string> content = absl::UnimplementedError("");
      if (old.name == "tokenizer.json") {
        content = tokenizer_json;
      } else if (old.name == "config.json" || old.name == "generation_config.json") {
        content = RemapConfig(old.name, old.content, map, old_rows, rows);
      } else if (old.name == "tokenizer_config.json") {
        content = RemapTokenizerConfig(old.content, map);
      } else if (old.name == "vocab.json" || old.name == "added_tokens.json") {
        content = RemapTokenIds(old.name, old.content, map);
      } else if (old.name == "merges.txt") {
        content = RemapMerges(old.content, file, map);
      } else if (old.name == "tokenizer.model" || old.name.ends_with(".tiktoken")) {
        job.Warning(
            StrCat("\"", old.name, "\" is left out: it would name the old ids; tokenizer.json has the vocabulary"));
        continue;
      } else if (old.name == kIdMapFile) {
        continue;
      } else {
        RETURN_IF_ERROR(job.ReuseFile(old));
        continue;
      }
      RETURN_IF_ERROR(content.status());
      RETURN_IF_ERROR(job.AddFile(old.name, *content));
    }
    return job.AddFile(kIdMapFile, IdMapFile(map, rows));
  }
};

}  // namespace
}  // namespace editd::trim

EDIT_PLUGIN("trim", editd::trim::Trim,
            {.version = "1.0.0",
             .summary = "keeps the part of the vocabulary that texts, scripts or lists name",
             .makes_version = true,
             .min_inputs = 1,
             .max_inputs = 1});
