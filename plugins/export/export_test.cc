// The built plugins in a real worker: a folder is imported, what comes out is exported.
#include "editd/plugins/exporter/v1/export.pb.h"
#include "editd/plugins/importer/v1/import.pb.h"
#include "plugins/lib/formats/checkpoint.h"
#include "plugins/lib/formats/safetensors.h"
#include "storage/base/strings.h"
#include "tests/plugin_driver.h"

namespace editd::exporter {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace v1 = editd::plugins::exporter::v1;

std::string Floats(int count, float first) {
  std::string out;
  for (int i = 0; i < count; ++i) {
    const float value = first + static_cast<float>(i);
    out.append(reinterpret_cast<const char*>(&value), 4);
  }
  return out;
}

// A folder with an embedding of 6 x 4, a norm and, if wanted, a head.
std::map<std::string, std::string> Folder(const std::string& config, const std::string& head) {
  std::vector<formats::SafetensorsEntry> entries = {{"model.embed_tokens.weight", DType::kF32, {6, 4}, 0, 96},
                                                    {"model.norm.weight", DType::kF32, {4}, 0, 16}};
  if (!head.empty()) entries.push_back({"lm_head.weight", DType::kF32, {6, 4}, 0, 96});
  std::string weights = formats::LayOutSafetensors(&entries, {});
  for (const auto& entry : entries) {
    weights += entry.name == "lm_head.weight" ? head : entry.name == "model.norm.weight" ? Floats(4, 1) : Floats(24, 1);
  }
  return {{"config.json", config}, {"tokenizer.json", "{\"model\": {\"vocab\": {}}}"}, {"model.safetensors", weights}};
}

class ExportTest : public ::testing::Test {
 protected:
  PluginRun Import(const std::map<std::string, std::string>& folder) {
    editd::plugins::importer::v1::ImportSpec spec;
    spec.set_source("tree:1");
    PluginDriver driver;
    for (const auto& [name, content] : folder) {
      EXPECT_OK(WriteFileAtomically(dir_ / name, content));
      driver.File("tree:1", "smol", name, dir_ / name);
    }
    PluginRun run = driver.Run("import", spec, dir_ / StrCat("staging", ++runs_));
    EXPECT_EQ(run.error(), "");
    return run;
  }
  PluginRun Export(const std::map<std::string, std::string>& folder, uint64_t shard_bytes = 0) {
    const PluginRun version = Import(folder);
    v1::ExportSpec spec;
    spec.set_max_shard_bytes(shard_bytes);
    return PluginDriver().Model("smol", version).Run("export", spec, dir_ / StrCat("staging", ++runs_));
  }
  // What was exported, read as anybody would read it.
  static absl::StatusOr<formats::Checkpoint> Read(const PluginRun& run, std::map<std::string, std::string>* content) {
    std::vector<formats::NamedBytes> folder;
    for (const auto& file : run.reply.files()) {
      EXPECT_TRUE(file.exported());
      folder.push_back({file.name(), (*content)[file.name()] = run.FileContent(file.name())});
    }
    return formats::ReadCheckpoint(folder, "exported");
  }

  TemporaryDirectory dir_;
  int runs_ = 0;
};

TEST_F(ExportTest, AVersionComesOutAsItWentIn) {
  const auto folder = Folder(R"({"vocab_size": 6, "tie_word_embeddings": true, "dtype": "float32"})", "");
  const PluginRun run = Export(folder);
  ASSERT_EQ(run.error(), "");
  std::map<std::string, std::string> content;
  ASSERT_OK_AND_ASSIGN(const formats::Checkpoint checkpoint, Read(run, &content));
  ASSERT_EQ(checkpoint.tensors.size(), 2u);
  EXPECT_EQ(checkpoint.tensors[0].bytes, Floats(24, 1));
  EXPECT_EQ(checkpoint.tensors[1].bytes, Floats(4, 1));
  EXPECT_EQ(content["config.json"], folder.at("config.json"));
  EXPECT_EQ(content["tokenizer.json"], folder.at("tokenizer.json"));
  ASSERT_OK_AND_ASSIGN(const auto header, formats::ReadSafetensors(content["model.safetensors"], "m"));
  EXPECT_EQ(header.metadata.at("format"), "pt");
  EXPECT_EQ(run.Result<v1::ExportResult>().files(), 3u);
}

TEST_F(ExportTest, ALargeModelComesInShards) {
  const PluginRun run = Export(Folder(R"({"vocab_size": 6, "tie_word_embeddings": false})", Floats(24, 5)), 100);
  ASSERT_EQ(run.error(), "");
  std::map<std::string, std::string> content;
  ASSERT_OK_AND_ASSIGN(const formats::Checkpoint checkpoint, Read(run, &content));
  EXPECT_EQ(checkpoint.tensors.size(), 3u);
  EXPECT_EQ(content.count("model-00001-of-00003.safetensors"), 1u);
  EXPECT_THAT(content["model.safetensors.index.json"], HasSubstr("\"total_size\": 208"));
}

TEST_F(ExportTest, ATiedHeadIsLeftOutAndOneThatDiffersIsRefused) {
  const std::string tied = R"({"vocab_size": 6, "tie_word_embeddings": true})";
  const PluginRun run = Export(Folder(tied, Floats(24, 1)));
  ASSERT_EQ(run.error(), "");
  std::map<std::string, std::string> content;
  ASSERT_OK_AND_ASSIGN(const formats::Checkpoint checkpoint, Read(run, &content));
  EXPECT_EQ(checkpoint.tensors.size(), 2u);
  EXPECT_THAT(Export(Folder(tied, Floats(24, 2))).error(), HasSubstr("\"lm_head.weight\" differs"));
}

TEST_F(ExportTest, TheConfigurationSaysWhatTheWeightsAre) {
  const PluginRun run =
      Export(Folder(R"({"vocab_size": 6, "torch_dtype": "bfloat16", "tie_word_embeddings": false})", ""));
  ASSERT_EQ(run.error(), "");
  EXPECT_THAT(run.FileContent("config.json"), HasSubstr("\"torch_dtype\": \"float32\""));
  EXPECT_THAT(run.FileContent("config.json"), HasSubstr("\"tie_word_embeddings\": true"));
  EXPECT_THAT(run.log, ElementsAre(HasSubstr("there is no head")));
  EXPECT_THAT(Export(Folder(R"({"vocab_size": 7})", "")).error(),
              HasSubstr("config.json says vocab_size 7, the embedding has 6 rows"));
}

}  // namespace
}  // namespace editd::exporter
