// Renders chat templates for compare_templates.py: a JSON object {"template", "variables"} a line in, a JSON object
// {"text", "generations"} or {"error"} a line out.
#include <iostream>

#include "plugins/lib/jinja/template.h"

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto in = nlohmann::ordered_json::parse(line);
    nlohmann::json out;
    const auto parsed = editd::jinja::Template::Parse(in["template"].get<std::string>());
    if (!parsed.ok()) {
      out["error"] = std::string(parsed.status().message());
      out["refused"] = true;
    } else if (const auto rendered = parsed->Render(in["variables"]); rendered.ok()) {
      out["text"] = rendered->text;
      out["generations"] = rendered->generations;
    } else {
      out["error"] = std::string(rendered.status().message());
    }
    std::cout << out.dump() << std::endl;
  }
}
