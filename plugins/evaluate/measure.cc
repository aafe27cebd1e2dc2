#include "plugins/evaluate/measure.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <span>

#include "plugins/evaluate/kept_measurement.h"
#include "plugins/evaluate/stopwatch.h"
#include "plugins/lib/nn/compare.h"
#include "plugins/lib/nn/head.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::evaluate {
namespace {

constexpr uint64_t kTokensOfABatch = 4096;
constexpr uint64_t kTokensOfABlock = 65536;

// A place of a window where both models have read the same bytes: inputs s[.. at[side]].
struct Meeting {
  uint64_t at[2];
  bool same_tokens;  // The same tokens, too.
  bool same_target;  // And the same token follows.
};

// A window at work.
struct Work : WindowScores {
  const Window* window = nullptr;
  std::vector<Meeting> meetings;
  bool done = false;

  uint64_t length() const { return std::max(window->of[0].length(), window->of[1].length()); }
};

double Coarse(double kl, double in_p, double out_p, double in_q, double out_q) {
  double sum = in_p > 0 ? in_p * (kl + std::log(in_p / in_q)) : 0;
  if (out_p > 0) sum += out_q > 0 ? out_p * std::log(out_p / out_q) : std::numeric_limits<double>::infinity();
  return std::max(0.0, sum);
}

class Runner {
 public:
  Runner(const std::vector<Subject*>& subjects, const RowPairs* rows, const Documents& documents,
         const Settings& settings, const Watch& watch, const Keeping* keeping)
      : subjects_(subjects), rows_(rows), documents_(documents), settings_(settings), watch_(watch), keeping_(keeping) {
    if (subjects_.size() == 2) {
      common_.emplace(rows_->base, rows_->other, subjects_[0]->Begins(), subjects_[1]->Begins());
      top_k_ = static_cast<int>(std::min<int64_t>(settings_.top_k, common_->common()));
    }
  }

  absl::StatusOr<Measurement> Run() {
    const std::vector<Window>& windows = documents_.windows();
    for (const Window& window : windows) total_ += window.of[0].length() + window.of[1].length();
    Clear();
    if (keeping_ != nullptr && !keeping_->last.empty()) {
      if (RestoreMeasurement(keeping_->last, Shape(), &so_far_, &kept_)) {
        keeping_->went_on(DocumentsDone(), so_far_.done);
      } else {
        Clear();  // No measurement of these windows.
      }
    }
    // The first batch may take seconds.
    RETURN_IF_ERROR(watch_(RunningPerplexity(), so_far_.done, total_));
    for (size_t first = so_far_.block_first; first < windows.size();) {
      size_t end = first;
      uint64_t tokens = 0;
      while (end < windows.size() && (end == first || tokens < kTokensOfABlock)) {
        tokens += std::max(windows[end].of[0].length(), windows[end].of[1].length());
        ++end;
      }
      so_far_.block_first = first;
      RETURN_IF_ERROR(Block(std::span(windows).subspan(first, end - first)));
      first = end;
    }
    so_far_.block_first = windows.size();
    block_.clear();
    Keep();
    return std::move(so_far_.result);
  }

 private:
  absl::Status Block(std::span<const Window> windows) {
    block_.assign(windows.size(), {});
    std::vector<Work*> order;
    for (size_t i = 0; i < windows.size(); ++i) {
      if (const auto kept = kept_.find(i); kept != kept_.end()) {
        static_cast<WindowScores&>(block_[i]) = std::move(kept->second);
        block_[i].done = true;
      }
      block_[i].window = &windows[i];
      if (windows[i].paired) FindMeetings(&block_[i]);
      if (!block_[i].done) order.push_back(&block_[i]);
    }
    kept_.clear();
    // Windows of a like length side by side, the longest first.
    std::stable_sort(order.begin(), order.end(),
                     [](const Work* a, const Work* b) { return a->length() > b->length(); });
    for (size_t first = 0; first < order.size();) {
      const uint64_t longest = (order[first]->length() + 31) / 32 * 32;
      const size_t fit = settings_.batch > 0 ? settings_.batch
                                             : std::max<uint64_t>(1, kTokensOfABatch / std::max<uint64_t>(1, longest));
      const size_t count = std::min(fit, order.size() - first);
      RETURN_IF_ERROR(Batch(std::span(order).subspan(first, count)));
      first += count;
    }
    for (const Work& work : block_) RETURN_IF_ERROR(Sum(work));
    return absl::OkStatus();
  }

  // Walks both segmentations from the window's first byte.
  void FindMeetings(Work* work) const {
    const Window& w = *work->window;
    const Text& text = documents_.texts()[w.text];
    uint64_t at[2] = {w.of[0].begin, w.of[1].begin};
    const auto end = [&](int side, uint64_t k) { return text.end[side][k]; };
    const auto same_token = [&](uint64_t a, uint64_t b) {
      return end(0, a) == end(1, b) && rows_->Same(text.sequence[0][a], text.sequence[1][b]);
    };
    // True if token k has text of its own, so that the place before it is no place within a token.
    const auto moves = [&](int side, uint64_t k) {
      return k >= text.end[side].size() || end(side, k) > end(side, k - 1);
    };
    // What a text begins with is the same by its role. A first token put in place of another is, too.
    bool same = end(0, at[0]) == end(1, at[1]) && (same_token(at[0], at[1]) || (at[0] == 0 && at[1] == 0));
    if (documents_.first_of_window(0) >= 0 && documents_.first_of_window(1) >= 0) same = true;
    while (at[0] < w.of[0].end && at[1] < w.of[1].end) {
      if (end(0, at[0]) == end(1, at[1])) {
        const bool scored = at[0] >= w.of[0].scored_from && at[1] >= w.of[1].scored_from;
        if (scored && (same || (moves(0, at[0] + 1) && moves(1, at[1] + 1)))) {
          const bool same_target = same && same_token(at[0] + 1, at[1] + 1);
          work->meetings.push_back({{at[0], at[1]}, same, same_target});
        }
        ++at[0], ++at[1];
        same = same && at[0] < w.of[0].end && at[1] < w.of[1].end && same_token(at[0], at[1]);
      } else {
        same = false;
        ++at[end(0, at[0]) < end(1, at[1]) ? 0 : 1];
      }
    }
  }

  absl::Status Batch(std::span<Work* const> batch) {
    for (size_t s = 0; s < subjects_.size(); ++s) {
      const Stopwatch watch;
      std::vector<std::vector<int32_t>> ids;
      row_[s].assign(batch.size(), 0);
      for (size_t i = 0; i < batch.size(); ++i) {
        const Range& range = batch[i]->window->of[s];
        if (range.length() == 0) continue;
        const std::vector<int32_t>& sequence = documents_.texts()[batch[i]->window->text].sequence[s];
        row_[s][i] = ids.size();
        ids.emplace_back(sequence.begin() + range.begin, sequence.begin() + range.end);
        if (documents_.first_of_window(s) >= 0) ids.back()[0] = documents_.first_of_window(s);
        so_far_.result.perplexity[s].computed_tokens += range.length();
        so_far_.done += range.length();
      }
      if (ids.empty()) continue;
      RETURN_IF_ERROR(
          subjects_[s]->decoder->Run(std::vector<std::span<const int32_t>>(ids.begin(), ids.end()), &hidden_[s]));
      RETURN_IF_ERROR(ScoreAlone(s, batch));
      so_far_.result.perplexity[s].seconds += watch.seconds();
    }
    if (subjects_.size() == 2) RETURN_IF_ERROR(ScoreMeetings(batch));
    for (Work* work : batch) {
      for (const Scored& scored : work->scored[0]) so_far_.running_nll += scored.nll;
      so_far_.running_tokens += work->scored[0].size();
      work->done = true;
    }
    const absl::Status status = watch_(RunningPerplexity(), so_far_.done, total_);
    if (!status.ok() || pace_.due()) Keep();
    return status;
  }

  double RunningPerplexity() const {
    return std::exp(so_far_.running_nll / std::max<double>(1, so_far_.running_tokens));
  }

  // --- what is kept for a later attempt: sums of the blocks that are done, scores of windows of the one at work ----

  void Clear() {
    so_far_ = {};
    so_far_.result.perplexity.resize(subjects_.size());
    for (Perplexity& perplexity : so_far_.result.perplexity) perplexity.documents.resize(documents_.all().size());
    if (subjects_.size() == 2) so_far_.result.diff.emplace();
    kept_.clear();
  }

  MeasurementShape Shape() const {
    return {documents_.windows().size(), total_, [this](uint64_t window) -> MeasurementShape::OfWindow {
              Work work;
              work.window = &documents_.windows()[window];
              if (work.window->paired) FindMeetings(&work);
              return {{work.window->of[0].scored(), work.window->of[1].scored()}, work.meetings.size()};
            }};
  }

  void Keep() {
    if (keeping_ == nullptr) return;
    const Stopwatch watch;
    KeptWriter out;
    KeepSums(Shape(), so_far_, &out);
    for (size_t i = 0; i < block_.size(); ++i) {
      if (block_[i].done) KeepWindow(i, subjects_.size(), block_[i], &out);
    }
    keeping_->save(out.bytes());
    pace_.Kept(watch);
  }

  // Documents of texts whose windows are all done.
  uint64_t DocumentsDone() const {
    const std::vector<Window>& windows = documents_.windows();
    uint64_t count = 0;
    for (size_t first = 0, end; first < windows.size(); first = end) {
      bool done = true;
      for (end = first; end < windows.size() && windows[end].text == windows[first].text; ++end) {
        done &= end < so_far_.block_first || kept_.contains(end - so_far_.block_first);
      }
      if (done) count += documents_.texts()[windows[first].text].document_end.size();
    }
    return count;
  }

  const void* State(size_t s, size_t i, const Work& work, uint64_t k) const {
    return hidden_[s].row(row_[s][i], k - work.window->of[s].begin);
  }
  int32_t TokenAfter(size_t s, const Work& work, uint64_t k) const {
    return documents_.texts()[work.window->text].sequence[s][k + 1];
  }

  // The scored tokens that follow no meeting.
  absl::Status ScoreAlone(size_t s, std::span<Work* const> batch) {
    std::vector<nn::Position> positions;
    std::vector<Scored*> targets;
    for (size_t i = 0; i < batch.size(); ++i) {
      Work& work = *batch[i];
      const Range& range = work.window->of[s];
      work.scored[s].resize(range.scored());
      size_t meeting = 0;
      for (uint64_t k = range.scored_from; k < range.end; ++k) {
        if (meeting < work.meetings.size() && work.meetings[meeting].at[s] == k) {
          ++meeting;
          continue;
        }
        positions.push_back({State(s, i, work, k), TokenAfter(s, work, k)});
        targets.push_back(&work.scored[s][k - range.scored_from]);
      }
    }
    return Score(s, positions, targets);
  }

  absl::Status Score(size_t s, const std::vector<nn::Position>& positions, const std::vector<Scored*>& targets) const {
    if (positions.empty()) return absl::OkStatus();
    const Subject& subject = *subjects_[s];
    const std::span<const int32_t> marked =
        subject.marked_rows.has_value() ? std::span(*subject.marked_rows) : std::span<const int32_t>();
    std::vector<double> outside;
    ASSIGN_OR_RETURN(const std::vector<nn::Score> scores,
                     nn::ScoreTargets(*subject.decoder, positions, subject.rows, marked, &outside));
    for (size_t i = 0; i < scores.size(); ++i) *targets[i] = {scores[i].nll, outside[i]};
    return absl::OkStatus();
  }

  absl::Status ScoreMeetings(std::span<Work* const> batch) {
    const Stopwatch watch;
    std::vector<nn::PairPosition> positions;
    std::vector<std::pair<Work*, size_t>> at;
    for (size_t i = 0; i < batch.size(); ++i) {
      Work& work = *batch[i];
      work.pairs.resize(work.meetings.size());
      for (size_t m = 0; m < work.meetings.size(); ++m) {
        const Meeting& meeting = work.meetings[m];
        nn::PairPosition& position = positions.emplace_back();
        for (size_t s = 0; s < 2; ++s) {
          position.hidden[s] = State(s, i, work, meeting.at[s]);
          position.target[s] = TokenAfter(s, work, meeting.at[s]);
        }
        position.tokens = meeting.same_tokens;
        at.emplace_back(&work, m);
      }
    }
    RETURN_IF_ERROR(nn::ComparePositions(*subjects_[0]->decoder, *subjects_[1]->decoder, positions, *common_, top_k_,
                                         [&](size_t index, const nn::PairScore& score) {
                                           const auto [work, m] = at[index];
                                           work->pairs[m] = score;
                                           for (size_t s = 0; s < 2; ++s) {
                                             const uint64_t k =
                                                 work->meetings[m].at[s] - work->window->of[s].scored_from;
                                             work->scored[s][k].nll = score.score[s].nll;
                                           }
                                         }));
    // A comparison does not tell what marked rows have: another pass of the head does.
    for (size_t s = 0; s < 2; ++s) {
      if (!subjects_[s]->marked_rows.has_value() || subjects_[s]->marked_rows->empty()) continue;
      std::vector<nn::Position> alone;
      std::vector<Scored*> targets;
      for (size_t i = 0; i < positions.size(); ++i) {
        const auto [work, m] = at[i];
        const uint64_t k = work->meetings[m].at[s];
        alone.push_back({positions[i].hidden[s], static_cast<int32_t>(positions[i].target[s])});
        targets.push_back(&work->scored[s][k - work->window->of[s].scored_from]);
      }
      RETURN_IF_ERROR(Score(s, alone, targets));
    }
    for (Perplexity& perplexity : so_far_.result.perplexity) perplexity.seconds += watch.seconds() / 2;
    return absl::OkStatus();
  }

  absl::Status Sum(const Work& work) {
    const Text& text = documents_.texts()[work.window->text];
    for (size_t s = 0; s < subjects_.size(); ++s) {
      Perplexity& perplexity = so_far_.result.perplexity[s];
      const Range& range = work.window->of[s];
      size_t d = 0;
      double sum = 0;
      for (uint64_t i = 0; i < range.scored(); ++i) {
        const uint64_t k = range.scored_from + i + 1;
        const double nll = work.scored[s][i].nll;
        while (d + 1 < text.document_end.size() && text.end[s][k] > text.document_end[d]) ++d;
        const uint32_t document = text.first_document + d;
        if (!std::isfinite(nll)) {
          return absl::FailedPreconditionError(StrCat(subjects_[s]->name, ": no finite probability of token ", k,
                                                      " of document ", document + 1,
                                                      "; its weights hold NaN or infinity, or overflow"));
        }
        Scores& scores = perplexity.documents[document];
        ++scores.tokens;
        scores.bytes += text.end[s][k] - text.end[s][k - 1];
        scores.nll += nll;
        scores.outside += work.scored[s][i].outside;
        perplexity.nll_squares += nll * nll;
        sum += nll;
      }
      if (range.scored() > 0) {
        perplexity.weighted += sum / static_cast<double>(range.scored()) * static_cast<double>(range.weight);
        perplexity.weights += static_cast<double>(range.weight);
      }
    }
    if (subjects_.size() == 2) SumDiff(work, text);
    return absl::OkStatus();
  }

  void SumDiff(const Work& work, const Text& text) {
    LogitsDiff& diff = *so_far_.result.diff;
    diff.left_out += work.window->of[0].scored();
    for (size_t m = 0; m < work.meetings.size(); ++m) {
      const Meeting& meeting = work.meetings[m];
      const nn::PairScore& pair = work.pairs[m];
      ++diff.boundaries;
      diff.next_byte_kl += pair.next_byte_kl;
      diff.next_byte_kl_reverse += pair.next_byte_kl_reverse;
      const uint64_t next[2] = {meeting.at[0] + 1, meeting.at[1] + 1};
      if (text.end[0][next[0]] == text.end[1][next[1]] &&
          rows_->Same(text.sequence[0][next[0]], text.sequence[1][next[1]])) {
        diff.bytes_cut_alike += text.end[0][next[0]] - text.end[0][next[0] - 1];
      }
      if (!meeting.same_tokens) {
        ++diff.cut_otherwise;
        diff.next_byte_kl_cut_otherwise += pair.next_byte_kl;
        continue;
      }
      ++diff.positions;
      --diff.left_out;
      diff.max_abs = std::max<double>(diff.max_abs, pair.max_abs);
      diff.squares += pair.squares;
      diff.max_abs_centred = std::max<double>(diff.max_abs_centred, pair.max_abs_centred);
      diff.squares_centred += pair.squares_centred;
      diff.kl += pair.kl;
      diff.kl_reverse += pair.kl_reverse;
      diff.js += pair.js;
      diff.kl_coarse += Coarse(pair.kl, pair.common[0], pair.others[0], pair.common[1], pair.others[1]);
      diff.kl_coarse_reverse += Coarse(pair.kl_reverse, pair.common[1], pair.others[1], pair.common[0], pair.others[0]);
      diff.removed_mass += pair.others[0];
      diff.leaked_mass += pair.others[1];
      diff.same_top += pair.same_top_common;
      diff.shared_top += pair.shared_top;
      if (meeting.same_target) diff.targets.Add({pair.score[0].nll, pair.score[1].nll, pair.kl, pair.same_top});
    }
  }

  const std::vector<Subject*>& subjects_;
  const RowPairs* const rows_;
  const Documents& documents_;
  const Settings& settings_;
  const Watch& watch_;
  const Keeping* const keeping_;
  std::optional<nn::CommonRows> common_;
  int top_k_ = 0;

  MeasuredSoFar so_far_;
  std::vector<Work> block_;                // The block at work,
  std::map<uint64_t, WindowScores> kept_;  // and what an earlier attempt did of it.
  KeepPace pace_;

  // Of the batch at work.
  nn::HiddenStates hidden_[2];
  std::vector<size_t> row_[2];  // By place in the batch: the row of hidden_.

  uint64_t total_ = 0;  // Tokens.
};

}  // namespace

Scores Perplexity::total() const {
  Scores out;
  for (const Scores& document : documents) {
    out.tokens += document.tokens;
    out.bytes += document.bytes;
    out.nll += document.nll;
    out.outside += document.outside;
  }
  return out;
}

double Perplexity::log_perplexity() const {
  if (weights > 0) return weighted / weights;
  const Scores all = total();
  return all.nll / std::max<double>(1, all.tokens);
}

absl::StatusOr<Measurement> Measure(const std::vector<Subject*>& subjects, const RowPairs* rows,
                                    const Documents& documents, const Settings& settings, const Watch& watch,
                                    const Keeping* keeping) {
  return Runner(subjects, rows, documents, settings, watch, keeping).Run();
}

}  // namespace editd::evaluate
