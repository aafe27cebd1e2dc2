// Chat templates: the part of Jinja that they use, with transformers' settings.
//
// A model brings its template along, as a program in Jinja. Of the language this has what the templates of Llama, Qwen,
// Gemma, Mistral, SmolLM and their like use (README.md lists it); anything else is refused when the template is read,
// by its name and line. What is understood gives byte for byte what jinja2 with transformers' environment gives.
//
// A Template is immutable and may be shared by threads.
#ifndef EDITD_PLUGINS_LIB_JINJA_TEMPLATE_H_
#define EDITD_PLUGINS_LIB_JINJA_TEMPLATE_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plugins/lib/jinja/ast.h"
#include "storage/base/status.h"

namespace editd::jinja {

struct Rendered {
  std::string text;
  // What stands in {% generation %} blocks: [begin, end) in bytes of the text.
  std::vector<std::pair<size_t, size_t>> generations;
};

class Template {
 public:
  // UNIMPLEMENTED or INVALID_ARGUMENT: `chat template: line 12: the filter "batch" is not supported`.
  static absl::StatusOr<Template> Parse(std::string_view source);

  // `variables`: an object; its texts are UTF-8. INVALID_ARGUMENT tells the line, also for what the template itself
  // refuses (raise_exception).
  absl::StatusOr<Rendered> Render(const nlohmann::ordered_json& variables) const;

 private:
  std::shared_ptr<const Body> body_;
};

}  // namespace editd::jinja

#endif  // EDITD_PLUGINS_LIB_JINJA_TEMPLATE_H_
