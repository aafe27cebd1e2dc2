// Methods that add differences from the base, most of them after dropping some: task arithmetic, TIES, DARE,
// breadcrumbs, DELLA. One pipeline, block by block:
//
//   d_i = x_i - base; drop; make up for it; D_i = w_i d_i; where signs are elected, only D_i of the elected sign;
//   sum; divide; times lambda; plus base.
//
// Which differences are dropped by magnitude is known after the passes of RankSelect; the random ones follow from their
// number alone; DELLA ranks each row where it is needed. Making up by the sum of magnitudes takes one more pass.
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "absl/container/inlined_vector.h"
#include "plugins/lib/kernels/random.h"
#include "plugins/merge/rank_select.h"
#include "plugins/merge/tensor_merge.h"

namespace editd::merge {
namespace {

enum class Drop { kNothing, kSmall, kRandom, kBothEnds, kByRank };

Drop DropOf(v1::Method method) {
  switch (method) {
    case v1::METHOD_TIES:
      return Drop::kSmall;
    case v1::METHOD_DARE_LINEAR:
    case v1::METHOD_DARE_TIES:
      return Drop::kRandom;
    case v1::METHOD_BREADCRUMBS:
    case v1::METHOD_BREADCRUMBS_TIES:
      return Drop::kBothEnds;
    case v1::METHOD_DELLA:
    case v1::METHOD_DELLA_LINEAR:
      return Drop::kByRank;
    default:
      return Drop::kNothing;
  }
}

bool ElectsSigns(v1::Method method) {
  return method == v1::METHOD_TIES || method == v1::METHOD_DARE_TIES || method == v1::METHOD_BREADCRUMBS_TIES ||
         method == v1::METHOD_DELLA;
}

// A probability as a bound for 32 random bits.
uint32_t Limit(double probability) {
  return static_cast<uint32_t>(std::min(std::max(probability, 0.0) * 0x1p32, 0x1p32 - 1));
}

// The places of a row's numbers in order of magnitude, equal ones by place: a radix sort of pairs, the magnitude's bits
// above the place, a byte a pass. A byte that all have in common (the last ones of bfloat16's differences) takes none.
// `room` is for 2 n.
const uint64_t* InOrder(const float* x, size_t n, uint64_t* room) {
  uint32_t counts[4][256] = {};
  uint64_t *from = room, *to = room + n;
  for (size_t i = 0; i < n; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i]) & kernels::kMagnitudeBits;
    for (int pass = 0; pass < 4; ++pass) ++counts[pass][bits >> (8 * pass) & 255];
    from[i] = uint64_t{bits} << 32 | i;
  }
  for (int pass = 0; pass < 4; ++pass) {
    const int shift = 32 + 8 * pass;
    if (n == 0 || counts[pass][from[0] >> shift & 255] == n) continue;
    uint32_t sum = 0;
    for (uint32_t& count : counts[pass]) sum += std::exchange(count, sum);
    for (size_t i = 0; i < n; ++i) to[counts[pass][from[i] >> shift & 255]++] = from[i];
    std::swap(from, to);
  }
  return from;
}

class Sparse : public TensorMerge {
 public:
  explicit Sparse(const TensorPlan& plan)
      : TensorMerge(plan),
        drop_(DropOf(plan.settings.method)),
        elects_(ElectsSigns(plan.settings.method)),
        name_(kernels::HashName(plan.name)) {
    if (drop_ == Drop::kByRank) UseRows();
    by_l1_ = plan.settings.rescale == v1::RESCALE_L1 && drop_ != Drop::kNothing;
    bool drops = false;
    for (const Part& part : plan.parts) {
      drops = drops || part.density < 1;
      made_up_.push_back(1);
      selections_.push_back(nullptr);
      if (part.density >= 1) continue;
      if (plan.settings.rescale == v1::RESCALE_INVERSE_DENSITY && drop_ != Drop::kByRank) {
        made_up_.back() = static_cast<float>(1 / part.density);
      }
      if (drop_ == Drop::kSmall) selections_.back() = Select({Count(part.density)});
      if (drop_ == Drop::kBothEnds) {
        // Of the numbers in descending order those from `top` on, `kept` of them. Where the two ends leave no room the
        // upper one gives way.
        const int64_t kept = Count(part.density);
        const int64_t top =
            std::min(static_cast<int64_t>(part.gamma * static_cast<double>(elements())), elements() - kept);
        selections_.back() = Select({top + kept, top});
      }
    }
    by_l1_ = by_l1_ && drops;
    if (drop_ == Drop::kByRank) {
      chances_.resize(plan.parts.size());
      for (size_t i = 0; i < chances_.size(); ++i) {
        if (plan.parts[i].density < 1) SetChances(plan.parts[i], &chances_[i]);
      }
    }
    if (by_l1_ && ByMask() && elements() <= kMaskedElements) masks_.resize(plan.parts.size());
    for (const Part& part : plan.parts) weights_.push_back(static_cast<float>(part.weight));
    ones_.assign(weights_.size(), 1.0f);
  }

  bool Advance(Scratch*) override {
    if (!selected_) {
      bool scan = false;
      for (const auto& selection : selections_) scan |= selection != nullptr && selection->Advance();
      if (scan) return true;
      selected_ = true;
    }
    if (!by_l1_) return false;
    const size_t models = plan_.parts.size();
    if (sums_.empty()) {
      sums_.resize(static_cast<size_t>(leaves()) * models * 2);
      for (size_t i = 0; i < masks_.size(); ++i) {
        if (plan_.parts[i].density < 1) masks_[i].resize(MaskOf(elements() + block() - 1));
      }
      return true;
    }
    for (size_t i = 0; i < models; ++i) {
      const auto sum = [&](size_t which) {
        return TreeSum(&sums_[2 * i + which], static_cast<size_t>(leaves()), 2 * models);
      };
      const double before = sum(0), after = sum(1);
      if (before > 1e-7 && after > 1e-7) made_up_[i] = static_cast<float>(before / after);
    }
    return false;
  }

  void Scan(int64_t first, int64_t end, Scratch* scratch) override {
    const size_t models = plan_.parts.size();
    if (!selected_) {
      for (size_t i = 0; i < models; ++i) {
        if (selections_[i] == nullptr) continue;
        uint32_t* words = scratch->Words(kCounters + i, selections_[i]->words());
        std::memset(words, 0, selections_[i]->words() * sizeof(uint32_t));
      }
    }
    if (selected_) Prepare(first * leaf(), std::min(elements(), end * leaf()), scratch);
    ForBlocks(first, end, [&](int64_t leaf, int64_t begin, size_t n) {
      if (!selected_) return CountBlock(begin, n, scratch);
      const float* base = LoadBase(begin, n, scratch);
      for (size_t i = 0; i < models; ++i) {
        float* d = Difference(i, base, begin, n, scratch);
        double* sums = &sums_[(static_cast<size_t>(leaf) * models + i) * 2];
        if (ByMask() && plan_.parts[i].density < 1) {
          double all, kept;
          k_.sums_abs_masked(d, Mask(i, d, begin, n, scratch), n, &all, &kept);
          sums[0] += all;
          sums[1] += kept;
          continue;
        }
        sums[0] += k_.sum_abs(d, n);
        Sparsify(i, d, begin, n);
        sums[1] += k_.sum_abs(d, n);
      }
    });
    if (selected_) return;
    for (size_t i = 0; i < models; ++i) {
      if (selections_[i] != nullptr) selections_[i]->Add(scratch->Words(kCounters + i, 0));
    }
  }

  void Prepare(int64_t begin, int64_t end, Scratch* scratch) override {
    for (size_t i = 0; i < selections_.size(); ++i) {
      if (selections_[i] == nullptr) continue;
      selections_[i]->Ties(
          begin, end, [&](int64_t at, size_t n) { return Difference(i, LoadBase(at, n, scratch), at, n, scratch); });
    }
  }

  void Blend(int64_t begin, size_t n, Scratch* scratch, float* out) override {
    const Settings& s = plan_.settings;
    const float* base = LoadBase(begin, n, scratch);
    absl::InlinedVector<const float*, 8> differences;
    for (size_t i = 0; i < plan_.parts.size(); ++i) {
      float* d = Difference(i, base, begin, n, scratch);
      if (ByMask() && plan_.parts[i].density < 1) {
        k_.keep_masked(d, masks_.empty() ? Mask(i, d, begin, n, scratch) : &masks_[i][MaskOf(begin)], n);
      } else {
        Sparsify(i, d, begin, n);
      }
      if (made_up_[i] != 1) k_.scale(d, made_up_[i], n, d);
      differences.push_back(d);
    }
    if (elects_) {
      k_.elect(differences.data(), Signs(), n, out);
    } else {
      double weights = 0;
      std::memset(out, 0, n * sizeof(float));
      for (size_t i = 0; i < differences.size(); ++i) {
        k_.add_scaled(differences[i], weights_[i], n, out);
        weights += plan_.parts[i].weight;
      }
      if (s.normalize && std::fabs(weights) >= 1e-8) k_.divide(out, static_cast<float>(weights), n);
    }
    if (s.lambda != 1) k_.scale(out, static_cast<float>(s.lambda), n, out);
    k_.add(base, out, n, out);
  }

 private:
  // Scratch.
  enum { kBase, kDifferences };
  enum { kRandomBits, kLimits, kCounters };
  enum { kMask, kOrder };
  // The mask of a tensor of up to so many elements is kept from one pass to the next: 2 MiB a model.
  static constexpr int64_t kMaskedElements = int64_t{1} << 24;

  // Of a row's numbers in order of magnitude: bounds of random bits, and what those that stay are multiplied by.
  struct Chances {
    std::vector<uint32_t> limit;
    std::vector<float> made_up;  // Empty: nothing.
  };

  // The share of elements that stays, at least one: so that the smallest norm's largest difference is not lost.
  int64_t Count(double density) const {
    const int64_t count = static_cast<int64_t>(density * static_cast<double>(elements()));
    return std::clamp<int64_t>(count, std::min<int64_t>(1, elements()), elements());
  }
  std::unique_ptr<RankSelect> Select(std::vector<int64_t> counts) const {
    return std::make_unique<RankSelect>(std::move(counts), elements(), block());
  }

  const float* LoadBase(int64_t begin, size_t n, Scratch* scratch) const {
    float* base = scratch->Floats(kBase, n);
    plan_.base->Load(begin, n, base);
    return base;
  }
  float* Difference(size_t i, const float* base, int64_t begin, size_t n, Scratch* scratch) const {
    float* d = scratch->Floats(kDifferences + i, n);
    plan_.parts[i].source.Load(begin, n, d);
    k_.subtract(d, base, n, d);
    return d;
  }

  // A pass of the selections that are open.
  void CountBlock(int64_t begin, size_t n, Scratch* scratch) const {
    const float* base = nullptr;
    size_t loaded = 0;
    for (size_t i = 0; i < selections_.size(); ++i) {
      const size_t wanted = selections_[i] == nullptr ? 0 : selections_[i]->Wanted(begin, n);
      if (wanted == 0) continue;
      if (wanted > loaded) base = LoadBase(begin, loaded = wanted, scratch);
      selections_[i]->Count(Difference(i, base, begin, wanted, scratch), begin, wanted,
                            scratch->Words(kCounters + i, 0));
    }
  }

  bool ByMask() const { return drop_ == Drop::kRandom || drop_ == Drop::kByRank; }
  // Where the block at `begin` has its words in a kept mask: each block begins with a word.
  size_t MaskOf(int64_t begin) const { return static_cast<size_t>(begin / block() * ((block() + 63) / 64)); }

  // Which of a model's differences stay, made now and kept if masks are. For ranks the differences are made up for,
  // too.
  const uint64_t* Mask(size_t i, float* d, int64_t begin, size_t n, Scratch* scratch) {
    uint64_t* mask = masks_.empty() ? scratch->Longs(kMask, n / 64 + 1) : &masks_[i][MaskOf(begin)];
    const Part& part = plan_.parts[i];
    if (drop_ == Drop::kByRank) {
      MaskByRank(i, d, begin, n, scratch, mask);
    } else {
      k_.random_mask(plan_.settings.seed, name_, part.stream, static_cast<uint64_t>(begin), n, Limit(part.density),
                     mask);
    }
    return mask;
  }

  kernels::Election Signs() const {
    using By = kernels::Election::By;
    const Settings& s = plan_.settings;
    kernels::Election election;
    election.by = s.election == v1::ELECTION_COUNT ? By::kSigns
                  : s.election == v1::ELECTION_SUM ? By::kPlain
                                                   : By::kWeighted;
    election.models = weights_.size();
    election.weights = weights_.data();
    if (s.normalize) election.shares = s.divisor == v1::DIVISOR_COUNT ? ones_.data() : weights_.data();
    return election;
  }

  void Sparsify(size_t i, float* d, int64_t begin, size_t n) const {
    const Part& part = plan_.parts[i];
    if (part.density >= 1) return;
    switch (drop_) {
      case Drop::kNothing:
        return;
      case Drop::kSmall:
        return selections_[i]->Keep(0, d, begin, n);
      case Drop::kBothEnds:
        return selections_[i]->KeepWithout(0, 1, d, begin, n);
      case Drop::kRandom:
      case Drop::kByRank:
        return;  // By their masks.
    }
  }

  const uint32_t* Random(const Part& part, int64_t begin, size_t n, Scratch* scratch) const {
    const size_t lead = static_cast<size_t>(begin % 64);
    uint32_t* bits = scratch->Words(kRandomBits, n + lead);
    k_.random_bits(plan_.settings.seed, name_, part.stream, static_cast<uint64_t>(begin) - lead, n + lead, bits);
    return bits + lead;
  }

  // The smallest of a row stays with probability density - epsilon, the largest with density + epsilon.
  void SetChances(const Part& part, Chances* chances) const {
    const size_t n = static_cast<size_t>(block());
    const double least = n < 2 ? part.density : part.density - part.epsilon;
    const double step = n < 2 ? 0 : 2 * part.epsilon / static_cast<double>(n - 1);
    for (size_t rank = 0; rank < n; ++rank) {
      const double stays = least + step * static_cast<double>(rank);
      chances->limit.push_back(Limit(stays));
      if (plan_.settings.rescale == v1::RESCALE_INVERSE_DENSITY) {
        chances->made_up.push_back(static_cast<float>(1 / stays));
      }
    }
  }

  void MaskByRank(size_t i, float* d, int64_t begin, size_t n, Scratch* scratch, uint64_t* mask) const {
    const uint32_t* bits = Random(plan_.parts[i], begin, n, scratch);
    const uint64_t* order = InOrder(d, n, scratch->Longs(kOrder, 2 * n));
    uint32_t* limits = scratch->Words(kLimits, n);
    const Chances& chances = chances_[i];
    for (size_t rank = 0; rank < n; ++rank) {
      const uint32_t k = static_cast<uint32_t>(order[rank]);
      limits[k] = chances.limit[rank];
      if (!chances.made_up.empty()) d[k] = d[k] * chances.made_up[rank];
    }
    for (size_t k = 0; k < n; k += 64) {
      uint64_t word = 0;
      for (size_t bit = 0; bit < std::min<size_t>(64, n - k); ++bit) {
        word |= uint64_t{bits[k + bit] < limits[k + bit]} << bit;
      }
      mask[k / 64] = word;
    }
  }

  const Drop drop_;
  const bool elects_;
  const uint64_t name_;
  bool by_l1_ = false;
  bool selected_ = false;
  std::vector<std::unique_ptr<RankSelect>> selections_;  // A part each; null if it drops nothing by magnitude.
  std::vector<float> made_up_;                           // What a part's differences are multiplied by.
  std::vector<float> weights_, ones_;                    // A part each.
  std::vector<Chances> chances_;                         // A part each, for ranks.
  std::vector<std::vector<uint64_t>> masks_;             // A part each; none if they are made anew where needed.
  std::vector<double> sums_;                             // leaves x parts x 2: magnitudes before and after.
};

}  // namespace

std::unique_ptr<TensorMerge> MakeSparse(const TensorPlan& plan) {
  if (plan.settings.method != v1::METHOD_TASK_ARITHMETIC && DropOf(plan.settings.method) == Drop::kNothing) {
    return nullptr;
  }
  return std::make_unique<Sparse>(plan);
}

}  // namespace editd::merge
