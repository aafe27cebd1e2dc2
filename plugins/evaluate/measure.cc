#include "plugins/evaluate/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <span>

#include "plugins/lib/nn/head.h"
#include "storage/base/status.h"

namespace editd::evaluate {
namespace {

constexpr uint64_t kTokensOfABatch = 4096;

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count(); }

 private:
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

// A window of one subject, and how it lies in the other's text.
struct Work {
  Window window;
  // Inputs [window.begin, common) are the same tokens in both segmentations; common <= begin: none is.
  uint64_t common = 0;
  bool shared = false;  // The other subject has this very window.
  double nll = 0;
};

class Runner {
 public:
  Runner(const std::vector<Subject*>& subjects, const RowPairs* rows, const std::vector<Document>& documents,
         const Settings& settings, const Watch& watch)
      : subjects_(subjects), rows_(rows), documents_(documents), settings_(settings), watch_(watch) {}

  absl::StatusOr<Measurement> Run() {
    result_.perplexity.resize(subjects_.size());
    for (size_t s = 0; s < subjects_.size(); ++s) {
      std::vector<Window> windows;
      for (size_t d = 0; d < documents_.size(); ++d) {
        CutWindows(d, documents_[d].tokens(s), settings_.context, settings_.stride, &windows);
      }
      for (const Window& window : windows) work_[s].push_back({window});
    }
    if (subjects_.size() == 2) {
      result_.diff.emplace();
      Pair();
    }
    std::vector<size_t> own[2];  // What each subject computes in a pass of its own.
    for (size_t s = 0; s < subjects_.size(); ++s) {
      for (size_t i = 0; i < work_[s].size(); ++i) {
        if (s == 0 || !work_[1][i].shared) own[s].push_back(i);
      }
      for (size_t i : own[s]) total_ += work_[s][i].window.length();
    }
    for (size_t s = 0; s < subjects_.size(); ++s) RETURN_IF_ERROR(Pass(s, std::move(own[s])));
    for (size_t s = 0; s < subjects_.size(); ++s) {
      result_.perplexity[s].nll.resize(documents_.size());
      for (const Work& work : work_[s]) result_.perplexity[s].nll[work.window.document] += work.nll;
    }
    return std::move(result_);
  }

 private:
  // Fills `common` and `shared`, and where a base's window stands among the other's.
  void Pair() {
    size_t of_other = 0;
    partner_.assign(work_[0].size(), -1);
    const bool first_token = rows_->other_of_base[subjects_[0]->first_token] == subjects_[1]->first_token;
    for (size_t i = 0; i < work_[0].size(); ++i) {
      Work& work = work_[0][i];
      const Window& w = work.window;
      const Document& document = documents_[w.document];
      // The other's index of the base's input k; the first token stands at 0 in both.
      const auto partner = [&](uint64_t k) -> int64_t {
        if (k == 0) return first_token ? 0 : -1;
        return document.aligned[k - 1] < 0 ? -1 : document.aligned[k - 1] + 1;
      };
      const int64_t start = partner(w.begin);
      work.common = w.begin;
      while (start >= 0 && work.common < w.end &&
             partner(work.common) == start + static_cast<int64_t>(work.common - w.begin)) {
        ++work.common;
      }
      if (work.common > w.scored_from) total_ += work.common - w.begin;
      // Both lists are in the order of documents and places.
      const auto before = [](const Window& a, const Window& b) {
        return std::pair(a.document, a.scored_from) < std::pair(b.document, b.scored_from);
      };
      while (of_other < work_[1].size() && before(work_[1][of_other].window, w)) ++of_other;
      if (of_other == work_[1].size()) continue;
      Work& theirs = work_[1][of_other];
      const Window& v = theirs.window;
      if (work.common == w.end && start == static_cast<int64_t>(w.begin) && v.document == w.document &&
          v.begin == w.begin && v.scored_from == w.scored_from && v.end == w.end) {
        work.shared = theirs.shared = true;
        partner_[i] = of_other;
      }
    }
  }

  // Windows of a like length side by side, the longest first.
  absl::Status Pass(size_t s, std::vector<size_t> order) {
    const std::vector<Work>& work = work_[s];
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return work[a].window.length() > work[b].window.length(); });
    for (size_t first = 0; first < order.size();) {
      const uint64_t longest = work[order[first]].window.length();
      const size_t fit =
          settings_.batch > 0 ? settings_.batch : std::max<uint64_t>(1, kTokensOfABatch / ((longest + 31) / 32 * 32));
      const size_t count = std::min(fit, order.size() - first);
      RETURN_IF_ERROR(Batch(s, std::span(order).subspan(first, count)));
      first += count;
    }
    return absl::OkStatus();
  }

  absl::Status Batch(size_t s, std::span<const size_t> batch) {
    const Stopwatch watch;
    std::vector<std::span<const int32_t>> sequences;
    for (size_t i : batch) {
      const Window& w = work_[s][i].window;
      sequences.push_back(std::span(documents_[w.document].sequence[s]).subspan(w.begin, w.length()));
      result_.perplexity[s].computed_tokens += w.length();
      done_ += w.length();
    }
    RETURN_IF_ERROR(subjects_[s]->decoder->Run(sequences, &hidden_[s]));
    std::vector<size_t> rows(batch.size());
    std::iota(rows.begin(), rows.end(), 0);
    const std::vector<nn::Score> scores = ScoreWindows(s, batch, rows);
    result_.perplexity[s].seconds += watch.seconds();
    if (s == 0 && subjects_.size() == 2) RETURN_IF_ERROR(Compare(batch, scores));
    return watch_(s, std::exp(nll_[s] / scored_[s]), done_, total_);
  }

  // Scores windows of subject `s`; rows[i] is where hidden_[s] has window i. One score for each scored token, in order.
  std::vector<nn::Score> ScoreWindows(size_t s, std::span<const size_t> windows, std::span<const size_t> rows) {
    std::vector<nn::Position> positions;
    for (size_t i = 0; i < windows.size(); ++i) {
      const Window& w = work_[s][windows[i]].window;
      for (uint64_t k = w.scored_from; k < w.end; ++k) {
        positions.push_back({hidden_[s].row(rows[i], k - w.begin), documents_[w.document].sequence[s][k + 1]});
      }
    }
    const std::vector<nn::Score> scores = nn::ScoreTargets(*subjects_[s]->decoder, positions, subjects_[s]->rows);
    size_t at = 0;
    for (size_t i : windows) {
      Work& work = work_[s][i];
      for (uint64_t k = 0; k < work.window.scored(); ++k) work.nll += scores[at++].nll;
      nll_[s] += work.nll;
      scored_[s] += work.window.scored();
    }
    return scores;
  }

  // The base's windows of this batch through the other model, as far as both cut them alike.
  absl::Status Compare(std::span<const size_t> batch, const std::vector<nn::Score>& base_scores) {
    LogitsDiff& diff = *result_.diff;
    Stopwatch watch;
    std::vector<std::vector<int32_t>> ids;
    std::vector<size_t> shared, shared_rows;
    std::vector<std::pair<size_t, size_t>> at;  // Place in the batch and among `ids`.
    for (size_t i = 0; i < batch.size(); ++i) {
      const Work& work = work_[0][batch[i]];
      const Window& w = work.window;
      if (work.common <= w.scored_from) {
        diff.left_out += w.scored();
        continue;
      }
      diff.left_out += w.end - work.common;
      at.emplace_back(i, ids.size());
      if (work.shared) {
        shared.push_back(partner_[batch[i]]);
        shared_rows.push_back(ids.size());
      }
      std::vector<int32_t>& mapped = ids.emplace_back();
      for (uint64_t k = w.begin; k < work.common; ++k) {
        mapped.push_back(rows_->other_of_base[documents_[w.document].sequence[0][k]]);
      }
      done_ += mapped.size();
    }
    if (ids.empty()) return absl::OkStatus();
    const std::vector<std::span<const int32_t>> sequences(ids.begin(), ids.end());
    RETURN_IF_ERROR(subjects_[1]->decoder->Run(sequences, &hidden_[1]));
    if (!shared.empty()) {
      ScoreWindows(1, shared, shared_rows);
      uint64_t all = 0, theirs = 0;
      for (const auto& sequence : ids) all += sequence.size();
      for (size_t i : shared) theirs += work_[1][i].window.length();
      result_.perplexity[1].computed_tokens += theirs;
      result_.perplexity[1].seconds += watch.seconds() * theirs / all;
    }
    std::vector<const void*> states_base, states_other;
    std::vector<size_t> score_of;
    std::vector<size_t> first_score(batch.size());
    for (size_t i = 1; i < batch.size(); ++i) {
      first_score[i] = first_score[i - 1] + work_[0][batch[i - 1]].window.scored();
    }
    for (const auto& [i, row] : at) {
      const Work& work = work_[0][batch[i]];
      for (uint64_t k = work.window.scored_from; k < work.common; ++k) {
        states_base.push_back(hidden_[0].row(i, k - work.window.begin));
        states_other.push_back(hidden_[1].row(row, k - work.window.begin));
        score_of.push_back(first_score[i] + k - work.window.scored_from);
      }
    }
    const std::vector<nn::PairScore> pairs = nn::ComparePositions(*subjects_[0]->decoder, *subjects_[1]->decoder,
                                                                  states_base, states_other, rows_->base, rows_->other);
    diff.positions += pairs.size();
    for (size_t i = 0; i < pairs.size(); ++i) {
      const nn::PairScore& pair = pairs[i];
      diff.max_abs = std::max<double>(diff.max_abs, pair.max_abs);
      diff.squares += pair.squares;
      diff.kl += pair.kl;
      diff.same_top += pair.argmax_a == pair.argmax_b;
      if (rows_->base_only == 0) continue;
      diff.removed_mass += std::max(0.0, -std::expm1(pair.log_sum_exp_a - base_scores[score_of[i]].log_sum_exp));
    }
    return absl::OkStatus();
  }

  const std::vector<Subject*>& subjects_;
  const RowPairs* const rows_;
  const std::vector<Document>& documents_;
  const Settings& settings_;
  const Watch& watch_;

  std::vector<Work> work_[2];
  std::vector<int64_t> partner_;  // By the base's windows: the other's, where shared.
  nn::HiddenStates hidden_[2];
  double nll_[2] = {};
  uint64_t scored_[2] = {};
  uint64_t done_ = 0, total_ = 0;
  Measurement result_;
};

}  // namespace

absl::StatusOr<Measurement> Measure(const std::vector<Subject*>& subjects, const RowPairs* rows,
                                    const std::vector<Document>& documents, const Settings& settings,
                                    const Watch& watch) {
  return Runner(subjects, rows, documents, settings, watch).Run();
}

}  // namespace editd::evaluate
