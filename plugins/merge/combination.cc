// Methods whose result is a sum of the inputs, each times a number: linear, passthrough, and the methods on spheres.
//
// Whatever angle or length a method asks for, it follows from the inner products of the inputs with each other (or of
// their differences from the base). So one scan takes all of these products, a small calculation in double turns them
// into one coefficient an input, and the result is a sum. That also holds for the iteration of karcher, whose steps
// never leave the space that the inputs span. A vector is the whole tensor, a row, or a column.
//
// METHODS.md has each formula and its source.
#include <algorithm>
#include <cmath>
#include <functional>
#include <span>

#include "plugins/merge/tensor_merge.h"

namespace editd::merge {
namespace {

// Inner products of the inputs, n x n.
class Gram {
 public:
  explicit Gram(size_t n) : n_(n), products_(n * n) {}
  void Set(size_t i, size_t j, double product) { products_[i * n_ + j] = products_[j * n_ + i] = product; }
  double operator()(size_t i, size_t j) const { return products_[i * n_ + j]; }
  double Norm(size_t i) const { return std::sqrt((*this)(i, i)); }
  size_t size() const { return n_; }

 private:
  const size_t n_;
  std::vector<double> products_;
};

// The coefficient of each input.
using Coefficients = std::vector<double>;
using Rule = std::function<Coefficients(const Gram&)>;

// a + (b - a) t on the great circle, where `cosine` is that of the angle.
Coefficients OnCircle(double cosine, double t) {
  const double angle = std::acos(cosine), sine = std::sin(angle);
  return {std::sin((1 - t) * angle) / sine, std::sin(t * angle) / sine};
}

Coefficients Slerp(const Gram& gram, double t) {
  double cosine = gram(0, 1);
  for (const size_t i : {0, 1}) {
    if (gram.Norm(i) > 1e-8) cosine /= gram.Norm(i);
  }
  if (std::fabs(cosine) > 0.9995) return {1 - t, t};
  return OnCircle(cosine, t);
}

Coefficients NuSlerp(const Gram& gram, double t) {
  const double cosine =
      std::clamp(gram(0, 1) / (std::max(gram.Norm(0), 1e-7) * std::max(gram.Norm(1), 1e-7)), -1.0, 1.0);
  if (cosine < -0.9999 || std::sin(std::acos(cosine)) < 1e-6) return {1 - t, t};
  return OnCircle(cosine, t);
}

// The weighted mean of directions, as long as the weighted mean of lengths.
Coefficients MultiSlerp(const Gram& gram, const std::vector<double>& weights, double eps) {
  const size_t n = gram.size();
  Coefficients mean(n);
  double length = 0, squared = 0;
  for (size_t i = 0; i < n; ++i) {
    mean[i] = weights[i] / (gram.Norm(i) + eps);
    length += weights[i] * gram.Norm(i);
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) squared += mean[i] * mean[j] * gram(i, j);
  }
  const double norm = std::sqrt(std::max(squared, 0.0));
  if (norm < eps) return weights;
  for (double& c : mean) c *= length / norm;
  return mean;
}

// The point on the sphere whose tangents to the inputs' directions sum to nothing, found step by step.
Coefficients Karcher(const Gram& gram, int max_iter, double tol) {
  const size_t n = gram.size();
  std::vector<size_t> valid;
  double length = 0;
  for (size_t i = 0; i < n; ++i) {
    if (gram.Norm(i) > tol) valid.push_back(i);
    length += gram.Norm(i) / static_cast<double>(n);
  }
  Coefficients u(n, 0.0);  // Of the inputs themselves.
  if (valid.empty()) return u;
  const double share = 1.0 / static_cast<double>(valid.size());
  const auto with = [&](const Coefficients& c, size_t i) {  // The product with input i's direction.
    double sum = 0;
    for (size_t j = 0; j < n; ++j) sum += c[j] * gram(i, j);
    return sum / gram.Norm(i);
  };
  const auto norm = [&](const Coefficients& c) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) sum += c[i] * c[j] * gram(i, j);
    }
    return std::sqrt(std::max(sum, 0.0));
  };
  for (const size_t i : valid) u[i] = share / gram.Norm(i);
  double size = norm(u);
  if (size < tol) {
    std::fill(u.begin(), u.end(), 0.0);
    u[valid[0]] = 1 / gram.Norm(valid[0]);
    size = 1;
  }
  for (double& c : u) c /= size;
  for (int step = 0; step < max_iter; ++step) {
    Coefficients tangent(n, 0.0);
    for (const size_t i : valid) {
      const double cosine = std::clamp(with(u, i), -1.0, 1.0), angle = std::acos(cosine), sine = std::sin(angle);
      if (angle < tol || sine < 1e-9) continue;
      const double factor = share * angle / sine;
      tangent[i] += factor / gram.Norm(i);
      for (size_t j = 0; j < n; ++j) tangent[j] -= factor * cosine * u[j];
    }
    const double far = norm(tangent);
    if (far < tol) break;
    for (size_t j = 0; j < n; ++j) u[j] = std::cos(far) * u[j] + std::sin(far) / far * tangent[j];
    const double now = norm(u);
    if (now > tol) {
      for (double& c : u) c /= now;
    }
  }
  for (double& c : u) c *= length;
  return u;
}

// t of the way from the base to the mean, where t follows from the mean cosine of the differences.
Coefficients ModelStock(const Gram& gram) {
  const double n = static_cast<double>(gram.size());
  double sum = 0, pairs = 0;
  for (size_t i = 0; i < gram.size(); ++i) {
    for (size_t j = i + 1; j < gram.size(); ++j) {
      const double lengths = gram.Norm(i) * gram.Norm(j);
      sum += lengths == 0 ? 0 : std::clamp(gram(i, j) / lengths, -1.0, 1.0);
      ++pairs;
    }
  }
  const double cosine = sum / pairs, denominator = 1 + (n - 1) * cosine;
  const double t = std::fabs(denominator) < 1e-8 ? 0 : n * cosine / denominator;
  return Coefficients(gram.size(), t / n);
}

// --- the sum
// -------------------------------------------------------------------------------------------------------------

class Combination : public TensorMerge {
 public:
  // Coefficients known beforehand, and a number to divide the sum by.
  Combination(const TensorPlan& plan, Coefficients coefficients, double divisor)
      : TensorMerge(plan), coefficients_(std::move(coefficients)), divisor_(static_cast<float>(divisor)) {
    AddSources();
  }
  // Coefficients by `rule`; of differences from the base (which is then added) or of the inputs; row by row or whole.
  Combination(const TensorPlan& plan, Rule rule, bool differences, bool by_row)
      : TensorMerge(plan), rule_(std::move(rule)), differences_(differences), by_row_(by_row) {
    AddSources();
    if (by_row_) UseRows();
  }

  bool Advance(Scratch*) override {
    if (rule_ == nullptr || by_row_) return false;
    const size_t n = sources_.size(), pairs = n * n;
    if (sums_.empty()) {
      sums_.resize(static_cast<size_t>(leaves()) * pairs);
      return true;
    }
    Gram gram(n);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = i; j < n; ++j) gram.Set(i, j, TreeSum(&sums_[i * n + j], static_cast<size_t>(leaves()), pairs));
    }
    coefficients_ = rule_(gram);
    return false;
  }

  void Scan(int64_t first, int64_t end, Scratch* scratch) override {
    ForBlocks(first, end, [&](int64_t leaf, int64_t begin, size_t n) {
      Products(Load(begin, n, scratch), n, &sums_[static_cast<size_t>(leaf) * sources_.size() * sources_.size()]);
    });
  }

  void Blend(int64_t begin, size_t n, Scratch* scratch, float* out) override {
    const std::vector<const float*> inputs = Load(begin, n, scratch);
    if (!by_row_) return Sum(inputs, coefficients_, n, scratch, out);
    const size_t count = sources_.size();
    std::vector<double> sums(count * count);
    Products(inputs, n, sums.data());
    Gram gram(count);
    for (size_t i = 0; i < count; ++i) {
      for (size_t j = i; j < count; ++j) gram.Set(i, j, sums[i * count + j]);
    }
    Sum(inputs, rule_(gram), n, scratch, out);
  }

 private:
  static constexpr size_t kBaseBuffer = 0, kFirstBuffer = 1;

  void AddSources() {
    if (plan_.settings.method == v1::METHOD_SLERP) sources_.push_back(&*plan_.base);
    for (const Part& part : plan_.parts) sources_.push_back(&part.source);
  }

  std::vector<const float*> Load(int64_t begin, size_t n, Scratch* scratch) const {
    const float* base = nullptr;
    if (differences_) {
      float* buffer = scratch->Floats(kBaseBuffer, n);
      plan_.base->Load(begin, n, buffer);
      base = buffer;
    }
    std::vector<const float*> inputs;
    for (size_t i = 0; i < sources_.size(); ++i) {
      float* buffer = scratch->Floats(kFirstBuffer + i, n);
      sources_[i]->Load(begin, n, buffer);
      if (base != nullptr) k_.subtract(buffer, base, n, buffer);
      inputs.push_back(buffer);
    }
    return inputs;
  }

  void Products(const std::vector<const float*>& inputs, size_t n, double* sums) const {
    for (size_t i = 0; i < inputs.size(); ++i) {
      for (size_t j = i; j < inputs.size(); ++j) sums[i * inputs.size() + j] += k_.dot(inputs[i], inputs[j], n);
    }
  }

  void Sum(const std::vector<const float*>& inputs, const Coefficients& coefficients, size_t n, Scratch* scratch,
           float* out) const {
    // Not 0 * x, which may be -0: zeros are the same bytes everywhere.
    if (inputs.size() == 1 && coefficients[0] == 0 && !differences_) {
      std::fill_n(out, n, 0.0f);
      return;
    }
    k_.scale(inputs[0], static_cast<float>(coefficients[0]), n, out);
    for (size_t i = 1; i < inputs.size(); ++i) k_.add_scaled(inputs[i], static_cast<float>(coefficients[i]), n, out);
    if (divisor_ != 1) k_.divide(out, divisor_, n);
    if (differences_) k_.add(out, scratch->Floats(kBaseBuffer, n), n, out);
  }

  const Rule rule_;
  const bool differences_ = false;
  const bool by_row_ = false;
  Coefficients coefficients_;
  const float divisor_ = 1;
  std::vector<const Source*> sources_;
  std::vector<double> sums_;  // leaves x inputs x inputs.
};

// nuslerp along the first dimension: an angle a column. The columns' sums are taken over at most 32 runs of rows.
class ColumnSlerp : public TensorMerge {
 public:
  ColumnSlerp(const TensorPlan& plan, double t)
      : TensorMerge(plan),
        t_(t),
        rows_(plan.shape[0]),
        columns_(elements() / rows_),
        run_((rows_ + 31) / 32),
        runs_((rows_ + run_ - 1) / run_) {
    UseLeaves(columns_, run_ * columns_);
  }

  bool Advance(Scratch*) override {
    const size_t columns = static_cast<size_t>(columns_);
    if (sums_.empty()) {
      sums_.resize(static_cast<size_t>(runs_) * 3 * columns);
      return true;
    }
    first_.resize(columns);
    second_.resize(columns);
    for (size_t c = 0; c < columns; ++c) {
      const auto sum = [&](size_t which) {
        return TreeSum(&sums_[which * columns + c], static_cast<size_t>(runs_), 3 * columns);
      };
      Gram gram(2);
      gram.Set(0, 0, sum(0));
      gram.Set(1, 1, sum(1));
      gram.Set(0, 1, sum(2));
      const Coefficients coefficients = NuSlerp(gram, t_);
      first_[c] = static_cast<float>(coefficients[0]);
      second_[c] = static_cast<float>(coefficients[1]);
    }
    return false;
  }

  void Scan(int64_t first, int64_t end, Scratch* scratch) override {
    const size_t columns = static_cast<size_t>(columns_);
    ForBlocks(first, end, [&](int64_t leaf, int64_t begin, size_t n) {
      double* sums = &sums_[static_cast<size_t>(leaf) * 3 * columns];
      const float *a, *b;
      Load(begin, n, scratch, &a, &b);
      for (size_t c = 0; c < n; ++c) {
        const double x = static_cast<double>(a[c]), y = static_cast<double>(b[c]);
        sums[c] += x * x;
        sums[columns + c] += y * y;
        sums[2 * columns + c] += x * y;
      }
    });
  }

  void Blend(int64_t begin, size_t n, Scratch* scratch, float* out) override {
    const float *a, *b;
    Load(begin, n, scratch, &a, &b);
    k_.multiply(a, first_.data(), n, out);
    float* other = scratch->Floats(1, n);
    k_.multiply(b, second_.data(), n, other);
    k_.add(out, other, n, out);
    if (plan_.base.has_value()) k_.add(out, scratch->Floats(2, n), n, out);
  }

 private:
  void Load(int64_t begin, size_t n, Scratch* scratch, const float** a, const float** b) const {
    float *x = scratch->Floats(0, n), *y = scratch->Floats(1, n), *base = scratch->Floats(2, n);
    plan_.parts[0].source.Load(begin, n, x);
    plan_.parts[1].source.Load(begin, n, y);
    if (plan_.base.has_value()) {
      plan_.base->Load(begin, n, base);
      k_.subtract(x, base, n, x);
      k_.subtract(y, base, n, y);
    }
    *a = x;
    *b = y;
  }

  const double t_;
  const int64_t rows_, columns_, run_, runs_;
  std::vector<double> sums_;  // runs x 3 x columns: |a|^2, |b|^2, a b.
  std::vector<float> first_, second_;
};

double SumOfWeights(const TensorPlan& plan) {
  double sum = 0;
  for (const Part& part : plan.parts) sum += part.weight;
  return sum;
}

}  // namespace

std::unique_ptr<TensorMerge> MakeCombination(const TensorPlan& plan) {
  const Settings& s = plan.settings;
  Coefficients weights;
  for (const Part& part : plan.parts) weights.push_back(part.weight);
  const bool differences = plan.base.has_value();
  switch (s.method) {
    case v1::METHOD_LINEAR:
      return std::make_unique<Combination>(plan, weights, s.normalize ? SumOfWeights(plan) : 1);
    case v1::METHOD_PASSTHROUGH:
      return std::make_unique<Combination>(plan, Coefficients{plan.parts[0].scale}, 1);
    case v1::METHOD_SLERP:
      return std::make_unique<Combination>(
          plan, [t = s.t](const Gram& gram) { return Slerp(gram, t); }, false, false);
    case v1::METHOD_NUSLERP: {
      const double sum = SumOfWeights(plan), t = std::fabs(sum) < 1e-6 ? 0.5 : plan.parts[1].weight / sum;
      if (!s.flatten && s.row_wise && plan.shape.size() > 1) return std::make_unique<ColumnSlerp>(plan, t);
      return std::make_unique<Combination>(
          plan, [t](const Gram& gram) { return NuSlerp(gram, t); }, differences, !s.flatten);
    }
    case v1::METHOD_MULTISLERP: {
      if (s.normalize_weights) {
        const double sum = SumOfWeights(plan);
        for (double& weight : weights) weight /= sum;
      }
      return std::make_unique<Combination>(
          plan, [weights, eps = s.eps](const Gram& gram) { return MultiSlerp(gram, weights, eps); }, differences,
          false);
    }
    case v1::METHOD_KARCHER:
      return std::make_unique<Combination>(
          plan, [steps = s.max_iter, tol = s.tol](const Gram& gram) { return Karcher(gram, steps, tol); }, false,
          false);
    case v1::METHOD_MODEL_STOCK:
      return std::make_unique<Combination>(plan, ModelStock, true, s.filter_wise);
    default:
      return nullptr;
  }
}

}  // namespace editd::merge
