#include "plugins/evaluate/statistics.h"

#include <algorithm>
#include <cmath>

namespace editd::evaluate {
namespace {

namespace pb = plugins::evaluate::v1;

pb::Estimate Of(double value, double error) {
  pb::Estimate out;
  out.set_value(value);
  out.set_error(error);
  return out;
}

// Of sorted values, between the two nearest.
double Percentile(const std::vector<float>& sorted, double fraction) {
  const double place = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const double part = place - static_cast<double>(below);
  return (1 - part) * sorted[below] + part * sorted[std::min(below + 1, sorted.size() - 1)];
}

}  // namespace

pb::Estimate MeanOf(double sum, double squares, double n) {
  const double mean = n == 0 ? 0 : sum / n;
  const double variance = n < 2 ? 0 : std::max(0.0, squares / n - mean * mean) / (n - 1);
  return Of(mean, std::sqrt(variance));
}

void DivergenceSums::Add(const TokenPair& pair) {
  const double nll[2] = {pair.nll_base, pair.nll_other};
  double p[2];
  for (int side = 0; side < 2; ++side) {
    sums_.nll[side] += nll[side];
    sums_.squares[side] += nll[side] * nll[side];
    p[side] = std::exp(-nll[side]);
    sums_.probability[side] += p[side];
  }
  sums_.product += nll[0] * nll[1];
  sums_.kl += pair.kl;
  sums_.kl_squares += pair.kl * pair.kl;
  const double delta = p[1] - p[0], square = delta * delta;
  sums_.delta += delta;
  sums_.delta2 += square;
  sums_.delta4 += square * square;
  sums_.same_top += pair.same_top;
  kl_.push_back(static_cast<float>(pair.kl));
  delta_p_.push_back(static_cast<float>(delta));
}

void DivergenceSums::Keep(KeptWriter* out) const {
  out->Put(sums_);
  out->PutAll(kl_);
  out->PutAll(delta_p_);
}

bool DivergenceSums::Restore(KeptReader* in) {
  if (!in->Get(&sums_) || !in->GetAll(&kl_) || !in->GetAll(&delta_p_) || kl_.size() != delta_p_.size()) return false;
  const auto is_nan = [](float value) { return std::isnan(value); };  // Has no place in an order.
  return std::none_of(kl_.begin(), kl_.end(), is_nan) && std::none_of(delta_p_.begin(), delta_p_.end(), is_nan);
}

double DivergenceSums::mean_probability(int side) const {
  return count() == 0 ? 0 : sums_.probability[side] / static_cast<double>(count());
}

pb::DivergenceTable DivergenceSums::Table() const {
  pb::DivergenceTable out;
  const auto n = static_cast<double>(count());
  const pb::Estimate base = MeanOf(sums_.nll[0], sums_.squares[0], n),
                     other = MeanOf(sums_.nll[1], sums_.squares[1], n);
  const double covariance = (sums_.product / n - base.value() * other.value()) / (n - 1);
  const double ppl_base = std::exp(base.value()), ppl_other = std::exp(other.value());
  *out.mutable_perplexity_base() = Of(ppl_base, ppl_base * base.error());
  *out.mutable_perplexity_q() = Of(ppl_other, ppl_other * other.error());
  const double errors = base.error() * other.error();
  out.set_correlation(errors > 0 ? 100 * covariance / errors : 100);
  const double variance = base.error() * base.error() + other.error() * other.error() - 2 * covariance;
  *out.mutable_log_ratio() = Of(other.value() - base.value(), std::sqrt(std::max(0.0, variance)));
  const double ratio = std::exp(out.log_ratio().value());
  *out.mutable_ratio() = Of(ratio, ratio * out.log_ratio().error());
  const double error_base = out.perplexity_base().error(), error_other = out.perplexity_q().error();
  const double of_difference =
      error_base * error_base + error_other * error_other - 2 * ppl_base * ppl_other * covariance;
  *out.mutable_difference() = Of(ppl_other - ppl_base, std::sqrt(std::max(0.0, of_difference)));

  *out.mutable_kld() = MeanOf(sums_.kl, sums_.kl_squares, n);
  std::vector<float> sorted = kl_;
  std::sort(sorted.begin(), sorted.end());
  out.set_kld_max(sorted.back());
  out.set_kld_99_9(Percentile(sorted, 0.999));
  out.set_kld_99(Percentile(sorted, 0.99));
  out.set_kld_95(Percentile(sorted, 0.95));
  out.set_kld_90(Percentile(sorted, 0.9));
  out.set_kld_median(Percentile(sorted, 0.5));
  out.set_kld_10(Percentile(sorted, 0.1));
  out.set_kld_5(Percentile(sorted, 0.05));
  out.set_kld_1(Percentile(sorted, 0.01));
  out.set_kld_0_1(Percentile(sorted, 0.001));
  out.set_kld_min(sorted.front());

  const pb::Estimate delta = MeanOf(sums_.delta, sums_.delta2, n);
  *out.mutable_delta_p() = Of(100 * delta.value(), 100 * delta.error());
  sorted = delta_p_;
  std::sort(sorted.begin(), sorted.end());
  const auto percent = [&](double fraction) { return 100 * Percentile(sorted, fraction); };
  out.set_delta_p_max(percent(1));
  out.set_delta_p_99_9(percent(0.999));
  out.set_delta_p_99(percent(0.99));
  out.set_delta_p_95(percent(0.95));
  out.set_delta_p_90(percent(0.9));
  out.set_delta_p_75(percent(0.75));
  out.set_delta_p_median(percent(0.5));
  out.set_delta_p_25(percent(0.25));
  out.set_delta_p_10(percent(0.1));
  out.set_delta_p_5(percent(0.05));
  out.set_delta_p_1(percent(0.01));
  out.set_delta_p_0_1(percent(0.001));
  out.set_delta_p_min(percent(0));
  const pb::Estimate square = MeanOf(sums_.delta2, sums_.delta4, n);
  const double rms = std::sqrt(square.value());
  *out.mutable_delta_p_rms() = Of(100 * rms, rms > 0 ? 100 * 0.5 / rms * square.error() : 0);
  const double same = static_cast<double>(sums_.same_top) / n;
  *out.mutable_same_top() = Of(100 * same, 100 * std::sqrt(same * (1 - same) / (n - 1)));
  return out;
}

}  // namespace editd::evaluate
