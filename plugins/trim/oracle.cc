// Why these checks are enough. The new embedding's row map[i] is row i of the old one by construction (rows.cc writes
// it from there), so what remains to be shown is that the new tokenizer says by id map[i] what the old one says by id
// i, that it chooses the same tokens where it can, and that it loses nothing where it cannot. The first is checked for
// every id, the second on all text that the user named, the third on that text and on random strings.
#include "plugins/trim/oracle.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <string>
#include <vector>

#include "plugins/lib/text/corpus.h"
#include "plugins/lib/text/unicode.h"
#include "plugins/trim/rules.h"
#include "storage/base/strings.h"

namespace editd::trim {
namespace {

using editd::plugins::trim::v1::TrimResult;
using editd::plugins::trim::v1::TrimSpec;
using text::TokenId;

constexpr int kRandomStrings = 2000;

// A short quote of `text` from byte `at` on, for messages.
std::string Quote(std::string_view text, size_t at) {
  const std::string piece = text::Utf8Lossy(text.substr(at, 24));
  return StrCat("\"", piece, "\"");
}

absl::Status CheckTokens(Job& job, const text::Tokenizer& before, const text::Tokenizer& after, const IdMap& map) {
  int32_t next = 0;
  for (size_t id = 0; id < map.size(); ++id) {
    const TokenId old_id = static_cast<TokenId>(id);
    if (map[id] < 0) {
      if (before.IsSpecial(old_id))
        return job.Refuse(StrCat("special token \"", before.TokenText(old_id), "\" is gone"));
      continue;
    }
    const TokenId new_id = static_cast<TokenId>(map[id]);
    if (map[id] != next++) return job.Refuse(StrCat("ids are not dense and in order at old id ", id));
    if (!after.HasToken(new_id) || before.TokenText(old_id) != after.TokenText(new_id) ||
        before.TokenBytes(old_id) != after.TokenBytes(new_id) || before.IsSpecial(old_id) != after.IsSpecial(new_id)) {
      return job.Refuse(StrCat("token ", id, " \"", before.TokenText(old_id), "\" is \"", after.TokenText(new_id),
                               "\" under its new id ", new_id));
    }
  }
  if (after.size() != static_cast<size_t>(next)) {
    return job.Refuse(StrCat("the new tokenizer has ", after.size(), " ids, ", next, " are kept"));
  }
  return absl::OkStatus();
}

// One text through both tokenizers; one thread's.
class Comparison {
 public:
  Comparison(const text::Tokenizer& before, const text::Tokenizer& after, const IdMap& map)
      : before_(before), after_(after), map_(map), encode_before_(&before), encode_after_(&after) {}

  // Empty, or what is wrong.
  std::string Check(std::string_view document) {
    old_ids_.clear();
    new_ids_.clear();
    encode_before_.Encode(document, false, &old_ids_);
    encode_after_.Encode(document, false, &new_ids_);
    tokens_after += new_ids_.size();
    const bool all_kept = std::all_of(old_ids_.begin(), old_ids_.end(), [this](TokenId id) { return map_[id] >= 0; });
    if (all_kept) {
      ++same;
      for (size_t i = 0; i < std::max(old_ids_.size(), new_ids_.size()); ++i) {
        if (i < old_ids_.size() && i < new_ids_.size() && map_[old_ids_[i]] == static_cast<int32_t>(new_ids_[i]))
          continue;
        return StrCat("token ", i, " of ", Quote(document, 0), " is ",
                      i < new_ids_.size() ? StrCat("\"", after_.TokenText(new_ids_[i]), "\"") : "missing", ", and was ",
                      i < old_ids_.size() ? StrCat("\"", before_.TokenText(old_ids_[i]), "\"") : "nothing");
      }
      return "";
    }
    const std::string old_text = before_.DecodeBytes(old_ids_, false);
    const std::string new_text = after_.DecodeBytes(new_ids_, false);
    if (old_text == new_text) return "";
    const auto [a, b] = std::mismatch(old_text.begin(), old_text.end(), new_text.begin(), new_text.end());
    const size_t at = static_cast<size_t>(a - old_text.begin());
    return StrCat("decoded text differs at byte ", at, " of ", Quote(document, 0), ": ", Quote(new_text, at),
                  ", and was ", Quote(old_text, at));
  }

  uint64_t tokens_after = 0;
  uint64_t same = 0;  // Texts whose tokens all stay, so that ids were compared.

 private:
  const text::Tokenizer& before_;
  const text::Tokenizer& after_;
  const IdMap& map_;
  text::Encoder encode_before_, encode_after_;
  std::vector<TokenId> old_ids_, new_ids_;
};

// Characters of all kinds, runs of white space, and special tokens.
std::string RandomText(std::mt19937_64* random, const text::Tokenizer& tokenizer) {
  const auto below = [random](uint64_t n) { return (*random)() % n; };
  std::string text;
  for (uint64_t i = 0, n = 1 + below(60); i < n; ++i) {
    switch (below(10)) {
      case 0:
        text.append(1 + below(6), " \n\t\r"[below(4)]);
        break;
      case 1: {
        const auto& added = tokenizer.added_tokens();
        if (!added.empty()) text += added[below(added.size())].content;
        break;
      }
      case 2: {  // Any code point.
        const uint32_t c = static_cast<uint32_t>(below(0x110000));
        text::AppendUtf8(c >= 0xd800 && c < 0xe000 ? 0xfffd : c, &text);
        break;
      }
      case 3:  // The Latin letters of Vietnamese, composed and not.
        text::AppendUtf8(static_cast<uint32_t>(below(2) ? 0x1ea0 + below(90) : 0x300 + below(0x30)), &text);
        break;
      case 4:
        text::AppendUtf8(static_cast<uint32_t>(0x4e00 + below(0x5000)), &text);
        break;
      case 5:
        text::AppendUtf8(static_cast<uint32_t>(0x1f300 + below(0x400)), &text);
        break;
      default:
        text.push_back(static_cast<char>(0x20 + below(0x5f)));
    }
  }
  return text;
}

}  // namespace

absl::Status Verify(const TrimSpec& spec, Job& job, const text::Tokenizer& before, const text::Tokenizer& after,
                    const IdMap& map, TrimResult* result) {
  RETURN_IF_ERROR(CheckTokens(job, before, after, map));
  result->set_oracle_rows(
      static_cast<uint64_t>(std::count_if(map.begin(), map.end(), [](int32_t id) { return id >= 0; })));

  Comparison comparison(before, after, map);
  uint64_t documents = 0, tokens_after = 0;
  for (int i = 0; i < spec.keep().corpus_size(); ++i) {
    ASSIGN_OR_RETURN(const File file, job.FileOf(spec.keep().corpus(i).path()));
    uint64_t bytes = 0;
    std::string problem;
    comparison.tokens_after = 0;
    const auto totals =
        text::ForEachDocument(ToCorpus(file, spec, spec.keep().corpus(i)), [&](std::string_view document) {
          problem = comparison.Check(document);
          if (!problem.empty()) return absl::AbortedError("a difference was found");
          bytes += document.size();
          ++documents;
          job.Progress(StrCat("compare ", file.path), bytes, file.size, "bytes");
          return job.CheckStop();
        });
    if (!problem.empty()) return job.Refuse(StrCat("\"", file.path, "\": ", problem));
    RETURN_IF_ERROR(totals.status());
    tokens_after += comparison.tokens_after;
    job.Release(file.content);
  }
  result->set_corpus_tokens_after(tokens_after);

  std::mt19937_64 random(job.seed());
  for (int i = 0; i < kRandomStrings; ++i) {
    const std::string problem = comparison.Check(RandomText(&random, before));
    if (!problem.empty()) return job.Refuse(StrCat("random string ", i, ": ", problem));
  }
  result->set_oracle_documents(documents);
  result->set_oracle_round_trips(documents + kRandomStrings);
  return absl::OkStatus();
}

}  // namespace editd::trim
