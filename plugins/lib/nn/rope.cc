#include "plugins/lib/nn/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::nn {
namespace {

std::vector<float> PlainFrequencies(float theta, int64_t head_dim) {
  std::vector<float> out(head_dim / 2);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = 1.0f / std::pow(theta, static_cast<float>(2 * i) / static_cast<float>(head_dim));
  }
  return out;
}

// Llama 3: long waves are stretched by `factor`, short ones stay, and between the two bounds they blend.
absl::Status ScaleLikeLlama3(const Json& parameters, double original, std::vector<float>* frequencies) {
  ASSIGN_OR_RETURN(const double factor, Real(parameters, "factor"));
  ASSIGN_OR_RETURN(const double low, Real(parameters, "low_freq_factor"));
  ASSIGN_OR_RETURN(const double high, Real(parameters, "high_freq_factor"));
  if (high <= low) return Unusable("high_freq_factor", "is not above low_freq_factor");
  for (float& f : *frequencies) {
    const float wave = static_cast<float>(2 * std::numbers::pi) / f;
    if (wave > static_cast<float>(original / low)) {
      f /= static_cast<float>(factor);
    } else if (wave >= static_cast<float>(original / high)) {
      const float smooth =
          (static_cast<float>(original) / wave - static_cast<float>(low)) / static_cast<float>(high - low);
      f = (1.0f - smooth) * f / static_cast<float>(factor) + smooth * f;
    }
  }
  return absl::OkStatus();
}

// YaRN: dimensions that turn more than beta_fast times within the original context stay, those that turn less than
// beta_slow times are stretched by `factor`, with a ramp over the dimensions between.
absl::Status ScaleLikeYarn(const Json& parameters, const RopeSetting& setting, double original, Rope* rope) {
  ASSIGN_OR_RETURN(const double factor,
                   Real(parameters, "factor", static_cast<double>(setting.max_positions) / original));
  ASSIGN_OR_RETURN(const double fast, Real(parameters, "beta_fast", 32));
  ASSIGN_OR_RETURN(const double slow, Real(parameters, "beta_slow", 1));
  ASSIGN_OR_RETURN(const bool truncate, Flag(parameters, "truncate", true));
  const Json& scale = At(parameters, "mscale");
  const Json& scale_all = At(parameters, "mscale_all_dim");
  const auto magnitude = [&](double by) { return factor <= 1 ? 1.0 : 0.1 * by * std::log(factor) + 1.0; };
  double attention = magnitude(1);
  if (!scale.is_null() && !scale_all.is_null() && scale != 0 && scale_all != 0) {
    ASSIGN_OR_RETURN(const double by, Real(parameters, "mscale"));
    ASSIGN_OR_RETURN(const double all, Real(parameters, "mscale_all_dim"));
    attention = magnitude(by) / magnitude(all);
  }
  ASSIGN_OR_RETURN(attention, Real(parameters, "attention_factor", attention));
  rope->magnitude = static_cast<float>(attention);

  const double dim = static_cast<double>(setting.head_dim);
  if (rope->theta == 1) return Unusable("rope_theta", "is 1, which yarn cannot scale");
  const auto turning = [&](double times) {
    return dim * std::log(original / (times * 2 * std::numbers::pi)) / (2 * std::log(rope->theta));
  };
  double first = turning(fast), last = turning(slow);
  if (truncate) first = std::floor(first), last = std::ceil(last);
  first = std::max(first, 0.0), last = std::min(last, dim - 1);
  if (first == last) last += 0.001;
  for (size_t i = 0; i < rope->frequencies.size(); ++i) {
    const float wave =
        std::pow(static_cast<float>(rope->theta), static_cast<float>(2 * i) / static_cast<float>(setting.head_dim));
    const float stretched = 1.0f / (static_cast<float>(factor) * wave);
    const float ramp = (static_cast<float>(i) - static_cast<float>(first)) / static_cast<float>(last - first);
    const float kept = 1.0f - std::clamp(ramp, 0.0f, 1.0f);
    rope->frequencies[i] = stretched * (1.0f - kept) + 1.0f / wave * kept;
  }
  return absl::OkStatus();
}

// The settings that each type knows; transformers overlooks others, with a warning.
absl::Status RefuseUnknown(const Json& parameters, const char* key, const std::string& type) {
  std::vector<std::string_view> known = {"rope_type", "type", "rope_theta", "partial_rotary_factor"};
  const auto add = [&](std::initializer_list<std::string_view> names) { known.insert(known.end(), names); };
  if (type != "default") add({"factor"});
  if (type == "llama3" || type == "yarn" || type == "dynamic") add({"original_max_position_embeddings"});
  if (type == "llama3") add({"low_freq_factor", "high_freq_factor"});
  if (type == "yarn") add({"attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"});
  for (const auto& [name, value] : parameters.items()) {
    if (value.is_null() || std::find(known.begin(), known.end(), name) != known.end()) continue;
    return NotComputed(StrCat(key, ".", name), value);
  }
  const Json& part = At(parameters, "partial_rotary_factor");
  if (!part.is_null() && part != 1.0) return NotComputed("partial_rotary_factor", part);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Rope> ParseRope(const Json& parameters, const RopeSetting& setting) {
  Rope rope;
  if (parameters.is_null()) {
    rope.theta = setting.theta;
    rope.frequencies = PlainFrequencies(static_cast<float>(rope.theta), setting.head_dim);
    return rope;
  }
  if (!parameters.is_object()) return Unusable(setting.key, "is not an object");
  ASSIGN_OR_RETURN(rope.theta, Real(parameters, "rope_theta", setting.theta));
  const Json& named = At(parameters, At(parameters, "rope_type").is_null() ? "type" : "rope_type");
  if (!named.is_null() && !named.is_string()) return Unusable(setting.key, "has a rope_type that is not a string");
  const std::string type = named.is_null() ? "default" : named.get<std::string>();
  if (type != "default" && type != "linear" && type != "dynamic" && type != "yarn" && type != "llama3") {
    return NotComputed(StrCat(setting.key, ".rope_type"), named);
  }
  RETURN_IF_ERROR(RefuseUnknown(parameters, setting.key, type));
  rope.frequencies = PlainFrequencies(static_cast<float>(rope.theta), setting.head_dim);
  ASSIGN_OR_RETURN(double original,
                   Real(parameters, "original_max_position_embeddings", static_cast<double>(setting.max_positions)));
  if (setting.forced_context > 0) original = static_cast<double>(setting.forced_context);
  if (type == "linear") {
    ASSIGN_OR_RETURN(const double factor, Real(parameters, "factor"));
    for (float& f : rope.frequencies) f /= static_cast<float>(factor);
  } else if (type == "dynamic") {
    ASSIGN_OR_RETURN(rope.factor, Real(parameters, "factor"));
    if (setting.head_dim <= 2) return NotComputed(StrCat(setting.key, ".rope_type"), named);
    rope.dynamic_from = setting.max_positions;
  } else if (type == "llama3") {
    RETURN_IF_ERROR(ScaleLikeLlama3(parameters, original, &rope.frequencies));
  } else if (type == "yarn") {
    RETURN_IF_ERROR(ScaleLikeYarn(parameters, setting, original, &rope));
  }
  return rope;
}

std::vector<float> Rope::FrequenciesFor(int64_t length) const {
  if (!DependsOn(length)) return frequencies;
  const float head_dim = static_cast<float>(2 * frequencies.size());
  const float grown = static_cast<float>(factor) * static_cast<float>(length) / static_cast<float>(dynamic_from) -
                      static_cast<float>(factor - 1);
  const float base = static_cast<float>(theta) * std::pow(grown, head_dim / (head_dim - 2));
  return PlainFrequencies(base, 2 * static_cast<int64_t>(frequencies.size()));
}

void Rotations::Forget() {
  constexpr size_t kMostTables = 64;
  if (tables_.size() > kMostTables) std::erase_if(tables_, [](const auto& table) { return table.first.second > 0; });
}

const RotationTable& Rotations::For(const Rope& rope, int64_t length) {
  const bool own = rope.DependsOn(length);
  std::unique_ptr<RotationTable>& table = tables_[{&rope, own ? length : 0}];
  if (table == nullptr) table = std::make_unique<RotationTable>();
  const size_t half = rope.frequencies.size();
  const size_t have = table->cosine.size() / half;
  if (have >= static_cast<size_t>(length)) return *table;
  const std::vector<float> frequencies = rope.FrequenciesFor(length);
  table->cosine.resize(length * half);
  table->sine.resize(length * half);
  for (size_t t = have; t < static_cast<size_t>(length); ++t) {
    for (size_t i = 0; i < half; ++i) {
      const double angle = static_cast<float>(t) * frequencies[i];
      table->cosine[t * half + i] = static_cast<float>(std::cos(angle)) * rope.magnitude;
      table->sine[t * half + i] = static_cast<float>(std::sin(angle)) * rope.magnitude;
    }
  }
  return *table;
}

}  // namespace editd::nn
