#include "plugins/lib/jinja/template.h"

#include "plugins/lib/jinja/interpreter.h"
#include "plugins/lib/jinja/parser.h"
#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::jinja {
namespace {

constexpr size_t kLargestSource = 1 << 20;

absl::Status ToStatus(const Failure& failure) {
  const std::string message = StrCat("chat template: line ", failure.line, ": ", failure.message);
  return failure.message.ends_with("is not supported") ? absl::UnimplementedError(message)
                                                       : absl::InvalidArgumentError(message);
}

}  // namespace

absl::StatusOr<Template> Template::Parse(std::string_view source) {
  if (source.size() > kLargestSource) {
    return absl::InvalidArgumentError(
        StrCat("chat template: ", source.size(), " bytes are more than ", kLargestSource));
  }
  if (!IsUtf8(source)) return absl::InvalidArgumentError("chat template: is not UTF-8");
  try {
    Template out;
    out.body_ = std::make_shared<const Body>(Parser(Tokenize(source)).Parse());
    return out;
  } catch (const Failure& failure) {
    return ToStatus(failure);
  }
}

absl::StatusOr<Rendered> Template::Render(const nlohmann::ordered_json& variables) const {
  try {
    Value::Dict values;
    for (const auto& [name, value] : variables.items()) values.emplace_back(name, Value::FromJson(value));
    Interpreter interpreter(std::move(values));
    interpreter.Run(*body_);
    Rendered out;
    out.generations = interpreter.generations();
    out.text = interpreter.TakeOutput();
    return out;
  } catch (const Failure& failure) {
    return ToStatus(failure);
  }
}

}  // namespace editd::jinja
