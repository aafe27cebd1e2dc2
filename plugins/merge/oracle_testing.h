// The oracle of the tests: each method as METHODS.md writes it, in double precision, one element after the other, with
// sorts where the plugin counts. It shares no code with what it judges, but the random bits, which are its input.
#ifndef EDITD_PLUGINS_MERGE_ORACLE_TESTING_H_
#define EDITD_PLUGINS_MERGE_ORACLE_TESTING_H_

#include <algorithm>
#include <cmath>
#include <numeric>

#include "plugins/lib/kernels/random.h"
#include "plugins/merge/testing.h"

namespace editd::merge::oracle {

using Vector = std::vector<double>;

inline Vector Load(const Source& source, size_t n) {
  std::vector<float> x(n);
  source.Load(0, n, x.data());
  return Vector(x.begin(), x.end());
}
inline double Dot(const Vector& a, const Vector& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }
inline double Norm(const Vector& a) { return std::sqrt(Dot(a, a)); }
inline Vector Sum(const Vector& a, double x, const Vector& b, double y) {
  Vector out(a.size());
  for (size_t i = 0; i < a.size(); ++i) out[i] = a[i] * x + b[i] * y;
  return out;
}

// On the great circle from a to b, or straight.
inline Vector Slerp(const Vector& a, const Vector& b, double t, double straight_above, double floor) {
  const double c = std::clamp(Dot(a, b) / (std::max(Norm(a), floor) * std::max(Norm(b), floor)), -1.0, 1.0);
  if (c > straight_above || c < -0.9999) return Sum(a, 1 - t, b, t);
  const double angle = std::acos(c);
  return Sum(a, std::sin((1 - t) * angle) / std::sin(angle), b, std::sin(t * angle) / std::sin(angle));
}

// Applies f to each row (or column) of several vectors.
template <typename F>
Vector ByRow(const std::vector<Vector>& in, int64_t rows, int64_t columns, bool by_column, const F& f) {
  Vector out(in[0].size());
  for (int64_t r = 0; r < (by_column ? columns : rows); ++r) {
    std::vector<Vector> part(in.size());
    std::vector<size_t> places;
    for (int64_t c = 0; c < (by_column ? rows : columns); ++c) {
      places.push_back(static_cast<size_t>(by_column ? c * columns + r : r * columns + c));
      for (size_t m = 0; m < in.size(); ++m) part[m].push_back(in[m][places.back()]);
    }
    const Vector result = f(part);
    for (size_t k = 0; k < places.size(); ++k) out[places[k]] = result[k];
  }
  return out;
}

inline Vector MultiSlerp(const std::vector<Vector>& y, Vector weights, const Settings& s) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (s.normalize_weights) {
    for (double& w : weights) w /= sum;
  }
  Vector mean(y[0].size());
  double length = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    mean = Sum(mean, 1, y[i], weights[i] / (Norm(y[i]) + s.eps));
    length += weights[i] * Norm(y[i]);
  }
  return Sum(mean, length / Norm(mean), mean, 0);
}

inline Vector Karcher(const std::vector<Vector>& x, const Settings& s) {
  std::vector<Vector> u;
  double length = 0;
  for (const Vector& v : x) {
    length += Norm(v) / static_cast<double>(x.size());
    if (Norm(v) > s.tol) u.push_back(Sum(v, 1 / Norm(v), v, 0));
  }
  if (u.empty()) return Vector(x[0].size());
  const double share = 1.0 / static_cast<double>(u.size());
  Vector at(x[0].size());
  for (const Vector& v : u) at = Sum(at, 1, v, share);
  at = Norm(at) < s.tol ? u[0] : Sum(at, 1 / Norm(at), at, 0);
  for (int step = 0; step < s.max_iter; ++step) {
    Vector tangent(at.size());
    for (const Vector& v : u) {
      const double c = std::clamp(Dot(at, v), -1.0, 1.0), angle = std::acos(c);
      if (angle < s.tol) continue;
      tangent = Sum(tangent, 1, Sum(v, 1, at, -c), share * angle / std::sin(angle));
    }
    const double far = Norm(tangent);
    if (far < s.tol) break;
    at = Sum(at, std::cos(far), tangent, std::sin(far) / far);
    at = Sum(at, 1 / Norm(at), at, 0);
  }
  return Sum(at, length, at, 0);
}

inline Vector ModelStock(const std::vector<Vector>& d) {
  const double n = static_cast<double>(d.size());
  double cosine = 0, pairs = 0;
  Vector mean(d[0].size());
  for (size_t i = 0; i < d.size(); ++i) {
    mean = Sum(mean, 1, d[i], 1 / n);
    for (size_t j = i + 1; j < d.size(); ++j, ++pairs) {
      const double lengths = Norm(d[i]) * Norm(d[j]);
      cosine += lengths == 0 ? 0 : Dot(d[i], d[j]) / lengths;
    }
  }
  cosine /= pairs;
  return Sum(mean, n * cosine / (1 + (n - 1) * cosine), mean, 0);
}

// Places by magnitude, the largest first, equals by place.
inline std::vector<size_t> Descending(const Vector& x) {
  std::vector<size_t> order(x.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return std::fabs(x[a]) > std::fabs(x[b]); });
  return order;
}
inline double SumAbs(const Vector& x) {
  return std::accumulate(x.begin(), x.end(), 0.0, [](double s, double v) { return s + std::fabs(v); });
}

inline void Drop(const TensorPlan& plan, const Part& part, Vector* d) {
  if (part.density >= 1) return;
  const v1::Method method = plan.settings.method;
  const size_t n = d->size();
  const double before = SumAbs(*d);
  const Vector old = *d;
  const auto stays = [&](size_t i, double p) {
    const uint32_t bits = kernels::RandomBits(plan.settings.seed, kernels::HashName(plan.name), part.stream, i);
    return bits < static_cast<uint32_t>(p * 0x1p32);
  };
  double by = 1;
  if (method == v1::METHOD_TIES || method == v1::METHOD_BREADCRUMBS || method == v1::METHOD_BREADCRUMBS_TIES) {
    const size_t kept = std::max<size_t>(1, static_cast<size_t>(part.density * static_cast<double>(n)));
    const size_t top =
        method == v1::METHOD_TIES ? 0 : std::min(static_cast<size_t>(part.gamma * static_cast<double>(n)), n - kept);
    const std::vector<size_t> order = Descending(old);
    std::fill(d->begin(), d->end(), 0.0);
    for (size_t i = top; i < top + kept; ++i) (*d)[order[i]] = old[order[i]];
    by = 1 / part.density;
  } else if (method == v1::METHOD_DARE_LINEAR || method == v1::METHOD_DARE_TIES) {
    for (size_t i = 0; i < n; ++i) (*d)[i] = stays(i, part.density) ? old[i] : 0;
    by = 1 / part.density;
  } else if (method == v1::METHOD_DELLA || method == v1::METHOD_DELLA_LINEAR) {
    const size_t columns = static_cast<size_t>(plan.columns());
    for (size_t row = 0; row < n; row += columns) {
      std::vector<size_t> order(columns);
      std::iota(order.begin(), order.end(), row);
      std::stable_sort(order.begin(), order.end(),
                       [&](size_t a, size_t b) { return std::fabs(old[a]) < std::fabs(old[b]); });
      for (size_t rank = 0; rank < columns; ++rank) {
        const double p = columns == 1
                             ? part.density
                             : part.density - part.epsilon +
                                   2 * part.epsilon / static_cast<double>(columns - 1) * static_cast<double>(rank);
        const size_t i = order[rank];
        const bool inverse = plan.settings.rescale == v1::RESCALE_INVERSE_DENSITY;
        (*d)[i] = stays(i, p) ? old[i] * (inverse ? 1 / p : 1) : 0;
      }
    }
  }
  if (plan.settings.rescale == v1::RESCALE_L1) {
    const double after = SumAbs(*d);
    by = before > 1e-7 && after > 1e-7 ? before / after : 1;
  } else if (plan.settings.rescale == v1::RESCALE_NONE) {
    by = 1;
  }
  for (double& v : *d) v *= by;
}

inline Vector Sparse(const TensorPlan& plan, std::vector<Vector> d) {
  const Settings& s = plan.settings;
  const bool elects = s.method == v1::METHOD_TIES || s.method == v1::METHOD_DARE_TIES ||
                      s.method == v1::METHOD_BREADCRUMBS_TIES || s.method == v1::METHOD_DELLA;
  for (size_t m = 0; m < d.size(); ++m) Drop(plan, plan.parts[m], &d[m]);
  Vector out(d[0].size());
  double weights = 0;
  for (const Part& part : plan.parts) weights += part.weight;
  for (size_t i = 0; i < out.size(); ++i) {
    double num = 0, den = 0;
    float elected = 0;  // The sign of a sum near zero hangs on its last bit.
    for (size_t m = 0; m < d.size(); ++m) {
      const float x = static_cast<float>(d[m][i]), weighted = x * static_cast<float>(plan.parts[m].weight);
      elected += s.election == v1::ELECTION_WEIGHTED_SUM ? weighted
                 : s.election == v1::ELECTION_SUM        ? x
                                                         : static_cast<float>((x > 0) - (x < 0));
    }
    for (size_t m = 0; m < d.size(); ++m) {
      const double x = d[m][i] * plan.parts[m].weight;
      if (elects && !(elected >= 0 ? x > 0 : x < 0)) continue;
      num += x;
      den += s.divisor == v1::DIVISOR_COUNT && elects ? 1 : plan.parts[m].weight;
    }
    if (!elects) den = weights;
    out[i] = s.lambda * (s.normalize && den != 0 ? num / den : num);
  }
  return out;
}

inline Vector Sce(const TensorPlan& plan, std::vector<Vector> d) {
  const size_t n = d[0].size();
  const double models = static_cast<double>(d.size());
  if (plan.settings.select_topk < 1) {
    Vector variance(n);
    for (size_t i = 0; i < n; ++i) {
      // In float, as the plugin: which positions stay hangs on the last bit where two are near.
      float mean = 0, sum = 0;
      for (const Vector& v : d) mean += static_cast<float>(v[i]);
      mean /= static_cast<float>(models);
      for (const Vector& v : d) {
        const float off = static_cast<float>(v[i]) - mean, square = off * off;
        sum += square;
      }
      variance[i] = static_cast<double>(sum / static_cast<float>(models));
    }
    const double varying =
        static_cast<double>(std::count_if(variance.begin(), variance.end(), [](double v) { return v != 0; }));
    const std::vector<size_t> order = Descending(variance);
    const size_t kept = std::max<size_t>(varying > 0, static_cast<size_t>(varying * plan.settings.select_topk));
    for (size_t k = kept; k < n; ++k) {
      for (Vector& v : d) v[order[k]] = 0;
    }
  }
  Vector energies;
  for (const Vector& v : d) energies.push_back(Dot(v, v));
  const double all = std::accumulate(energies.begin(), energies.end(), 0.0);
  Vector out(n);
  for (size_t i = 0; i < n; ++i) {
    double num = 0, den = 0;
    float elected = 0;
    for (const Vector& v : d) elected += static_cast<float>(v[i]);
    for (size_t m = 0; m < d.size(); ++m) {
      if (!(elected >= 0 ? d[m][i] > 0 : d[m][i] < 0)) continue;
      num += d[m][i] * energies[m] / all;
      den += energies[m] / all;
    }
    out[i] = den == 0 ? 0 : num / den;
  }
  return out;
}

inline Vector Ram(const TensorPlan& plan, const std::vector<Vector>& d) {
  const Settings& s = plan.settings;
  const size_t n = d[0].size();
  const auto changed = [&](size_t m, size_t i) {
    return std::fabs(d[m][i]) > static_cast<double>(static_cast<float>(s.epsilon));
  };
  std::vector<int> count(n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t m = 0; m < d.size(); ++m) count[i] += changed(m, i);
  }
  Vector out(n);
  for (size_t m = 0; m < d.size(); ++m) {
    double shared = 0, unique = 0;
    for (size_t i = 0; i < n; ++i) {
      shared += changed(m, i) && count[i] > 1;
      unique += changed(m, i) && count[i] == 1;
    }
    const double by =
        s.method == v1::METHOD_RAM ? 1 : 1 + s.r * std::clamp(shared / std::max(unique, s.epsilon), 0.0, s.alpha);
    for (size_t i = 0; i < n; ++i) {
      if (changed(m, i)) out[i] += count[i] == 1 ? by * d[m][i] : d[m][i] / count[i];
    }
  }
  return out;
}

inline Vector Fusion(const TensorPlan& plan, const Vector& x, const Vector& b) {
  const size_t n = x.size(), columns = static_cast<size_t>(plan.columns());
  std::vector<float> importance(n);  // What lies next to the threshold hangs on its last bit.
  for (size_t row = 0; row < n; row += columns) {
    const auto soft_max = [&](const Vector& v) {
      Vector p(columns);
      const double largest = *std::max_element(&v[row], &v[row] + columns);
      for (size_t i = 0; i < columns; ++i) p[i] = std::exp(v[row + i] - largest);
      const double sum = std::accumulate(p.begin(), p.end(), 0.0);
      for (double& q : p) q = q / sum + 1e-8;
      return p;
    };
    const Vector p = soft_max(x), q = soft_max(b);
    double divergence = 0;
    for (size_t i = 0; i < columns; ++i) divergence += p[i] * std::log(p[i] / q[i]);
    for (size_t i = 0; i < columns; ++i) {
      const float change = static_cast<float>(std::fabs(x[row + i] - b[row + i]));
      importance[row + i] = change * static_cast<float>(std::max(divergence, 0.0));
    }
  }
  std::vector<float> sorted = importance;
  std::sort(sorted.begin(), sorted.end());
  const auto quantile = [&](double q) { return sorted[static_cast<size_t>(q * static_cast<double>(n - 1))]; };
  const float threshold = quantile(0.5) + 1.5f * (quantile(0.75) - quantile(0.25));
  Vector out = b;
  for (size_t i = 0; i < n; ++i) {
    if (importance[i] >= threshold) out[i] = x[i];
  }
  return out;
}

inline Vector Merge(const TensorPlan& plan) {
  const Settings& s = plan.settings;
  const size_t n = static_cast<size_t>(plan.elements());
  std::vector<Vector> x, d;
  Vector weights, b(n);
  if (plan.base.has_value()) b = Load(*plan.base, n);
  for (const Part& part : plan.parts) {
    x.push_back(Load(part.source, n));
    d.push_back(Sum(x.back(), 1, b, -1));
    // Float32, as the plugin's: what is larger than what may hang on its last bit.
    for (double& v : d.back()) v = static_cast<double>(static_cast<float>(v));
    weights.push_back(part.weight);
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  const auto plus_base = [&](const Vector& y) { return Sum(b, 1, y, 1); };
  switch (s.method) {
    case v1::METHOD_PASSTHROUGH:
      return Sum(x[0], plan.parts[0].scale, x[0], 0);
    case v1::METHOD_LINEAR: {
      Vector out(n);
      for (size_t m = 0; m < x.size(); ++m) out = Sum(out, 1, x[m], weights[m] / (s.normalize ? sum : 1));
      return out;
    }
    case v1::METHOD_SLERP:
      return Slerp(b, x[0], s.t, 0.9995, 1e-8);
    case v1::METHOD_NUSLERP: {
      const auto rule = [&](const std::vector<Vector>& v) {
        return Slerp(v[0], v[1], weights[1] / sum, 1 - 1e-13, 1e-7);
      };
      if (s.flatten || plan.shape.size() < 2) return plus_base(rule(d));
      if (s.row_wise) return plus_base(ByRow(d, plan.shape[0], plan.elements() / plan.shape[0], true, rule));
      return plus_base(ByRow(d, plan.rows(), plan.columns(), false, rule));
    }
    case v1::METHOD_MULTISLERP:
      return plus_base(MultiSlerp(d, weights, s));
    case v1::METHOD_KARCHER:
      return Karcher(x, s);
    case v1::METHOD_MODEL_STOCK:
      return plus_base(s.filter_wise ? ByRow(d, plan.rows(), plan.columns(), false, ModelStock) : ModelStock(d));
    case v1::METHOD_SCE:
      return plus_base(Sce(plan, d));
    case v1::METHOD_RAM:
    case v1::METHOD_RAMPLUS_TL:
      return plus_base(Ram(plan, d));
    case v1::METHOD_NEARSWAP: {
      Vector out(n);
      for (size_t i = 0; i < n; ++i) {
        const double w = std::clamp(s.t / std::max(std::fabs(d[0][i]), 1e-6), 0.0, 1.0);
        out[i] = w * x[0][i] + (1 - w) * b[i];
      }
      return out;
    }
    case v1::METHOD_ARCEE_FUSION:
      return Fusion(plan, x[0], b);
    default:
      return plus_base(Sparse(plan, d));
  }
}

}  // namespace editd::merge::oracle

#endif  // EDITD_PLUGINS_MERGE_ORACLE_TESTING_H_
