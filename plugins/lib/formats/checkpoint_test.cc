#include "plugins/lib/formats/checkpoint.h"

#include "plugins/lib/formats/safetensors.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::formats {
namespace {

using ::testing::HasSubstr;

std::string Weights(const std::vector<std::string>& names) {
  std::vector<SafetensorsEntry> tensors;
  for (const std::string& name : names) tensors.push_back({name, DType::kBF16, {2, 2}, 0, 8});
  std::string file = LayOutSafetensors(&tensors, {});
  return file + std::string(8 * names.size(), 'x');
}

constexpr std::string_view kLlama = R"({"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": false})";

std::string ErrorOf(const std::vector<NamedBytes>& folder) {
  const auto checkpoint = ReadCheckpoint(folder, "smol");
  EXPECT_EQ(checkpoint.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(checkpoint.status().message());
}

TEST(Checkpoint, ReadsASingleFileAndKeepsWhatBelongsToAVersion) {
  const std::string weights = Weights({"model.embed_tokens.weight", "lm_head.weight"});
  ASSERT_OK_AND_ASSIGN(
      const Checkpoint checkpoint,
      ReadCheckpoint(
          {{"config.json", kLlama}, {"README.md", "x"}, {"tokenizer.json", "{}"}, {"model.safetensors", weights}},
          "smol"));
  EXPECT_EQ(checkpoint.architecture, "LlamaForCausalLM");
  EXPECT_EQ(checkpoint.tensors.size(), 2u);
  EXPECT_EQ(checkpoint.tensors[0].bytes, "xxxxxxxx");
  EXPECT_FALSE(checkpoint.tied);
  ASSERT_EQ(checkpoint.files.size(), 2u);
  EXPECT_EQ(checkpoint.files[1].name, "tokenizer.json");
}

TEST(Checkpoint, AHeadlessModelIsTied) {
  const std::string weights = Weights({"model.embed_tokens.weight"});
  ASSERT_OK_AND_ASSIGN(const Checkpoint checkpoint,
                       ReadCheckpoint({{"config.json", kLlama}, {"model.safetensors", weights}}, "smol"));
  EXPECT_TRUE(checkpoint.tied);
  EXPECT_EQ(checkpoint.remarks.size(), 1u);  // No tokenizer.
}

TEST(Checkpoint, ReadsShardsAndNamesWhatIsMissing) {
  const std::string one = Weights({"a", "b"}), two = Weights({"c"});
  const std::string index = R"({"weight_map": {"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors"}})";
  std::vector<NamedBytes> folder = {
      {"config.json", kLlama}, {"model.safetensors.index.json", index}, {"1.safetensors", one}, {"2.safetensors", two}};
  ASSERT_OK_AND_ASSIGN(const Checkpoint checkpoint, ReadCheckpoint(folder, "smol"));
  EXPECT_EQ(checkpoint.tensors.size(), 3u);

  folder.pop_back();
  EXPECT_THAT(ErrorOf(folder), HasSubstr("smol: model.safetensors.index.json names \"2.safetensors\", which is not in "
                                         "the folder; the download is incomplete"));
  folder.push_back({"2.safetensors", one});
  EXPECT_THAT(ErrorOf(folder), HasSubstr("2.safetensors has the tensor \"a\", which"));
  const std::string none = Weights({});
  folder.back().bytes = none;
  EXPECT_THAT(ErrorOf(folder), HasSubstr("2.safetensors lacks the tensor \"c\""));
  const std::string cut = two.substr(0, two.size() - 1);
  folder.back().bytes = cut;
  EXPECT_THAT(ErrorOf(folder), HasSubstr("smol/2.safetensors: tensor \"c\" ends at"));
}

TEST(Checkpoint, RefusesPickleAndSaysWhatToDo) {
  EXPECT_THAT(ErrorOf({{"config.json", kLlama}, {"pytorch_model.bin", "x"}}),
              HasSubstr("pytorch_model.bin, a pickle file, which is not read; convert it to safetensors"));
  EXPECT_THAT(ErrorOf({{"config.json", kLlama}, {"m.gguf", "x"}}), HasSubstr("import that file itself"));
  EXPECT_THAT(ErrorOf({{"config.json", kLlama}}), HasSubstr("has no weights"));
  EXPECT_THAT(ErrorOf({{"README.md", ""}}), HasSubstr("has no config.json"));
  EXPECT_THAT(ErrorOf({{"config.json", "{"}}), HasSubstr("smol/config.json: no valid JSON"));
  EXPECT_THAT(ErrorOf({{"adapter_config.json", "{}"}}), HasSubstr("is an adapter"));
}

TEST(Checkpoint, CountsTheIdsThatHaveAToken) {
  ASSERT_OK_AND_ASSIGN(
      const int64_t count,
      CountTokenIds(R"({"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": [{"id": 1}, {"id": 9}]})", "t"));
  EXPECT_EQ(count, 3);
  EXPECT_FALSE(CountTokenIds("{}", "t").ok());
}

TEST(Checkpoint, TheElementTypeGoesWhereTheFileHasIt) {
  Json old = {{"torch_dtype", "float32"}}, fresh = {{"dtype", "float32"}}, none = Json::object();
  for (Json* config : {&old, &fresh, &none}) SetConfigDType(DType::kBF16, config);
  EXPECT_EQ(old, Json({{"torch_dtype", "bfloat16"}}));
  EXPECT_EQ(fresh, Json({{"dtype", "bfloat16"}}));
  EXPECT_EQ(none, Json({{"dtype", "bfloat16"}}));
}

}  // namespace
}  // namespace editd::formats
