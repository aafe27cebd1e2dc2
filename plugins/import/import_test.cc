// The built plugin in a real worker, over small files made here.
#include <cstring>
#include <random>

#include "editd/plugins/importer/v1/import.pb.h"
#include "plugins/lib/formats/dequantize.h"
#include "plugins/lib/formats/gguf_testing.h"
#include "plugins/lib/formats/json.h"
#include "plugins/lib/formats/safetensors.h"
#include "plugins/lib/nn/head.h"
#include "plugins/lib/nn/testing.h"
#include "storage/base/strings.h"
#include "tests/plugin_driver.h"

namespace editd::importer {
namespace {

using formats::GgufWriter;
using formats::Json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace v1 = editd::plugins::importer::v1;

constexpr int64_t kHidden = 64, kInner = 96, kHeads = 2, kRows = 40;

// Random blocks whose scales are small numbers.
std::string Blocks(formats::GgmlType type, int64_t elements) {
  const formats::GgmlTypeTraits& traits = formats::TraitsOf(type);
  static std::mt19937 random(3);
  std::string out;
  for (int64_t i = 0; i < elements / traits.block; ++i) {
    if (type == formats::GgmlType::kF32) {
      out += GgufWriter::Raw(static_cast<float>(static_cast<int32_t>(random())) * 1e-9f);
      continue;
    }
    std::string block;
    for (uint32_t k = 0; k < traits.bytes; ++k) block += static_cast<char>(random());
    block[1] = static_cast<char>((block[1] & 0x83) | 0x20);  // A half between 2^-7 and 2^-6.
    if (type == formats::GgmlType::kQ4_1) block[3] = static_cast<char>((block[3] & 0x83) | 0x20);
    out += block;
  }
  return out;
}

struct Tensor {
  std::string name;
  formats::GgmlType type;
  std::vector<int64_t> shape;
  std::string bytes;
};

// A llama of one layer: matrices Q4_1 and Q8_0, norms F32.
std::vector<Tensor> Tensors() {
  using enum formats::GgmlType;
  std::vector<Tensor> tensors = {
      {"token_embd.weight", kQ8_0, {kRows, kHidden}, ""},
      {"output_norm.weight", kF32, {kHidden}, ""},
      {"blk.0.attn_norm.weight", kF32, {kHidden}, ""},
      {"blk.0.ffn_norm.weight", kF32, {kHidden}, ""},
      {"blk.0.attn_q.weight", kQ4_1, {kHidden, kHidden}, ""},
      {"blk.0.attn_k.weight", kQ4_1, {kHidden / kHeads, kHidden}, ""},
      {"blk.0.attn_v.weight", kQ8_0, {kHidden / kHeads, kHidden}, ""},
      {"blk.0.attn_output.weight", kQ4_1, {kHidden, kHidden}, ""},
      {"blk.0.ffn_gate.weight", kQ4_1, {kInner, kHidden}, ""},
      {"blk.0.ffn_up.weight", kQ4_1, {kInner, kHidden}, ""},
      {"blk.0.ffn_down.weight", kQ4_1, {kHidden, kInner}, ""},
  };
  for (Tensor& tensor : tensors) {
    int64_t elements = 1;
    for (const int64_t dimension : tensor.shape) elements *= dimension;
    tensor.bytes = Blocks(tensor.type, elements);
  }
  return tensors;
}

std::string Gguf(const std::vector<Tensor>& tensors, const std::string& arch = "llama") {
  GgufWriter writer;
  writer.String("general.architecture", arch)
      .U32(arch + ".block_count", 1)
      .U32(arch + ".embedding_length", kHidden)
      .U32(arch + ".feed_forward_length", kInner)
      .U32(arch + ".context_length", 128)
      .U32(arch + ".attention.head_count", kHeads)
      .U32(arch + ".attention.head_count_kv", 1)
      .F32(arch + ".attention.layer_norm_rms_epsilon", 1e-5f)
      .String("tokenizer.ggml.model", "gpt2")
      .String("tokenizer.ggml.pre", "smollm")
      .Strings("tokenizer.ggml.tokens", {"<|end|>", "a", "b", "ab"})
      .Integers("tokenizer.ggml.token_type", {3, 1, 1, 1})
      .Strings("tokenizer.ggml.merges", {"a b"})
      .U32("tokenizer.ggml.eos_token_id", 0);
  for (const Tensor& tensor : tensors) {
    writer.Tensor(tensor.name, static_cast<uint32_t>(tensor.type), tensor.shape, tensor.bytes);
  }
  return writer.Build();
}

std::vector<float> Floats(const std::string& bytes) {
  std::vector<float> out(bytes.size() / 4);
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

class ImportTest : public ::testing::Test {
 protected:
  // Imports a single file.
  PluginRun ImportFile(const std::string& content, const std::string& path = "m.gguf",
                       v1::StoreAs store_as = v1::STORE_AS_UNSPECIFIED, uint32_t threads = 2) {
    EXPECT_OK(WriteFileAtomically(dir_ / "file", content));
    v1::ImportSpec spec;
    spec.set_source("asset:1");
    spec.set_store_as(store_as);
    return PluginDriver().Threads(threads).File("asset:1", path, "", dir_ / "file").Run("import", spec, Staging());
  }
  PluginRun ImportFolder(const std::map<std::string, std::string>& folder,
                         v1::StoreAs store_as = v1::STORE_AS_UNSPECIFIED) {
    v1::ImportSpec spec;
    spec.set_source("tree:1");
    spec.set_store_as(store_as);
    PluginDriver driver;
    for (const auto& [name, content] : folder) {
      EXPECT_OK(WriteFileAtomically(dir_ / name, content));
      driver.File("tree:1", "smol", name, dir_ / name);
    }
    return driver.Run("import", spec, Staging());
  }
  std::string Staging() { return dir_ / StrCat("staging", ++runs_); }

  TemporaryDirectory dir_;
  int runs_ = 0;
};

TEST_F(ImportTest, AGgufFileBecomesAVersion) {
  const std::vector<Tensor> tensors = Tensors();
  for (const uint32_t threads : {1u, 3u}) {
    const PluginRun run = ImportFile(Gguf(tensors), "m.gguf", v1::STORE_AS_UNSPECIFIED, threads);
    ASSERT_EQ(run.error(), "");
    const auto result = run.Result<v1::ImportResult>();
    EXPECT_EQ(result.architecture(), "LlamaForCausalLM");
    EXPECT_EQ(result.format(), "GGUF v3");
    EXPECT_EQ(result.tensors(), 11u);
    EXPECT_THAT(result.remarks(), ElementsAre("the file has no chat template"));
    EXPECT_EQ(run.reply.attributes().at("architecture"), "LlamaForCausalLM");
    EXPECT_EQ(run.reply.attributes().at("vocab.rows"), "40");
    EXPECT_EQ(run.reply.attributes().at("vocab.used"), "4");
    EXPECT_EQ(run.reply.attributes().at("vocab.tied"), "true");
    ASSERT_OK_AND_ASSIGN(const Json config, formats::ParseJson(run.FileContent("config.json"), "config.json"));
    EXPECT_EQ(config["dtype"], "float32");
    EXPECT_EQ(config["eos_token_id"], 0);
    EXPECT_EQ(config["bos_token_id"], nullptr);
    EXPECT_EQ(config["vocab_size"], kRows);

    std::vector<float> expected(kRows * kHidden);
    formats::Dequantize(tensors[0].type, tensors[0].bytes.data(), expected.size(), expected.data());
    EXPECT_EQ(Floats(run.TensorBytes("model.embed_tokens.weight")), expected);
    // Row 1 of a head of 32 is row 2 in llama.cpp's order.
    std::vector<float> query(kHidden);
    formats::Dequantize(tensors[4].type, tensors[4].bytes.data() + 2 * (kHidden / 32 * 20), kHidden, query.data());
    const std::vector<float> made = Floats(run.TensorBytes("model.layers.0.self_attn.q_proj.weight"));
    EXPECT_EQ(std::vector<float>(made.begin() + kHidden, made.begin() + 2 * kHidden), query);
    EXPECT_EQ(run.TensorBytes("model.norm.weight"), tensors[1].bytes);
  }
}

// The files are made by gguf-py with llama.cpp's rules, the logits by transformers: tests/golden/make_gguf_models.py.
TEST_F(ImportTest, GgufModelsOfEachArchitectureAreTheModelsTheyWere) {
  for (const char* arch : {"llama", "qwen2", "qwen3", "gemma2", "gemma3"}) {
    SCOPED_TRACE(arch);
    ASSERT_OK_AND_ASSIGN(const std::string file,
                         ReadWholeFile(StrCat(EDITD_SOURCE_DIR, "/tests/golden/gguf/", arch, ".gguf")));
    const PluginRun run = ImportFile(file, StrCat(arch, ".gguf"));
    ASSERT_EQ(run.error(), "");
    const nn::Golden golden = nn::ReadGolden(StrCat("gguf_", arch));
    ASSERT_OK_AND_ASSIGN(const nn::DecoderConfig config, nn::ParseDecoderConfig(run.FileContent("config.json")));
    ASSERT_OK_AND_ASSIGN(const nn::DecoderConfig expected, nn::ParseDecoderConfig(golden.config_json));
    EXPECT_EQ(config.architecture, expected.architecture);

    // Every weight to the last bit, by the names of Hugging Face.
    const nn::WeightsFromNames weights(expected);
    EXPECT_EQ(run.Result<v1::ImportResult>().tensors(), weights.names().size());
    std::map<std::string, std::string, std::less<>> bytes;
    for (const std::string& name : weights.names()) {
      bytes[name] = run.TensorBytes(name);
      const std::string& wanted = weights.bytes(name);
      const DType dtype = *DTypeFromName(run.Tensor(name)->dtype());
      for (size_t i = 0; i < wanted.size() / 4; ++i) {
        const float value = dtype == DType::kF32
                                ? reinterpret_cast<const float*>(bytes[name].data())[i]
                                : BFloat16ToFloat(reinterpret_cast<const uint16_t*>(bytes[name].data())[i]);
        ASSERT_EQ(value, reinterpret_cast<const float*>(wanted.data())[i]) << name << " " << i;
      }
    }
    // And the configuration means the same: the logits are those of the model it was.
    const nn::WeightSource source = {[&](std::string_view name) -> std::optional<nn::TensorView> {
      const auto found = bytes.find(name);
      if (found == bytes.end()) return std::nullopt;
      return nn::TensorView{*DTypeFromName(run.Tensor(found->first)->dtype()), weights.shape(found->first),
                            found->second.data()};
    }};
    ASSERT_OK_AND_ASSIGN(const auto decoder, nn::Decoder::Load(config, source, {}));
    nn::HiddenStates hidden;
    const std::vector<std::span<const int32_t>> sequences(golden.ids.begin(), golden.ids.end());
    ASSERT_OK(decoder->Run(sequences, &hidden));
    for (size_t s = 0; s < golden.ids.size(); ++s) {
      std::vector<const void*> at;
      for (const int32_t position : golden.positions[s]) at.push_back(hidden.row(s, position));
      const std::vector<float> logits = nn::Logits(*decoder, at).value();
      ASSERT_EQ(logits.size(), golden.logits[s].size());
      for (size_t i = 0; i < logits.size(); ++i) ASSERT_NEAR(logits[i], golden.logits[s][i], 1e-4);
    }
  }
}

TEST_F(ImportTest, MatricesAreStoredAsAsked) {
  const std::vector<Tensor> tensors = Tensors();
  const PluginRun run = ImportFile(Gguf(tensors), "m.gguf", v1::STORE_AS_BF16);
  ASSERT_EQ(run.error(), "");
  EXPECT_EQ(run.Tensor("model.embed_tokens.weight")->dtype(), "BF16");
  EXPECT_EQ(run.Tensor("model.norm.weight")->dtype(), "F32");
  EXPECT_THAT(run.FileContent("config.json"), HasSubstr("\"dtype\": \"bfloat16\""));
  const std::string made = run.TensorBytes("model.embed_tokens.weight");
  for (int64_t i = 0; i < kRows * kHidden; ++i) {
    uint16_t bits;
    std::memcpy(&bits, made.data() + 2 * i, 2);
    ASSERT_EQ(bits, FloatToBFloat16(formats::DequantizeElement(tensors[0].type, tensors[0].bytes.data(), i)));
  }
}

TEST_F(ImportTest, WhatIsNoModelIsRefusedByName) {
  const std::string good = Gguf(Tensors());
  EXPECT_THAT(ImportFile(good.substr(0, good.size() - 1)).error(),
              HasSubstr("m.gguf: tensor \"blk.0.ffn_down.weight\" has"));
  EXPECT_THAT(ImportFile(good.substr(0, 100)).error(), HasSubstr("the download is incomplete"));
  EXPECT_THAT(ImportFile(Gguf(Tensors(), "phi3")).error(), HasSubstr("architecture \"phi3\" in GGUF is not supported"));
  EXPECT_THAT(ImportFile("hello").error(), HasSubstr("is it a GGUF file?"));
  EXPECT_THAT(ImportFile("", "empty.gguf").error(), HasSubstr("empty.gguf: does not begin with \"GGUF\""));
  EXPECT_THAT(ImportFile("x", "pytorch_model.bin").error(), HasSubstr("pickle"));
  EXPECT_THAT(ImportFile("x", "model.safetensors").error(), HasSubstr("import the folder"));
}

TEST_F(ImportTest, AWeightThatIsNoNumberIsNotPublished) {
  std::vector<Tensor> tensors = Tensors();
  tensors[1].bytes.replace(8, 4, GgufWriter::Raw(std::bit_cast<float>(0x7fc00000u)));
  const PluginRun run = ImportFile(Gguf(tensors));
  EXPECT_TRUE(run.reply.error().invalid_output());
  EXPECT_THAT(run.error(), HasSubstr("model.norm.weight"));
}

std::map<std::string, std::string> Folder() {
  std::vector<formats::SafetensorsEntry> entries = {{"model.embed_tokens.weight", DType::kF32, {6, 4}, 0, 96},
                                                    {"model.norm.weight", DType::kF32, {4}, 0, 16}};
  std::string weights = formats::LayOutSafetensors(&entries, {{"format", "pt"}});
  for (int i = 0; i < 28; ++i) weights += GgufWriter::Raw(1.0f + static_cast<float>(i) * 0x1p-9f);
  return {{"config.json", R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 6, "torch_dtype": "float32"})"},
          {"tokenizer.json", R"({"added_tokens": [{"id": 2}], "model": {"vocab": {"a": 0, "b": 1}}})"},
          {"README.md", "x"},
          {"model.safetensors", weights}};
}

TEST_F(ImportTest, AHuggingFaceFolderIsKeptAsItIs) {
  const auto folder = Folder();
  const PluginRun run = ImportFolder(folder);
  ASSERT_EQ(run.error(), "");
  EXPECT_EQ(run.FileContent("config.json"), folder.at("config.json"));
  EXPECT_EQ(run.FileContent("tokenizer.json"), folder.at("tokenizer.json"));
  EXPECT_EQ(run.FileContent("README.md"), "no such file");
  EXPECT_EQ(run.TensorBytes("model.embed_tokens.weight"),
            folder.at("model.safetensors").substr(folder.at("model.safetensors").size() - 112, 96));
  EXPECT_EQ(run.reply.attributes().at("vocab.used"), "3");
  EXPECT_EQ(run.Result<v1::ImportResult>().format(), "safetensors");
}

TEST_F(ImportTest, AFolderIsStoredAsAsked) {
  const PluginRun run = ImportFolder(Folder(), v1::STORE_AS_F16);
  ASSERT_EQ(run.error(), "");
  EXPECT_EQ(run.Tensor("model.embed_tokens.weight")->dtype(), "F16");
  EXPECT_EQ(run.TensorBytes("model.embed_tokens.weight").size(), 48u);
  EXPECT_THAT(run.FileContent("config.json"), HasSubstr("\"torch_dtype\": \"float16\""));
}

TEST_F(ImportTest, AFolderThatIsNotWholeIsRefusedByName) {
  auto folder = Folder();
  folder["model.safetensors"].pop_back();
  EXPECT_THAT(ImportFolder(folder).error(), HasSubstr("smol/model.safetensors: tensor \"model.norm.weight\" ends at"));
  folder.erase("model.safetensors");
  folder["pytorch_model.bin"] = "x";
  EXPECT_THAT(ImportFolder(folder).error(), HasSubstr("a pickle file, which is not read; convert it to safetensors"));
}

TEST_F(ImportTest, ASpecIsCheckedBeforeItRuns) {
  ASSERT_OK(WriteFileAtomically(dir_ / "README.md", "x"));
  v1::ImportSpec spec;
  spec.set_source("tree:1");
  EXPECT_THAT(PluginDriver().File("tree:1", "docs", "README.md", dir_ / "README.md").Check("import", spec),
              ElementsAre(HasSubstr("\"docs\" has no config.json")));
  EXPECT_THAT(PluginDriver().Check("import", spec), ElementsAre(HasSubstr("source: names nothing to import")));
  EXPECT_THAT(PluginDriver().File("tree:1", "m.gguf", "", dir_ / "README.md").Check("import", spec), IsEmpty());
}

}  // namespace
}  // namespace editd::importer
