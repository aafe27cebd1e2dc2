// What a version writes when it is asked: prompts through its chat template or as they stand, several answers side by
// side, as the plugin generate makes them (plugins/lib/generate).
#ifndef EDITD_PLUGINS_EVALUATE_ANSWERS_H_
#define EDITD_PLUGINS_EVALUATE_ANSWERS_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/evaluate/subject.h"
#include "plugins/lib/generate/generator.h"
#include "plugins/lib/generate/prompts.h"

namespace editd::evaluate {

struct AskForm {
  bool raw = false;    // Without the chat template.
  std::string system;  // Not with raw.
  generate::Settings settings;
};

// The file of a version by name; empty if there is none.
using FileOf = std::function<std::string_view(std::string_view name)>;

// One answer for each prompt. INVALID_ARGUMENT: there is no chat template, or it refuses a prompt, or a prompt is
// longer than the context; says which. `told` may be called often; its error ends the work.
absl::StatusOr<std::vector<generate::Answer>> Ask(const Subject& subject, const FileOf& file,
                                                  std::span<const generate::Prompt> prompts, AskForm form,
                                                  const std::function<absl::Status(uint64_t tokens)>& told);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_ANSWERS_H_
