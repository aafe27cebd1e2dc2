#include "plugins/evaluate/report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "storage/base/tree_hash.h"

namespace editd::evaluate {
namespace {

namespace pb = plugins::evaluate::v1;

// Of a quotient of sums over documents, nll / bytes: the documents are what was drawn, their tokens hang together.
double ClusteredError(const std::vector<Scores>& documents, const Scores& all) {
  const auto n = static_cast<double>(documents.size());
  if (n < 2 || all.bytes == 0) return 0;
  const double ratio = all.nll / static_cast<double>(all.bytes);
  double squares = 0;
  for (const Scores& document : documents) {
    const double residual = document.nll - ratio * static_cast<double>(document.bytes);
    squares += residual * residual;
  }
  return std::sqrt(n / (n - 1) * squares) / static_cast<double>(all.bytes) / std::numbers::ln2;
}

std::string CutsOf(const Documents& documents, size_t s) {
  Sha256 hash;
  for (const Window& window : documents.windows()) {
    const Range& range = window.of[s];
    if (range.scored() == 0) continue;
    const std::vector<uint64_t>& end = documents.texts()[window.text].end[s];
    const uint64_t cut[] = {window.text, range.begin == 0 ? 0 : end[range.begin - 1], end[range.scored_from],
                            end[range.end]};
    hash.Update(std::string_view(reinterpret_cast<const char*>(cut), sizeof(cut)));
  }
  return hash.Finish().Hex();
}

}  // namespace

void ReportPerplexity(const Measurement& measured, size_t s, const Subject& subject, const Documents& documents,
                      pb::Perplexity* out) {
  const Perplexity& from = measured.perplexity[s];
  const Scores all = from.total();
  uint64_t bytes = 0, words = 0, characters = 0, text_bytes = 0;
  for (const Document& document : documents.all()) {
    bytes += document.bytes;
    words += document.words;
    characters += document.characters;
  }
  for (const Text& text : documents.texts()) text_bytes += text.document_end.back();
  out->set_model(subject.name);
  out->set_version(subject.version);
  out->set_documents(documents.all().size());
  out->set_bytes(bytes);
  out->set_words(words);
  out->set_characters(characters);
  out->set_tokens(all.tokens);
  out->set_bytes_scored(all.bytes);
  out->set_nll(all.nll);
  out->set_perplexity(std::exp(from.log_perplexity()));
  const auto tokens = static_cast<double>(std::max<uint64_t>(1, all.tokens));
  out->set_log_perplexity_error(MeanOf(all.nll, from.nll_squares, tokens).error());
  if (all.bytes > 0) {
    out->set_bits_per_byte(all.nll / (static_cast<double>(all.bytes) * std::numbers::ln2));
    out->set_bits_per_byte_error(ClusteredError(from.documents, all));
  }
  if (all.bytes == text_bytes) {
    out->set_word_perplexity(words == 0 ? 0 : std::exp(all.nll / static_cast<double>(words)));
    out->set_bits_per_character(all.nll / (static_cast<double>(characters) * std::numbers::ln2));
  }
  out->set_tokens_per_byte(static_cast<double>(documents.tokens(static_cast<int>(s))) /
                           static_cast<double>(std::max<uint64_t>(1, text_bytes)));
  out->set_seconds(from.seconds);
  out->set_tokens_per_second(from.seconds > 0 ? static_cast<double>(from.computed_tokens) / from.seconds : 0);
  out->set_computed_tokens(from.computed_tokens);
  out->set_tokenizer(subject.tokenizer_hash);
  const Text& text = documents.texts().front();
  const int32_t of_window = documents.first_of_window(static_cast<int>(s));
  if (of_window >= 0 || text.end[s].front() == 0) {
    const int32_t first = of_window >= 0 ? of_window : text.sequence[s].front();
    out->set_first_token(std::string(subject.tokenizer->TokenText(static_cast<text::TokenId>(first))));
  }
}

void ReportDiff(const LogitsDiff& diff, const RowPairs& rows, uint64_t bytes_scored, int top_k, pb::LogitsDiff* out) {
  const double positions = std::max<double>(1, diff.positions);
  const double logits = positions * std::max<double>(1, rows.base.size());
  out->set_positions(diff.positions);
  out->set_positions_left_out(diff.left_out);
  out->set_rows(rows.base.size());
  out->set_rows_base_only(rows.base_only);
  out->set_rows_other_only(rows.other_only);
  out->set_rows_matched_by(rows.matched_by);
  out->set_max_abs(diff.max_abs);
  out->set_rms(std::sqrt(diff.squares / logits));
  out->set_max_abs_centred(diff.max_abs_centred);
  out->set_rms_centred(std::sqrt(diff.squares_centred / logits));
  out->set_kl(diff.kl / positions);
  out->set_kl_reverse(diff.kl_reverse / positions);
  out->set_js(diff.js / positions);
  out->set_kl_coarse(diff.kl_coarse / positions);
  out->set_kl_coarse_reverse(diff.kl_coarse_reverse / positions);
  out->set_top1_agreement(static_cast<double>(diff.same_top) / positions);
  out->set_top_k_agreement(static_cast<double>(diff.shared_top) / positions / std::max(1, top_k));
  out->set_removed_mass(diff.removed_mass / positions);
  out->set_leaked_mass(diff.leaked_mass / positions);
  out->set_targets(diff.targets.count());
  out->set_target_probability_base(diff.targets.mean_probability(0));
  out->set_target_probability_other(diff.targets.mean_probability(1));
  const double boundaries = std::max<double>(1, diff.boundaries);
  out->set_boundaries(diff.boundaries);
  out->set_boundaries_cut_otherwise(diff.cut_otherwise);
  out->set_next_byte_kl(diff.next_byte_kl / boundaries);
  out->set_next_byte_kl_reverse(diff.next_byte_kl_reverse / boundaries);
  out->set_next_byte_kl_cut_otherwise(diff.next_byte_kl_cut_otherwise / std::max<double>(1, diff.cut_otherwise));
  out->set_same_segmentation(static_cast<double>(diff.bytes_cut_alike) / std::max<double>(1, bytes_scored));
  if (diff.targets.count() >= 100) *out->mutable_table() = diff.targets.Table();
}

std::string ReportDocuments(const Measurement& measured, const std::vector<const Subject*>& subjects,
                            const Documents& documents, const std::vector<std::string>& files) {
  using Json = nlohmann::json;
  Json head = {{"format", "editd documents 1"}, {"models", Json::array()}};
  for (size_t s = 0; s < subjects.size(); ++s) {
    head["models"].push_back({{"version", subjects[s]->version}, {"cuts", CutsOf(documents, s)}});
  }
  const auto line = [](const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; };
  std::string out = line(head);
  const bool leak =
      std::any_of(subjects.begin(), subjects.end(), [](const Subject* s) { return s->marked_rows.has_value(); });
  for (size_t d = 0; d < documents.all().size(); ++d) {
    const Document& document = documents.all()[d];
    Json of = {{"file", files[document.file]}, {"line", document.line},   {"bytes", document.bytes},
               {"tokens", Json::array()},      {"scored", Json::array()}, {"nll", Json::array()}};
    for (const Perplexity& perplexity : measured.perplexity) {
      const Scores& scores = perplexity.documents[d];
      of["tokens"].push_back(scores.tokens);
      of["scored"].push_back(scores.bytes);
      of["nll"].push_back(scores.nll);
      if (leak) of["outside"].push_back(scores.outside);
    }
    out += line(of);
  }
  return out;
}

}  // namespace editd::evaluate
