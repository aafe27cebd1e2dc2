// Methods that look at single positions or rows: SCE, RAM, nearswap, Arcee Fusion.
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/container/inlined_vector.h"
#include "plugins/merge/rank_select.h"
#include "plugins/merge/tensor_merge.h"

namespace editd::merge {
namespace {

class NearSwap : public TensorMerge {
 public:
  using TensorMerge::TensorMerge;
  void Blend(int64_t begin, size_t n, Scratch* scratch, float* out) override {
    float *base = scratch->Floats(0, n), *x = scratch->Floats(1, n);
    plan_.base->Load(begin, n, base);
    plan_.parts[0].source.Load(begin, n, x);
    k_.near(base, x, static_cast<float>(plan_.settings.t), n, out);
  }
};

// RAM and RAM+: a difference counts if it is larger than epsilon. Where one model has one it is taken whole (RAM+:
// enlarged), where several have one their mean is taken.
class Ram : public TensorMerge {
 public:
  explicit Ram(const TensorPlan& plan)
      : TensorMerge(plan),
        epsilon_(static_cast<float>(plan.settings.epsilon)),
        plus_(plan.settings.method == v1::METHOD_RAMPLUS_TL),
        enlarge_(plan.parts.size(), 1.0f),
        shared_(plan.parts.size()),
        unique_(plan.parts.size()) {}

  bool Advance(Scratch*) override {
    if (!plus_) return false;
    if (!std::exchange(scanned_, true)) return true;
    const Settings& s = plan_.settings;
    for (size_t i = 0; i < enlarge_.size(); ++i) {
      const double ratio = static_cast<double>(shared_[i]) / std::max(static_cast<double>(unique_[i]), s.epsilon);
      enlarge_[i] = static_cast<float>(1 + s.r * std::clamp(ratio, 0.0, s.alpha));
    }
    return false;
  }

  void Scan(int64_t first, int64_t end, Scratch* scratch) override {
    std::vector<int64_t> shared(enlarge_.size()), unique(enlarge_.size());
    ForBlocks(first, end, [&](int64_t, int64_t begin, size_t n) {
      const float* count = Load(begin, n, scratch);
      for (size_t i = 0; i < enlarge_.size(); ++i) {
        const float* d = scratch->Floats(kDifferences + i, n);
        int64_t several = 0, one = 0;
        for (size_t k = 0; k < n; ++k) {
          const bool changed = std::fabs(d[k]) > epsilon_;
          several += changed && count[k] > 1;
          one += changed && count[k] == 1;
        }
        shared[i] += several;
        unique[i] += one;
      }
    });
    for (size_t i = 0; i < enlarge_.size(); ++i) {
      shared_[i] += shared[i];
      unique_[i] += unique[i];
    }
  }

  void Blend(int64_t begin, size_t n, Scratch* scratch, float* out) override {
    const float* count = Load(begin, n, scratch);
    float* mean = scratch->Floats(kMean, n);
    std::memset(out, 0, n * sizeof(float));
    std::memset(mean, 0, n * sizeof(float));
    for (size_t i = 0; i < enlarge_.size(); ++i) {
      const float* d = scratch->Floats(kDifferences + i, n);
      const float by = enlarge_[i];
      for (size_t k = 0; k < n; ++k) {
        const float changed = std::fabs(d[k]) > epsilon_ ? d[k] : 0.0f;
        mean[k] += count[k] > 1 ? changed : 0.0f;
        out[k] += count[k] > 1 ? 0.0f : changed * by;
      }
    }
    const float* base = scratch->Floats(kBase, n);
    for (size_t k = 0; k < n; ++k) out[k] = base[k] + (out[k] + mean[k] / std::max(count[k], 1.0f));
  }

 private:
  enum { kBase, kCount, kMean, kDifferences };

  // Loads the base and the differences, and counts how many models have one.
  const float* Load(int64_t begin, size_t n, Scratch* scratch) const {
    float *base = scratch->Floats(kBase, n), *count = scratch->Floats(kCount, n);
    plan_.base->Load(begin, n, base);
    std::memset(count, 0, n * sizeof(float));
    for (size_t i = 0; i < enlarge_.size(); ++i) {
      float* d = scratch->Floats(kDifferences + i, n);
      plan_.parts[i].source.Load(begin, n, d);
      k_.subtract(d, base, n, d);
      for (size_t k = 0; k < n; ++k) count[k] += std::fabs(d[k]) > epsilon_ ? 1.0f : 0.0f;
    }
    return count;
  }

  const float epsilon_;
  const bool plus_;
  bool scanned_ = false;
  std::vector<float> enlarge_;
  std::vector<std::atomic<int64_t>> shared_, unique_;
};

// SCE: the positions where the models differ most from each other, models weighted by their energy there, and of each
// position the differences of the elected sign.
class Sce : public TensorMerge {
 public:
  explicit Sce(const TensorPlan& plan)
      : TensorMerge(plan), weights_(plan.parts.size(), 1.0 / static_cast<double>(plan.parts.size())) {
    if (plan.settings.select_topk < 1) {
      // How many positions stay depends on how many vary at all, which the first pass counts.
      selection_ =
          std::make_unique<RankSelect>(std::vector<int64_t>{std::max<int64_t>(1, elements() - 1)}, elements(), block(),
                                       RankSelect::Options{.sampled = std::numeric_limits<int64_t>::max()});
    }
  }

  bool Advance(Scratch*) override {
    if (selection_ != nullptr && !selected_) {
      if (passes_++ == 1) {
        const double varying = static_cast<double>(elements() - still_);
        // At least one, as for a density.
        const int64_t least = varying > 0 ? 1 : 0;
        selection_->SetCounts({std::max(least, static_cast<int64_t>(varying * plan_.settings.select_topk))});
      }
      if (selection_->Advance()) return true;
      selected_ = true;
    }
    const size_t models = plan_.parts.size();
    if (energies_.empty()) {
      energies_.resize(static_cast<size_t>(leaves()) * models);
      return true;
    }
    double all = 0;
    std::vector<double> energies(models);
    for (size_t i = 0; i < models; ++i) {
      energies[i] = TreeSum(&energies_[i], static_cast<size_t>(leaves()), models);
      all += energies[i];
    }
    if (all > 0) {
      for (size_t i = 0; i < models; ++i) weights_[i] = energies[i] / all;
    }
    return false;
  }

  void Scan(int64_t first, int64_t end, Scratch* scratch) override {
    if (selection_ != nullptr && !selected_) {
      uint32_t* words = scratch->Words(0, selection_->words());
      std::memset(words, 0, selection_->words() * sizeof(uint32_t));
      int64_t still = 0;
      ForBlocks(first, end, [&](int64_t, int64_t begin, size_t n) {
        Load(begin, n, scratch);
        float* variance = Variance(n, scratch);
        if (passes_ == 1) still += static_cast<int64_t>(k_.count_equal(variance, 0, n));
        selection_->Count(variance, begin, n, words);
      });
      still_ += still;
      return selection_->Add(words);
    }
    Prepare(first * leaf(), std::min(elements(), end * leaf()), scratch);
    ForBlocks(first, end, [&](int64_t leaf, int64_t begin, size_t n) {
      Load(begin, n, scratch);
      Select(begin, n, scratch);
      for (size_t i = 0; i < weights_.size(); ++i) {
        const float* d = scratch->Floats(kDifferences + i, n);
        energies_[static_cast<size_t>(leaf) * weights_.size() + i] += k_.dot(d, d, n);
      }
    });
  }

  void Prepare(int64_t begin, int64_t end, Scratch* scratch) override {
    if (selection_ == nullptr) return;
    selection_->Ties(begin, end, [&](int64_t at, size_t n) {
      Load(at, n, scratch);
      return Variance(n, scratch);
    });
  }

  void Blend(int64_t begin, size_t n, Scratch* scratch, float* out) override {
    Load(begin, n, scratch);
    Select(begin, n, scratch);
    absl::InlinedVector<const float*, 8> differences;
    for (size_t i = 0; i < weights_.size(); ++i) differences.push_back(scratch->Floats(kDifferences + i, n));
    const std::vector<float> weights(weights_.begin(), weights_.end());
    k_.elect(differences.data(), {kernels::Election::By::kPlain, weights.size(), weights.data(), weights.data()}, n,
             out);
    k_.add(scratch->Floats(kBase, n), out, n, out);
  }

 private:
  enum { kBase, kSum, kVariance, kWeighted, kDifferences };

  void Load(int64_t begin, size_t n, Scratch* scratch) const {
    float* base = scratch->Floats(kBase, n);
    plan_.base->Load(begin, n, base);
    for (size_t i = 0; i < weights_.size(); ++i) {
      float* d = scratch->Floats(kDifferences + i, n);
      plan_.parts[i].source.Load(begin, n, d);
      k_.subtract(d, base, n, d);
    }
  }

  // Of the differences at each position, over the models.
  float* Variance(size_t n, Scratch* scratch) const {
    const float count = static_cast<float>(weights_.size());
    float *mean = scratch->Floats(kSum, n), *variance = scratch->Floats(kVariance, n);
    float* off = scratch->Floats(kWeighted, n);
    std::memset(mean, 0, n * sizeof(float));
    std::memset(variance, 0, n * sizeof(float));
    for (size_t i = 0; i < weights_.size(); ++i) k_.add(mean, scratch->Floats(kDifferences + i, n), n, mean);
    k_.divide(mean, count, n);
    for (size_t i = 0; i < weights_.size(); ++i) {
      k_.subtract(scratch->Floats(kDifferences + i, n), mean, n, off);
      k_.multiply(off, off, n, off);
      k_.add(variance, off, n, variance);
    }
    k_.divide(variance, count, n);
    return variance;
  }

  // Zero in the differences: the positions that do not stay.
  void Select(int64_t begin, size_t n, Scratch* scratch) const {
    if (selection_ == nullptr) return;
    float* variance = Variance(n, scratch);
    selection_->Keep(0, variance, begin, n);
    for (size_t i = 0; i < weights_.size(); ++i) {
      float* d = scratch->Floats(kDifferences + i, n);
      for (size_t k = 0; k < n; ++k) d[k] = variance[k] > 0 ? d[k] : 0.0f;
    }
  }

  std::vector<double> weights_;
  std::unique_ptr<RankSelect> selection_;
  bool selected_ = false;
  int passes_ = 0;
  std::atomic<int64_t> still_ = 0;  // Positions without variance.
  std::vector<double> energies_;    // leaves x models.
};

// Arcee Fusion: a change's importance is its size times its row's divergence (Kullback-Leibler, of the rows'
// soft-maxes). What lies far above the median of importances is taken from the other model.
class Fusion : public TensorMerge {
 public:
  explicit Fusion(const TensorPlan& plan) : TensorMerge(plan), divergence_(static_cast<size_t>(plan.rows())) {
    UseRows();
    const int64_t n = elements();
    std::vector<int64_t> counts;  // The k-th largest is the number at floor(q (n - 1)) of the ascending order.
    for (const double q : {0.25, 0.5, 0.75}) {
      counts.push_back(n - static_cast<int64_t>(q * static_cast<double>(n - 1)));
    }
    selection_ = std::make_unique<RankSelect>(counts, n, block(), RankSelect::Options{.exact_ties = false});
  }

  bool Advance(Scratch*) override {
    if (passes_++ == 0) return true;  // Divergences.
    if (selection_->Advance()) return true;
    const float q1 = std::bit_cast<float>(selection_->Key(0)), median = std::bit_cast<float>(selection_->Key(1));
    const float q3 = std::bit_cast<float>(selection_->Key(2));
    threshold_ = median + 1.5f * (q3 - q1);
    return false;
  }

  void Scan(int64_t first, int64_t end, Scratch* scratch) override {
    if (passes_ == 1) {
      ForBlocks(first, end, [&](int64_t, int64_t begin, size_t n) {
        Load(begin, n, scratch);
        divergence_[static_cast<size_t>(begin / block())] =
            Divergence(scratch->Floats(kX, n), scratch->Floats(kBase, n), n, scratch);
      });
      return;
    }
    uint32_t* words = scratch->Words(0, selection_->words());
    std::memset(words, 0, selection_->words() * sizeof(uint32_t));
    ForBlocks(first, end, [&](int64_t, int64_t begin, size_t n) {
      const size_t wanted = selection_->Wanted(begin, n);
      if (wanted == 0) return;
      Load(begin, wanted, scratch);
      selection_->Count(Importance(begin, wanted, scratch), begin, wanted, words);
    });
    selection_->Add(words);
  }

  void Blend(int64_t begin, size_t n, Scratch* scratch, float* out) override {
    Load(begin, n, scratch);
    const float* importance = Importance(begin, n, scratch);
    const float *x = scratch->Floats(kX, n), *base = scratch->Floats(kBase, n);
    for (size_t i = 0; i < n; ++i) out[i] = base[i] + (importance[i] >= threshold_ ? x[i] - base[i] : 0.0f);
  }

 private:
  enum { kBase, kX, kImportance };

  void Load(int64_t begin, size_t n, Scratch* scratch) const {
    plan_.base->Load(begin, n, scratch->Floats(kBase, n));
    plan_.parts[0].source.Load(begin, n, scratch->Floats(kX, n));
  }

  const float* Importance(int64_t begin, size_t n, Scratch* scratch) const {
    const float *x = scratch->Floats(kX, n), *base = scratch->Floats(kBase, n);
    float* importance = scratch->Floats(kImportance, n);
    const float divergence = divergence_[static_cast<size_t>(begin / block())];
    for (size_t i = 0; i < n; ++i) importance[i] = std::fabs(x[i] - base[i]) * divergence;
    return importance;
  }

  // Never below zero: a divergence is not, but the 1e-8 that keeps the logarithm finite may make it so.
  static float Divergence(const float* x, const float* base, size_t n, Scratch* scratch) {
    double *p = scratch->Doubles(2 * n), *q = p + n;
    const auto soft_max = [n](const float* v, double* out) {
      double largest = static_cast<double>(v[0]), sum = 0;
      for (size_t i = 1; i < n; ++i) largest = std::max(largest, static_cast<double>(v[i]));
      for (size_t i = 0; i < n; ++i) sum += out[i] = std::exp(static_cast<double>(v[i]) - largest);
      for (size_t i = 0; i < n; ++i) out[i] = out[i] / sum + 1e-8;
    };
    soft_max(x, p);
    soft_max(base, q);
    double divergence = 0;
    for (size_t i = 0; i < n; ++i) divergence += p[i] * std::log(p[i] / q[i]);
    return static_cast<float>(std::max(divergence, 0.0));
  }

  int passes_ = 0;
  std::vector<float> divergence_;  // Of each row.
  std::unique_ptr<RankSelect> selection_;
  float threshold_ = 0;
};

}  // namespace

std::unique_ptr<TensorMerge> MakeSelective(const TensorPlan& plan) {
  switch (plan.settings.method) {
    case v1::METHOD_NEARSWAP:
      return std::make_unique<NearSwap>(plan);
    case v1::METHOD_RAM:
    case v1::METHOD_RAMPLUS_TL:
      return std::make_unique<Ram>(plan);
    case v1::METHOD_SCE:
      return std::make_unique<Sce>(plan);
    case v1::METHOD_ARCEE_FUSION:
      return std::make_unique<Fusion>(plan);
    default:
      return nullptr;
  }
}

}  // namespace editd::merge
