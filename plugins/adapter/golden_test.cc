// The plugin against PEFT and bitsandbytes. tests/golden/make_adapters.py makes the files and says what is in them.
//
// PEFT computes B A with another order of sums and rounds W + change in float32 (or the base's type) as we do; so
// float32 weights may differ by a few units in the last place of what was added: 1e-6 of the tensor's largest magnitude
// is allowed. Weights of 16 bits may differ by one unit where the float32 results lie on either side of a boundary.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "editd/plugins/adapter/v1/adapter.pb.h"
#include "editd/plugins/importer/v1/import.pb.h"
#include "plugins/lib/formats/adapter.h"
#include "plugins/lib/formats/convert.h"
#include "plugins/lib/formats/safetensors.h"
#include "storage/base/strings.h"
#include "tests/plugin_driver.h"

namespace editd::adapter {
namespace {

namespace v1 = editd::plugins::adapter::v1;
using formats::Json;
using formats::SafetensorsEntry;

std::vector<float> Floats(DType dtype, std::string_view bytes) {
  std::vector<float> out(bytes.size() / DTypeBytes(dtype));
  formats::ToFloats(dtype, bytes.data(), out.size(), out.data());
  return out;
}

// A golden file: its tensors by name, and its texts.
struct Golden {
  MappedFile file;
  formats::SafetensorsHeader header;

  std::string_view Bytes(const SafetensorsEntry& entry) const { return file.view().substr(entry.offset, entry.size); }
  // The tensors below `prefix` as a safetensors file.
  std::string Part(const std::string& prefix) const {
    std::vector<SafetensorsEntry> entries;
    for (SafetensorsEntry entry : header.tensors) {
      if (!entry.name.starts_with(prefix)) continue;
      entry.name = entry.name.substr(prefix.size());
      entries.push_back(std::move(entry));
    }
    std::string out = formats::LayOutSafetensors(&entries, {{"format", "pt"}});
    for (const SafetensorsEntry& entry : entries) {
      for (const SafetensorsEntry& own : header.tensors) {
        if (own.name == prefix + entry.name) out += Bytes(own);
      }
    }
    return out;
  }
};

class GoldenTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string path = StrCat(EDITD_SOURCE_DIR, "/tests/golden/adapters/", GetParam(), ".safetensors");
    ASSERT_OK_AND_ASSIGN(golden_.file, MappedFile::Open(path));
    ASSERT_OK_AND_ASSIGN(golden_.header, formats::ReadSafetensors(golden_.file.view(), path));
    base_ = Import(
        {{"config.json", golden_.header.metadata.at("config.json")}, {"model.safetensors", golden_.Part("base/")}});
    for (int i = 0; golden_.header.metadata.count(StrCat("adapter", i, ".json")) != 0; ++i) {
      adapters_.push_back(Import({{"adapter_config.json", golden_.header.metadata.at(StrCat("adapter", i, ".json"))},
                                  {"adapter_model.safetensors", golden_.Part(StrCat("adapter", i, "/"))}}));
    }
    for (const Json& weight : Json::parse(golden_.header.metadata.at("weights"))) weights_.push_back(weight);
  }
  PluginRun Import(const std::map<std::string, std::string>& folder) {
    editd::plugins::importer::v1::ImportSpec spec;
    spec.set_source("tree:1");
    PluginDriver driver;
    const std::string own = dir_ / StrCat("in", ++runs_);
    std::filesystem::create_directories(own);
    for (const auto& [name, content] : folder) {
      EXPECT_OK(WriteFileAtomically(own + "/" + name, content));
      driver.File("tree:1", "folder", name, own + "/" + name);
    }
    PluginRun run = driver.Run("import", spec, dir_ / StrCat("staging", ++runs_));
    EXPECT_EQ(run.error(), "");
    return run;
  }
  PluginRun Merge(const v1::AdapterSpec& spec, uint32_t threads = 2) {
    PluginDriver driver;
    driver.Threads(threads).Model("base", base_, "base");
    for (size_t i = 0; i < adapters_.size(); ++i) driver.Model(StrCat("a", i), adapters_[i], "adapter");
    return driver.Run("adapter", spec, dir_ / StrCat("staging", ++runs_));
  }
  v1::AdapterSpec MergeSpec() {
    v1::AdapterSpec spec;
    for (const double weight : weights_) spec.mutable_merge()->add_weight(weight);
    return spec;
  }

  static std::vector<float> Made(const PluginRun& run, const std::string& name) {
    const auto* tensor = run.Tensor(name);
    return tensor == nullptr ? std::vector<float>() : Floats(*DTypeFromName(tensor->dtype()), run.TensorBytes(name));
  }
  void ExpectClose(const std::string& name, DType dtype, const std::vector<float>& made,
                   const std::vector<float>& expected, float tolerance = 1e-6f) {
    ASSERT_EQ(made.size(), expected.size()) << name;
    float largest = 0;
    for (const float value : expected) largest = std::max(largest, std::fabs(value));
    const int bits = dtype == DType::kBF16 ? 8 : 11;
    size_t off = 0;
    for (size_t i = 0; i < made.size(); ++i) {
      const float difference = std::fabs(made[i] - expected[i]);
      if (dtype == DType::kF32) {
        ASSERT_LE(difference, tolerance * largest) << name << " " << i;
      } else if (difference > 0) {
        ++off;
        const float unit = std::ldexp(std::fabs(expected[i]), 1 - bits);
        ASSERT_LE(difference, unit + 1e-7f) << name << " " << i;
      }
    }
    EXPECT_LE(static_cast<double>(off), 0.01 * static_cast<double>(made.size())) << name;
  }

  // All of the file's tensors below `prefix`.
  std::vector<SafetensorsEntry> Expected(const std::string& prefix) {
    std::vector<SafetensorsEntry> out;
    for (const SafetensorsEntry& entry : golden_.header.tensors) {
      if (entry.name.starts_with(prefix)) out.push_back(entry);
    }
    return out;
  }
  void ExpectMerged(const PluginRun& run, const std::string& prefix, std::set<std::string>* seen) {
    for (const SafetensorsEntry& entry : Expected(prefix)) {
      const std::string name = entry.name.substr(prefix.size());
      if (!seen->insert(name).second) continue;
      ASSERT_NE(run.Tensor(name), nullptr) << name;
      EXPECT_EQ(run.Tensor(name)->dtype(), DTypeName(entry.dtype)) << name;
      ExpectClose(name, entry.dtype, Made(run, name), Floats(entry.dtype, golden_.Bytes(entry)));
    }
  }

  Golden golden_;
  PluginRun base_;
  std::vector<PluginRun> adapters_;
  std::vector<double> weights_;
  TemporaryDirectory dir_;
  int runs_ = 0;
};

using MergeGolden = GoldenTest;
using ThreadsGolden = GoldenTest;
using CombineGolden = GoldenTest;
using Nf4Golden = GoldenTest;

TEST_P(MergeGolden, WeightsAreThoseOfPeft) {
  const PluginRun run = Merge(MergeSpec());
  ASSERT_EQ(run.error(), "");
  std::set<std::string> seen;
  ExpectMerged(run, "merged/", &seen);
  for (const SafetensorsEntry& entry : Expected("base/")) {  // The rest is what it was, and referenced.
    const std::string name = entry.name.substr(5);
    if (seen.count(name) != 0) continue;
    ASSERT_NE(run.Tensor(name), nullptr) << name;
    EXPECT_FALSE(run.Tensor(name)->is_new()) << name;
    EXPECT_TRUE(run.TensorBytes(name) == golden_.Bytes(entry)) << name;
  }
  const Json config = Json::parse(run.FileContent("config.json"));
  const bool tied = config.value("tie_word_embeddings", true);
  EXPECT_EQ(tied, run.Tensor("lm_head.weight") == nullptr);
  const auto attribute = run.reply.attributes().find("vocab.tied");
  if (attribute != run.reply.attributes().end()) {
    EXPECT_EQ(attribute->second, tied ? "true" : "false");
  }
}

TEST_P(ThreadsGolden, BitsDoNotDependOnThreads) {
  const PluginRun one = Merge(MergeSpec(), 1), three = Merge(MergeSpec(), 3);
  ASSERT_EQ(one.error(), "");
  ASSERT_EQ(one.reply.tensors_size(), three.reply.tensors_size());
  for (const auto& tensor : one.reply.tensors()) EXPECT_EQ(tensor.id(), three.Tensor(tensor.name())->id());
}

INSTANTIATE_TEST_SUITE_P(, MergeGolden,
                         testing::Values("plain", "rslora", "patterns", "patterns_rslora", "regex", "layers",
                                         "embedding", "embedding_tied", "head_tied", "embedding_tie", "saved",
                                         "saved_tied", "saved_tie", "bias_all", "bias_lora_only", "dora", "dora_rslora",
                                         "tokens", "tokens_untied", "conv1d", "conv1d_dora", "bfloat16", "float16",
                                         "two"),
                         [](const auto& test) { return test.param; });

INSTANTIATE_TEST_SUITE_P(, ThreadsGolden, testing::Values("dora", "conv1d_dora", "bfloat16", "two"),
                         [](const auto& test) { return test.param; });

// What add_weighted_adapter's argument is called here.
v1::AdapterSpec CombineSpec(const Json& arguments, const std::vector<double>& weights) {
  v1::AdapterSpec spec;
  v1::Combine& combine = *spec.mutable_combine();
  for (const double weight : weights) combine.add_weight(weight);
  std::string type = arguments["combination_type"];
  combine.set_form(v1::COMBINE_FORM_FACTORS);
  if (type == "cat") combine.set_form(v1::COMBINE_FORM_CAT);
  if (type == "svd" || type.ends_with("_svd")) {
    combine.set_form(v1::COMBINE_FORM_SVD);
    combine.set_rank(arguments["svd_rank"]);
    if (type != "svd") type.resize(type.size() - 4);
  }
  v1::Combination& how = *combine.mutable_combination();
  if (type == "ties") how.set_method(v1::COMBINATION_METHOD_TIES);
  if (type == "magnitude_prune") how.set_method(v1::COMBINATION_METHOD_MAGNITUDE_PRUNE);
  if (arguments.contains("density")) how.set_density(arguments["density"]);
  if (arguments.value("majority_sign_method", "") == "frequency") how.set_sign(v1::SIGN_ELECTION_FREQUENCY);
  return spec;
}

TEST_P(CombineGolden, ChangesAreThoseOfPeft) {
  PluginDriver driver;
  for (size_t i = 0; i < adapters_.size(); ++i) driver.Model(StrCat("a", i), adapters_[i], "adapter");
  const Json arguments = Json::parse(golden_.header.metadata.at("arguments"));
  const PluginRun run = driver.Run("adapter", CombineSpec(arguments, weights_), dir_ / "combined");
  ASSERT_EQ(run.error(), "");
  ASSERT_OK_AND_ASSIGN(const formats::AdapterConfig config,
                       formats::ReadAdapterConfig(run.FileContent("adapter_config.json"), "made"));
  for (const SafetensorsEntry& entry : Expected("delta/")) {
    const std::string module = entry.name.substr(6);
    const bool embedding = module.ends_with("embed_tokens");
    const std::string prefix = StrCat("base_model.model.", module, ".");
    const std::vector<float> a = Made(run, prefix + (embedding ? "lora_embedding_A" : "lora_A.weight"));
    const std::vector<float> b = Made(run, prefix + (embedding ? "lora_embedding_B" : "lora_B.weight"));
    const auto rows = static_cast<size_t>(entry.shape[0]), columns = static_cast<size_t>(entry.shape[1]);
    const size_t rank = b.size() / rows;
    EXPECT_EQ(formats::ScaleOf(config, module).rank, static_cast<double>(rank));
    EXPECT_EQ(formats::ScaleOf(config, module).scale, 1.0);
    std::vector<float> delta(rows * columns);
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < columns; ++j) {
        double sum = 0;
        for (size_t k = 0; k < rank; ++k)
          sum += static_cast<double>(b[i * rank + k]) * static_cast<double>(a[k * columns + j]);
        delta[i * columns + j] = static_cast<float>(sum);
      }
    }
    ExpectClose(module, DType::kF32, delta, Floats(entry.dtype, golden_.Bytes(entry)), 3e-6f);
  }
}

INSTANTIATE_TEST_SUITE_P(, CombineGolden,
                         testing::Values("cat", "svd", "linear", "ties", "ties_frequency", "ties_svd",
                                         "magnitude_prune", "magnitude_prune_svd"),
                         [](const auto& test) { return test.param; });

TEST_P(Nf4Golden, WeightsAreThoseThatTrainingSaw) {
  v1::AdapterSpec spec = MergeSpec();
  spec.mutable_merge()->set_onto(v1::MERGE_ONTO_DEQUANTIZED_NF4);
  const PluginRun run = Merge(spec);
  ASSERT_EQ(run.error(), "");
  std::set<std::string> seen;
  ExpectMerged(run, "merged/", &seen);
  ExpectMerged(run, "dequantized/", &seen);
  EXPECT_EQ(run.reply.attributes().at("merged.onto"), "the base through NF4");
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"}) {
    EXPECT_FALSE(run.Tensor(name)->is_new()) << name;
  }
}

TEST_P(Nf4Golden, ChangedLayersAreRoundedOnceMore) {
  v1::AdapterSpec spec = MergeSpec();
  spec.mutable_merge()->set_onto(v1::MERGE_ONTO_REQUANTIZED_NF4);
  const PluginRun run = Merge(spec);
  ASSERT_EQ(run.error(), "");
  std::set<std::string> seen;
  ExpectMerged(run, "requantized/", &seen);
  EXPECT_EQ(seen.size(), 2u);
  for (const SafetensorsEntry& entry : Expected("merged/")) seen.insert(entry.name.substr(7));  // Judged above, or not.
  ExpectMerged(run, "dequantized/", &seen);
}

INSTANTIATE_TEST_SUITE_P(, Nf4Golden, testing::Values("nf4", "nf4_bfloat16"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace editd::adapter
