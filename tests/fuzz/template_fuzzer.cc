// A chat template from anywhere: it is read or refused, and what is read ends, whatever it does.
#include <cstddef>
#include <cstdint>

#include "plugins/lib/jinja/template.h"
#include "storage/base/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed = editd::jinja::Template::Parse({reinterpret_cast<const char*>(data), size});
  if (!parsed.ok()) {
    if (parsed.status().message().empty()) __builtin_trap();
    return 0;
  }
  static const auto* const variables = new nlohmann::ordered_json(nlohmann::ordered_json::parse(
      R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": " Xin chào "}],
          "tools": null, "bos_token": "<s>", "add_generation_prompt": true})"));
  const auto rendered = parsed->Render(*variables);
  if (rendered.ok() ? !editd::IsUtf8(rendered->text) : rendered.status().message().empty()) __builtin_trap();
  return 0;
}
