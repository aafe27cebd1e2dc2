// Test helper: the built plugins import and evaluate in a real worker, on small models and texts.
#ifndef EDITD_PLUGINS_EVALUATE_PLUGIN_TESTING_H_
#define EDITD_PLUGINS_EVALUATE_PLUGIN_TESTING_H_

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "editd/plugins/evaluate/v1/evaluate.pb.h"
#include "editd/plugins/importer/v1/import.pb.h"
#include "plugins/evaluate/testing.h"
#include "plugins/lib/formats/safetensors.h"
#include "storage/base/strings.h"
#include "tests/plugin_driver.h"

namespace editd::evaluate {

class EvaluatePluginTest : public ::testing::Test {
 protected:
  static constexpr char kTemplate[] =
      "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: ";

  PluginRun Import(const TinyModel& model, const std::string& name, bool chat = true) {
    std::vector<formats::SafetensorsEntry> entries;
    for (const std::string& tensor : model.weights->names()) {
      entries.push_back({tensor, DType::kF32, model.weights->shape(tensor), 0, model.weights->bytes(tensor).size()});
    }
    std::string weights = formats::LayOutSafetensors(&entries, {});
    for (const auto& entry : entries) weights += model.weights->bytes(entry.name);
    plugins::importer::v1::ImportSpec spec;
    spec.set_source("tree:1");
    PluginDriver driver;
    std::filesystem::create_directories(dir_ / name);
    for (const auto& [file, content] :
         {std::pair("config.json", model.config), std::pair("tokenizer.json", model.tokenizer),
          std::pair("model.safetensors", weights), std::pair("chat_template.jinja", std::string(kTemplate))}) {
      if (!chat && std::string_view(file) == "chat_template.jinja") continue;
      EXPECT_OK(WriteFileAtomically(dir_ / name + "/" + file, content));
      driver.File("tree:1", name, file, dir_ / name + "/" + file);
    }
    PluginRun run = driver.Run("import", spec, dir_ / name + "/staging");
    EXPECT_EQ(run.error(), "");
    return run;
  }
  // A text in the spec's data.
  PluginDriver WithText(const std::string& name, const std::string& text, plugins::evaluate::v1::EvaluateSpec* spec) {
    EXPECT_OK(WriteFileAtomically(dir_ / name, text));
    spec->add_data()->set_path("asset:" + name);
    PluginDriver driver;
    driver.File("asset:" + name, name, "", dir_ / name);
    return driver;
  }

  TemporaryDirectory dir_;
};

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_PLUGIN_TESTING_H_
