#include "plugins/lib/nn/config_values.h"

#include <cmath>
#include <string>

#include "storage/base/strings.h"

namespace editd::nn {
namespace {

constexpr int64_t kLargest = int64_t{1} << 31;  // No size in a config is larger.

}  // namespace

absl::Status Unusable(std::string_view key, std::string_view what) {
  return absl::InvalidArgumentError(StrCat("config.json: \"", key, "\" ", what));
}

absl::Status NotComputed(std::string_view key, const Json& value) {
  // A file may nest deeper than a printer's recursion goes.
  const std::string text =
      value.is_structured() ? value.type_name() : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return absl::UnimplementedError(
      StrCat("config.json: \"", key, "\": ", text, " is not computed; only models without it can be evaluated"));
}

const Json& At(const Json& object, const char* key) {
  static const Json kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

absl::StatusOr<int64_t> Size(const Json& object, const char* key, std::optional<int64_t> otherwise) {
  const Json& value = At(object, key);
  if (value.is_null() && otherwise.has_value()) return *otherwise;
  if (value.is_null()) return Unusable(key, "is missing");
  if (!value.is_number_integer()) return Unusable(key, "is not a whole number");
  const int64_t number = value.get<int64_t>();
  if (number <= 0 || number > kLargest) return Unusable(key, StrCat("is ", number, ", which no model has"));
  return number;
}

absl::StatusOr<double> Real(const Json& object, const char* key, std::optional<double> otherwise) {
  const Json& value = At(object, key);
  if (value.is_null() && otherwise.has_value()) return *otherwise;
  if (value.is_null()) return Unusable(key, "is missing");
  if (!value.is_number()) return Unusable(key, "is not a number");
  const double number = value.get<double>();
  if (!(number > 0) || !std::isfinite(number)) return Unusable(key, "is not a positive number");
  return number;
}

absl::StatusOr<bool> Flag(const Json& object, const char* key, bool otherwise) {
  const Json& value = At(object, key);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean()) return Unusable(key, "is neither true nor false");
  return value.get<bool>();
}

}  // namespace editd::nn
