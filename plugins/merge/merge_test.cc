// The built plugin in a real worker: what it makes, what it takes as it is, and what it says of a spec that is wrong.
#include <cstring>
#include <random>

#include "editd/plugins/merge/v1/merge.pb.h"
#include "google/protobuf/text_format.h"
#include "plugins/lib/formats/json.h"
#include "storage/base/strings.h"
#include "tests/plugin_driver.h"

namespace editd::merge {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
namespace v1 = editd::plugins::merge::v1;

v1::MergeSpec Spec(const std::string& text) {
  v1::MergeSpec spec;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &spec)) << text;
  return spec;
}

// A checkpoint in a folder, as PluginRun has it.
struct Checkpoint {
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    std::vector<float> values;
    DType dtype = DType::kBF16;
  };
  std::vector<Tensor> tensors;
  std::string config = R"({"torch_dtype": "bfloat16", "tie_word_embeddings": false})";
  std::map<std::string, std::string> files;

  Tensor* Find(const std::string& name) {
    for (Tensor& tensor : tensors) {
      if (tensor.name == name) return &tensor;
    }
    return nullptr;
  }
  void Remove(const std::string& name) {
    std::erase_if(tensors, [&](const Tensor& tensor) { return tensor.name == name; });
  }
};

Checkpoint Make(uint32_t seed, int layers = 4) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.1f);
  Checkpoint made;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    int64_t n = 1;
    for (const int64_t extent : shape) n *= extent;
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = BFloat16ToFloat(FloatToBFloat16(normal(random)));
    made.tensors.push_back({name, shape, values});
  };
  add("model.embed_tokens.weight", {40, 16});
  for (int i = 0; i < layers; ++i) {
    add(StrCat("model.layers.", i, ".mlp.up_proj.weight"), {32, 16});
    add(StrCat("model.layers.", i, ".input_layernorm.weight"), {16});
  }
  add("model.norm.weight", {16});
  add("lm_head.weight", {40, 16});
  return made;
}

class MergeTest : public ::testing::Test {
 protected:
  // `checkpoint` as a version that a job can read.
  PluginRun Version(const Checkpoint& checkpoint) {
    PluginRun run;
    run.staging = dir_ / StrCat("version", versions_++);
    std::filesystem::create_directories(run.staging);
    std::string pack;
    for (const Checkpoint::Tensor& tensor : checkpoint.tensors) {
      pack.resize((pack.size() + 63) / 64 * 64);
      editd::v1::OutputTensor* out = run.reply.add_tensors();
      out->set_name(tensor.name);
      out->set_dtype(std::string(DTypeName(tensor.dtype)));
      out->mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
      out->set_offset(pack.size());
      out->set_size(tensor.values.size() * DTypeBytes(tensor.dtype));
      std::string bytes;
      for (const float value : tensor.values) {
        const uint16_t bits = FloatToBFloat16(value);
        if (tensor.dtype == DType::kBF16) bytes.append(reinterpret_cast<const char*>(&bits), 2);
        if (tensor.dtype == DType::kF32) bytes.append(reinterpret_cast<const char*>(&value), 4);
        if (tensor.dtype == DType::kI32) bytes.append(4, '\1');
      }
      out->set_id(HashContent(ContentKind::Tensor(tensor.dtype, tensor.shape), bytes).Hex());
      pack += bytes;
    }
    run.reply.set_pack_file("pack");
    EXPECT_OK(WriteFileAtomically(run.staging + "/pack", pack));
    std::map<std::string, std::string> files = checkpoint.files;
    files["config.json"] = checkpoint.config;
    for (const auto& [name, content] : files) {
      EXPECT_OK(WriteFileAtomically(StrCat(run.staging, "/", name), content));
      editd::v1::OutputFile* file = run.reply.add_files();
      file->set_name(name);
      file->set_file(name);
    }
    (*run.reply.mutable_attributes())["vocab.tied"] = "false";
    return run;
  }
  PluginDriver& Input(const std::string& name, const Checkpoint& checkpoint) {
    return driver_.Model(name, Version(checkpoint));
  }
  PluginRun Run(const std::string& spec) { return driver_.Run("merge", Spec(spec), dir_ / StrCat("out", versions_++)); }
  std::vector<std::string> Check(const std::string& spec) { return driver_.Check("merge", Spec(spec)); }

  static std::vector<float> Floats(const std::string& bytes) {
    std::vector<float> out(bytes.size() / 2);
    for (size_t i = 0; i < out.size(); ++i) {
      uint16_t bits;
      std::memcpy(&bits, bytes.data() + 2 * i, 2);
      out[i] = BFloat16ToFloat(bits);
    }
    return out;
  }

  TemporaryDirectory dir_;
  PluginDriver driver_;
  int versions_ = 0;
};

constexpr char kMean[] = R"(method: METHOD_LINEAR models { input: "a" parameters { weight { value: 1 } } }
                            models { input: "b" parameters { weight { value: 3 } } })";

TEST_F(MergeTest, AMeanIsWeightedAndSaysWhereItComesFrom) {
  Checkpoint a = Make(1), b = Make(2);
  Input("a", a);
  Input("b", b);
  ASSERT_THAT(Check(kMean), IsEmpty());
  const PluginRun run = Run(kMean);
  ASSERT_EQ(run.error(), "");
  EXPECT_EQ(run.reply.tensors_size(), 11);
  const std::vector<float> norm = Floats(run.TensorBytes("model.norm.weight"));
  for (size_t i = 0; i < norm.size(); ++i) {
    const float x = a.Find("model.norm.weight")->values[i], y = b.Find("model.norm.weight")->values[i];
    EXPECT_EQ(norm[i], BFloat16ToFloat(FloatToBFloat16((x + 3 * y) / 4)));
  }
  EXPECT_EQ(run.Result<v1::MergeResult>().tensors(), 11u);
  const auto record = formats::ParseJson(run.FileContent("editd_merge.json"), "record");
  ASSERT_OK(record);
  EXPECT_EQ((*record)["method"], "linear");
  EXPECT_EQ((*record)["inputs"][1]["name"], "b");
  EXPECT_EQ((*record)["tensors"]["model.norm.weight"].dump(),
            R"({"from":[[0,"model.norm.weight"],[1,"model.norm.weight"]],"weights":[1.0,3.0]})");
  EXPECT_EQ(run.reply.attributes().at("vocab.tied"), "false");
}

TEST_F(MergeTest, AGradientRunsOverTheLayersAndAFilterPicksTensors) {
  Checkpoint a = Make(1), b = Make(2);
  Input("a", a);
  Input("b", b);
  const PluginRun run = Run(R"(method: METHOD_SLERP base: "a" models { input: "b" }
      parameters { t { filter: "layernorm" value: 0 } t { filter: "mlp" value: [0, 1] } t { value: 1 } })");
  ASSERT_EQ(run.error(), "");
  // Layer 0's matrix, all norms of layers: a's. Layer 3's, the rest: b's. None is stored.
  const auto same = [&](const std::string& name, const Checkpoint& of) {
    const editd::v1::OutputTensor* tensor = run.Tensor(name);
    Checkpoint copy = of;
    std::string bytes;
    for (const float value : copy.Find(name)->values) {
      const uint16_t bits = FloatToBFloat16(value);
      bytes.append(reinterpret_cast<const char*>(&bits), 2);
    }
    EXPECT_FALSE(tensor->is_new()) << name;
    EXPECT_EQ(tensor->id(), HashContent(ContentKind::Tensor(DType::kBF16, copy.Find(name)->shape), bytes).Hex())
        << name;
  };
  same("model.layers.0.mlp.up_proj.weight", a);
  same("model.layers.3.mlp.up_proj.weight", b);
  same("model.layers.2.input_layernorm.weight", a);
  same("model.embed_tokens.weight", b);
  EXPECT_TRUE(run.Tensor("model.layers.1.mlp.up_proj.weight")->is_new());
  EXPECT_EQ(run.Result<v1::MergeResult>().tensors_reused(), 9u);
}

TEST_F(MergeTest, TiesOfModelsThatHaveTheBasesTensorsStoresNothing) {
  const Checkpoint base = Make(1);
  Input("base", base);
  Input("a", base);
  Input("b", base);
  const PluginRun run =
      Run(R"(method: METHOD_TIES base: "base" parameters { weight { value: 1 } density { value: 0.5 } }
                               models { input: "a" } models { input: "b" })");
  ASSERT_EQ(run.error(), "");
  for (const auto& tensor : run.reply.tensors()) EXPECT_FALSE(tensor.is_new()) << tensor.name();
  EXPECT_EQ(run.reply.pack_file(), "");
}

TEST_F(MergeTest, AnotherTypeIsMadeAndConfigSaysSo) {
  Input("a", Make(1));
  Input("b", Make(2));
  const PluginRun run = Run(StrCat(kMean, R"( out_dtype: "F32")"));
  ASSERT_EQ(run.error(), "");
  for (const auto& tensor : run.reply.tensors()) EXPECT_EQ(tensor.dtype(), "F32") << tensor.name();
  EXPECT_THAT(run.FileContent("config.json"), HasSubstr(R"("torch_dtype": "float32")"));
}

TEST_F(MergeTest, AHeadThatOnlySomeHaveBecomesOneOfItsOwn) {
  Checkpoint a = Make(1), b = Make(2);
  a.Remove("lm_head.weight");
  a.config = R"({"tie_word_embeddings": true})";
  Input("a", a);
  Input("b", b);
  ASSERT_THAT(Check(kMean), IsEmpty());
  const PluginRun run = Run(kMean);
  ASSERT_EQ(run.error(), "");
  const std::vector<float> head = Floats(run.TensorBytes("lm_head.weight"));
  const float x = a.Find("model.embed_tokens.weight")->values[7], y = b.Find("lm_head.weight")->values[7];
  EXPECT_EQ(head[7], BFloat16ToFloat(FloatToBFloat16((x + 3 * y) / 4)));
  EXPECT_THAT(run.FileContent("config.json"), HasSubstr(R"("tie_word_embeddings": false)"));
  EXPECT_EQ(run.reply.attributes().at("vocab.tied"), "false");
}

TEST_F(MergeTest, IntegersAreTheBases) {
  Checkpoint a = Make(1), b = Make(2);
  for (Checkpoint* c : {&a, &b}) c->tensors.push_back({"model.position_ids", {4}, {0, 1, 2, 3}, DType::kI32});
  Input("a", a);
  Input("b", b);
  const PluginRun run = Run(kMean);
  ASSERT_EQ(run.error(), "");
  EXPECT_FALSE(run.Tensor("model.position_ids")->is_new());
}

TEST_F(MergeTest, RandomMasksFollowTheSeedAlone) {
  Input("base", Make(1));
  Input("a", Make(2));
  Input("b", Make(3));
  const std::string spec =
      R"(method: METHOD_DARE_TIES base: "base" parameters { weight { value: 1 } density { value: 0.5 } }
                              models { input: "a" } models { input: "b" })";
  const PluginRun once = Run(spec);
  driver_.Threads(5);
  const PluginRun again = Run(spec);
  ASSERT_EQ(once.error(), "");
  ASSERT_EQ(once.reply.tensors_size(), again.reply.tensors_size());
  for (int i = 0; i < once.reply.tensors_size(); ++i)
    EXPECT_EQ(once.reply.tensors(i).id(), again.reply.tensors(i).id());
  EXPECT_EQ(once.reply.pack_id(), again.reply.pack_id());
}

TEST_F(MergeTest, AnInfiniteResultIsRefusedAndTheInputsNamed) {
  Checkpoint a = Make(1), b = Make(2);
  b.Find("model.norm.weight")->values[5] = std::numeric_limits<float>::infinity();
  Input("a", a);
  Input("b", b);
  const PluginRun run = Run(kMean);
  EXPECT_THAT(run.error(),
              AllOf(HasSubstr("tensor \"model.norm.weight\" would have inf at [5]"), HasSubstr("\"b\" has inf")));
  EXPECT_TRUE(run.reply.error().invalid_output());
}

// --- checks
// ----------------------------------------------------------------------------------------------------------------

TEST_F(MergeTest, EveryProblemOfASpecIsFoundAtOnce) {
  Input("base", Make(1));
  Input("math", Make(2));
  Input("vi", Make(3));
  EXPECT_THAT(Check(R"(method: METHOD_TIES base: "bse"
               models { input: "math" parameters { weight { value: 1 } density { value: 1.5 } t { value: 1 } } }
               models { input: "math" }
               models { input: "v" }
               parameters { density { filter: "mpl" value: 0.5 } lambda { filter: "mlp" } }
               out_dtype: "FP16")"),
              UnorderedElementsAre(HasSubstr("base: no input is named \"bse\"; did you mean \"base\"?"),
                                   HasSubstr("models[1].input: \"math\" is listed twice"),
                                   HasSubstr("models[2].input: no input is named \"v\""),
                                   HasSubstr("out_dtype: \"FP16\" is none of BF16, F16, F32"),
                                   HasSubstr("models[0].parameters.density[0].value[0]: 1.5 is out of range"),
                                   HasSubstr("models[0].parameters.t: the method ties has no such parameter"),
                                   HasSubstr("parameters.lambda[0].value: has no number"),
                                   HasSubstr("models: the job's input \"base\" takes no part"),
                                   HasSubstr("models: the job's input \"vi\" takes no part")))
      << "and no filter that is in no name: the names are not known";
  EXPECT_THAT(
      Check(R"(method: METHOD_TIES base: "base"
               models { input: "math" parameters { weight { value: 1 } density { value: 1.5 } t { value: 1 } } }
               parameters { density { filter: "mpl" value: 0.5 } density { value: [0.5, 0] } lambda { filter: "mlp" } })"),
      AllOf(Contains(HasSubstr(
                "models[0].parameters.density[0].value[0]: 1.5 is out of range; a density is above 0 and at most 1")),
            Contains(HasSubstr("models[0].parameters.t: the method ties has no such parameter")),
            Contains(HasSubstr("parameters.density[0].filter: \"mpl\" is in no tensor's name")),
            Contains(HasSubstr("parameters.density[1].value[1]: 0 is out of range")),
            Contains(HasSubstr("parameters.lambda[0].value: has no number")),
            Contains(HasSubstr("models: the job's input \"vi\" takes no part"))));
}

TEST_F(MergeTest, WhatFollowsFromAnotherProblemIsNotTold) {
  Input("a", Make(1));
  Input("b", Make(2));
  // The weights of the two that there are sum to zero, with the third they do not.
  EXPECT_THAT(Check(R"(method: METHOD_LINEAR models { input: "a" parameters { weight { value: 1 } } }
                       models { input: "b" parameters { weight { value: -1 } } }
                       models { input: "cc" parameters { weight { value: 1 } } })"),
              ElementsAre(HasSubstr("models[2].input: no input is named \"cc\"")));
  EXPECT_THAT(Check(R"(block_expansion { input: "d" blocks: 2 } out_dtype: "F64")"),
              UnorderedElementsAre(HasSubstr("block_expansion.input: no input is named \"d\""),
                                   HasSubstr("out_dtype: \"F64\" is none of")));
}

TEST_F(MergeTest, MethodsSayHowManyModelsTheyTake) {
  Input("base", Make(1));
  Input("a", Make(2));
  Input("b", Make(3));
  const std::string two = R"(base: "base" models { input: "a" } models { input: "b" })";
  EXPECT_THAT(Check("method: METHOD_SLERP " + two),
              Contains(HasSubstr("models: the method slerp takes exactly 1 besides the base; there are 2")));
  EXPECT_THAT(Check(R"(method: METHOD_MODEL_STOCK base: "base" models { input: "a" })"),
              Contains(HasSubstr("takes at least 2 besides the base; there is 1")));
  EXPECT_THAT(Check(R"(method: METHOD_SCE models { input: "a" } models { input: "b" })"),
              Contains(HasSubstr("base: is empty; the method sce takes differences from a base")));
  EXPECT_THAT(Check(R"(method: METHOD_MULTISLERP base: "a" models { input: "a" } models { input: "b" })"),
              Contains(HasSubstr("base: \"a\" is also listed")));
  EXPECT_THAT(Check("models { input: \"a\" }"), Contains(HasSubstr("method: is not set")));
  EXPECT_THAT(Check("method: METHOD_LINEAR"), Contains(HasSubstr("nothing is merged; give models, slices")));
}

TEST_F(MergeTest, NumbersThatAreWrongTogetherAreFound) {
  Input("base", Make(1));
  Input("a", Make(2));
  Input("b", Make(3));
  EXPECT_THAT(
      Check(
          R"(method: METHOD_LINEAR models { input: "base" parameters { weight { value: 1 } } } models { input: "a" parameters { weight { value: -1 } } }
                       models { input: "b" parameters { weight { filter: "mlp" value: 0 } } })"),
      AllOf(Contains(HasSubstr("models: the weights for tensor \"model.layers.0.mlp.up_proj.weight\" sum to")),
            Contains(HasSubstr("models[2].parameters.weight: \"b\" has no weight for tensor "
                               "\"model.embed_tokens.weight\" (and so 6 more)"))));
  EXPECT_THAT(
      Check(
          R"(method: METHOD_DELLA base: "base" parameters { weight { value: 1 } density { value: 0.9 } } models { input: "a" } models { input: "b" })"),
      Contains(HasSubstr("parameters.epsilon: density 0.9 with epsilon 0.15 for tensor")));
}

TEST_F(MergeTest, SlerpNeedsItsPlaceForEveryTensor) {
  Input("base", Make(1));
  Input("a", Make(2));
  EXPECT_THAT(Check(R"(method: METHOD_SLERP base: "base" models { input: "a" }
                       parameters { t { filter: "mlp" value: 0.5 } })"),
              ElementsAre(HasSubstr("parameters.t: is not set for tensor \"model.embed_tokens.weight\"; slerp needs it "
                                    "(and so 6 more)")));
}

TEST_F(MergeTest, ModelsThatDoNotFitAreFound) {
  Checkpoint other = Make(2);
  other.Remove("model.layers.3.mlp.up_proj.weight");
  other.tensors.push_back({"model.extra.bias", {3}, {1, 2, 3}});
  other.Find("model.norm.weight")->shape = {4, 4};
  Input("a", Make(1));
  Input("b", other);
  EXPECT_THAT(
      Check(kMean),
      AllOf(Contains(HasSubstr("models[1].input: \"b\" has no \"model.layers.3.mlp.up_proj.weight\", which \"a\" has")),
            Contains(HasSubstr("models[1].input: \"b\" has \"model.extra.bias\", which \"a\" has not"))));
  EXPECT_THAT(Check(StrCat(kMean, " missing: MISSING_SKIP")),
              ElementsAre(HasSubstr("models[1]: tensor \"model.norm.weight\" is [4, 4] in \"b\" and [16] in \"a\"")));
}

TEST_F(MergeTest, AModelThatLacksATensorTakesNoPartInItIfToldSo) {
  Checkpoint a = Make(1), b = Make(2);
  b.Remove("model.layers.3.mlp.up_proj.weight");
  Input("a", a);
  Input("b", b);
  const PluginRun run = Run(StrCat(kMean, " missing: MISSING_SKIP"));
  ASSERT_EQ(run.error(), "");
  EXPECT_FALSE(run.Tensor("model.layers.3.mlp.up_proj.weight")->is_new());
  EXPECT_TRUE(run.Tensor("model.layers.2.mlp.up_proj.weight")->is_new());
}

// --- slices

// Each tensor of the result is the named tensor of a checkpoint, not stored again.
void ExpectSame(const PluginRun& run, const std::string& name, const Checkpoint& of, const std::string& source) {
  const editd::v1::OutputTensor* tensor = run.Tensor(name);
  ASSERT_NE(tensor, nullptr) << name;
  EXPECT_FALSE(tensor->is_new()) << name;
  Checkpoint copy = of;
  ASSERT_NE(copy.Find(source), nullptr) << source;
  std::string bytes;
  for (const float value : copy.Find(source)->values) {
    const uint16_t bits = FloatToBFloat16(value);
    bytes.append(reinterpret_cast<const char*>(&bits), 2);
  }
  EXPECT_EQ(tensor->id(), HashContent(ContentKind::Tensor(DType::kBF16, copy.Find(source)->shape), bytes).Hex())
      << name;
}

std::string Up(int layer) { return StrCat("model.layers.", layer, ".mlp.up_proj.weight"); }

TEST_F(MergeTest, SlicesAreNumberedAnewAndNothingIsStored) {
  Checkpoint a = Make(1), b = Make(2);
  a.config = R"({"model_type": "llama", "num_hidden_layers": 4, "layer_types": ["w", "x", "y", "z"]})";
  Input("a", a);
  Input("b", b);
  const std::string spec = R"(method: METHOD_PASSTHROUGH
      slices { sources { input: "a" begin: 0 end: 3 } } slices { sources { input: "b" begin: 1 end: 4 } })";
  ASSERT_THAT(Check(spec), IsEmpty());
  const PluginRun run = Run(spec);
  ASSERT_EQ(run.error(), "");
  EXPECT_EQ(run.reply.tensors_size(), 15);
  ExpectSame(run, Up(2), a, Up(2));
  ExpectSame(run, Up(3), b, Up(1));
  ExpectSame(run, Up(5), b, Up(3));
  ExpectSame(run, "model.embed_tokens.weight", a, "model.embed_tokens.weight");
  ExpectSame(run, "model.norm.weight", b, "model.norm.weight");
  ExpectSame(run, "lm_head.weight", b, "lm_head.weight");
  const auto config = formats::ParseJson(run.FileContent("config.json"), "config");
  ASSERT_OK(config);
  EXPECT_EQ((*config)["num_hidden_layers"], 6);
  EXPECT_EQ((*config)["layer_types"].dump(), R"(["w","x","y","x","y","z"])");
  const auto record = formats::ParseJson(run.FileContent("editd_merge.json"), "record");
  ASSERT_OK(record);
  EXPECT_EQ((*record)["tensors"][Up(4)].dump(), StrCat(R"({"same":[1,")", Up(2), R"("]})"));
}

TEST_F(MergeTest, ATextModelsLayersAreCountedInItsOwnPartOfTheConfig) {
  Checkpoint a = Make(1);
  a.config = R"({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "num_hidden_layers": 4,
                 "sliding_window_pattern": 2}})";
  Input("a", a);
  const PluginRun run = Run(R"(method: METHOD_PASSTHROUGH
      slices { sources { input: "a" begin: 0 end: 2 } } slices { sources { input: "a" begin: 1 end: 4 } })");
  ASSERT_EQ(run.error(), "");
  const auto config = formats::ParseJson(run.FileContent("config.json"), "config");
  ASSERT_OK(config);
  EXPECT_FALSE(config->contains("num_hidden_layers"));
  EXPECT_EQ((*config)["text_config"]["num_hidden_layers"], 5);
  // By number every second one is global: layers 0 1 | 1 2 3.
  EXPECT_EQ((*config)["text_config"]["layer_types"].dump(),
            R"(["sliding_attention","full_attention","full_attention","sliding_attention","full_attention"])");
}

TEST_F(MergeTest, AnAdapterIsNoModel) {
  Input("a", Make(1));
  PluginRun adapter = Version(Make(2));
  (*adapter.reply.mutable_attributes())["kind"] = "adapter";
  driver_.Model("b", adapter);
  EXPECT_THAT(Check(kMean),
              Contains(HasSubstr("the job's input \"b\" is an adapter, not a model; the plugin adapter")));
}

TEST_F(MergeTest, SlicesOfSeveralModelsHaveGradientsOfTheirOwn) {
  Checkpoint a = Make(1), b = Make(2);
  Input("a", a);
  Input("b", b);
  const PluginRun run = Run(R"(method: METHOD_LINEAR parameters { weight { value: 1 } }
      slices { sources { input: "a" begin: 0 end: 2 parameters { weight { value: [1, 3] } } }
               sources { input: "b" begin: 2 end: 4 } }
      slices { sources { input: "a" begin: 3 end: 4 } })");
  ASSERT_EQ(run.error(), "");
  EXPECT_EQ(run.reply.tensors_size(), 9);
  const auto expect = [&](int layer, int of_a, int of_b, float weight) {
    const std::vector<float> made = Floats(run.TensorBytes(Up(layer)));
    for (size_t i = 0; i < made.size(); ++i) {
      const float x = a.Find(Up(of_a))->values[i], y = b.Find(Up(of_b))->values[i];
      EXPECT_NEAR(made[i], (weight * x + y) / (weight + 1),
                  0.005f * std::abs(made[i]) + 1e-6f);  // bfloat16's rounding.
    }
  };
  expect(0, 0, 2, 1);
  expect(1, 1, 3, 3);
  ExpectSame(run, Up(2), a, Up(3));
}

TEST_F(MergeTest, ASliceMayHaveABaseOfItsOwn) {
  Input("a", Make(1));
  Input("b", Make(2));
  Input("c", Make(3));
  const std::string spec =
      R"(method: METHOD_TASK_ARITHMETIC base: "a" parameters { weight { value: 1 } lambda { value: 0 } }
      slices { sources { input: "c" begin: 0 end: 2 } } slices { sources { input: "c" begin: 2 end: 4 } base: "b" })";
  ASSERT_THAT(Check(spec), IsEmpty());
  const PluginRun run = Run(spec);
  ASSERT_EQ(run.error(), "");
  ExpectSame(run, Up(1), Make(1), Up(1));
  ExpectSame(run, Up(3), Make(2), Up(3));
}

TEST_F(MergeTest, SlicesThatEachHaveABaseNeedNoOther) {
  Input("a", Make(1));
  Input("b", Make(2));
  Input("c", Make(3));
  const std::string spec =
      R"(method: METHOD_TASK_ARITHMETIC parameters { weight { value: 1 } lambda { value: 0 } }
      slices { sources { input: "c" begin: 0 end: 2 } base: "a" } slices { sources { input: "c" begin: 2 end: 4 } )";
  ASSERT_THAT(Check(spec + R"(base: "b" })"), IsEmpty());
  const PluginRun run = Run(spec + R"(base: "b" })");
  ASSERT_EQ(run.error(), "");
  EXPECT_EQ(run.reply.tensors_size(), 11);
  ExpectSame(run, "model.embed_tokens.weight", Make(1), "model.embed_tokens.weight");
  ExpectSame(run, Up(1), Make(1), Up(1));
  ExpectSame(run, Up(3), Make(2), Up(3));
  ExpectSame(run, "lm_head.weight", Make(2), "lm_head.weight");
  EXPECT_THAT(Check(spec + "}"), Contains(HasSubstr("base: is empty; the method task_arithmetic takes differences")));
}

TEST_F(MergeTest, BlockExpansionAddsLayersWhoseOutputIsZero) {
  Checkpoint a = Make(1);
  for (int i = 0; i < 4; ++i) {
    for (const char* part : {"mlp.down_proj", "self_attn.o_proj"}) {
      a.tensors.push_back({StrCat("model.layers.", i, ".", part, ".weight"), {16, 32}, std::vector<float>(512, -1.5f)});
    }
  }
  Input("a", a);
  const PluginRun run = Run(R"(block_expansion { input: "a" blocks: 2 })");
  ASSERT_EQ(run.error(), "");
  for (const int layer : {2, 5}) {
    const editd::v1::OutputTensor* zero = run.Tensor(StrCat("model.layers.", layer, ".mlp.down_proj.weight"));
    ASSERT_NE(zero, nullptr);
    EXPECT_EQ(run.TensorBytes(zero->name()), std::string(1024, '\0'));
    ExpectSame(run, Up(layer), a, Up(layer == 2 ? 1 : 3));
  }
  ExpectSame(run, Up(3), a, Up(2));
  EXPECT_EQ(run.Tensor("model.layers.2.mlp.down_proj.weight")->id(),
            run.Tensor("model.layers.5.mlp.down_proj.weight")->id());
  EXPECT_THAT(Check(R"(block_expansion { input: "a" blocks: 3 })"),
              Contains(HasSubstr("block_expansion.blocks: 3 new blocks can't be spread evenly over 4 layers")));
  EXPECT_THAT(Check(R"(method: METHOD_TIES block_expansion { input: "a" blocks: 2 })"),
              Contains(HasSubstr("method: leave it out")));
}

TEST_F(MergeTest, LayerSwapTakesTheOuterLayersOfOneModel) {
  Checkpoint a = Make(1), b = Make(2);
  Input("math", a);
  Input("vi", b);
  const PluginRun run =
      Run(R"(layer_swap { middle: "math" outer: "vi" bottom: 1 top: 1 bottom_transition: 1 embeddings: "math" })");
  ASSERT_EQ(run.error(), "");
  ExpectSame(run, Up(0), b, Up(0));
  ExpectSame(run, Up(2), a, Up(2));
  ExpectSame(run, Up(3), b, Up(3));
  ExpectSame(run, "model.embed_tokens.weight", a, "model.embed_tokens.weight");
  ExpectSame(run, "model.norm.weight", b, "model.norm.weight");
  const std::vector<float> made = Floats(run.TensorBytes(Up(1)));
  for (size_t i = 0; i < made.size(); ++i) {
    const float mean = (a.Find(Up(1))->values[i] + b.Find(Up(1))->values[i]) / 2;
    EXPECT_EQ(made[i], BFloat16ToFloat(FloatToBFloat16(mean)));
  }
  EXPECT_THAT(Check(R"(layer_swap { middle: "math" outer: "vi" bottom: 3 top: 3 })"),
              Contains(HasSubstr("layer_swap: bottom, top and transitions are 6 of 4 layers")));
}

TEST_F(MergeTest, SlicesThatCanNotBeAreFound) {
  Input("a", Make(1));
  Input("b", Make(2, 2));
  EXPECT_THAT(Check(R"(method: METHOD_LINEAR parameters { weight { value: 1 } }
                       slices { sources { input: "a" begin: 0 end: 2 } sources { input: "b" begin: 1 end: 3 } }
                       slices { sources { input: "a" begin: 0 end: 2 } sources { input: "b" begin: 0 end: 1 } }
                       slices { })"),
              ElementsAre(HasSubstr("slices[0].sources[1]: layers 1 to before 3 are not in \"b\", which has 2"),
                          HasSubstr("slices[1].sources[1]: has 1 layers, and slices[1].sources[0] 2"),
                          HasSubstr("slices[2].sources: is empty")));
  EXPECT_THAT(Check(R"(method: METHOD_TIES base: "b" parameters { weight { value: 1 } }
                       slices { sources { input: "a" begin: 2 end: 4 } })"),
              Contains(HasSubstr("slices[0].sources: the base's layers can't be told; list \"b\"")));
  EXPECT_THAT(Check(R"(method: METHOD_LINEAR models { input: "a" } slices { })"),
              Contains(HasSubstr("exclude each other")));
}

// --- vocabularies

// A byte-level tokenizer of the bytes' 256 tokens and some more.
std::string TokenizerJson(const std::vector<std::string>& more, const std::vector<std::string>& specials) {
  formats::Json vocabulary = formats::Json::object(), merges = formats::Json::array(), added = formats::Json::array();
  int id = 0;
  const auto byte_text = [](int byte) -> std::string {  // GPT-2's alphabet.
    const bool shown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    int code = byte;
    if (!shown) {
      code = 256;
      for (int i = 0; i < byte; ++i) {
        if (!((i >= 33 && i <= 126) || (i >= 161 && i <= 172) || i >= 174)) ++code;
      }
    }
    if (code < 128) return std::string(1, static_cast<char>(code));
    return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
  };
  for (int byte = 0; byte < 256; ++byte) vocabulary[byte_text(byte)] = id++;
  for (const std::string& token : more) {  // Two letters each.
    vocabulary[token] = id++;
    merges.push_back(StrCat(token.substr(0, 1), " ", token.substr(1)));
  }
  for (const std::string& token : specials) {
    added.push_back({{"id", id++},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const formats::Json file = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", vocabulary},
        {"merges", merges}}}};
  return file.dump();
}

// A model of a tokenizer with `rows` rows; row r of model m is all 1000 m + r.
Checkpoint WithTokens(int model, int rows, const std::string& tokenizer, const std::string& eos) {
  Checkpoint made = Make(static_cast<uint32_t>(model));
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
    Checkpoint::Tensor* const tensor = made.Find(name);
    tensor->dtype = DType::kF32;
    tensor->shape = {rows, 16};
    tensor->values.clear();
    for (int row = 0; row < rows; ++row) {
      for (int i = 0; i < 16; ++i) tensor->values.push_back(static_cast<float>(1000 * model + row));
    }
  }
  made.files["tokenizer.json"] = tokenizer;
  made.files["tokenizer_config.json"] = StrCat(R"({"eos_token": ")", eos, R"("})");
  return made;
}

class VocabularyTest : public MergeTest {
 protected:
  VocabularyTest() {
    // "ab" and the end of a text are in both under other ids; "cd" only in a, "xy" only in b.
    Input("a", WithTokens(1, 264, TokenizerJson({"ab", "cd"}, {"<|end|>"}), "<|end|>"));
    Input("b", WithTokens(2, 260, TokenizerJson({"xy", "ab"}, {"</s>"}), "</s>"));
  }
  // The value of each row.
  static std::vector<float> Rows(const PluginRun& run) {
    const std::string bytes = run.TensorBytes("model.embed_tokens.weight");
    std::vector<float> rows;
    for (size_t at = 0; at + 64 <= bytes.size(); at += 64) {
      float first, last;
      std::memcpy(&first, bytes.data() + at, 4);
      std::memcpy(&last, bytes.data() + at + 60, 4);
      EXPECT_EQ(first, last);
      rows.push_back(first);
    }
    return rows;
  }
  static std::string Mean(const std::string& vocabulary) {
    return StrCat(
        R"(method: METHOD_LINEAR parameters { weight { value: 1 } } models { input: "a" } models { input: "b" }
                     vocabulary { )",
        vocabulary, " }");
  }
};

TEST_F(VocabularyTest, ModelsOfOtherTokensAreRefusedUnlessTheRowsAreMatched) {
  Checkpoint c = WithTokens(3, 264, TokenizerJson({"ab", "xy"}, {"<|end|>"}), "<|end|>");
  driver_ = PluginDriver();
  Input("a", WithTokens(1, 264, TokenizerJson({"ab", "cd"}, {"<|end|>"}), "<|end|>"));
  Input("c", c);
  const PluginRun run = Run(R"(method: METHOD_LINEAR parameters { weight { value: 1 } }
                               models { input: "a" } models { input: "c" })");
  EXPECT_THAT(run.error(), HasSubstr(R"(token 257 is "cd" in "a" and "xy" in "c"; set params.vocabulary)"));
}

TEST_F(VocabularyTest, TheBasesTokensTakeTheirRowsFromEachModel) {
  ASSERT_THAT(Check(Mean("of: VOCABULARY_OF_BASE pad_to_multiple: 8")), IsEmpty());
  const PluginRun run = Run(Mean("of: VOCABULARY_OF_BASE pad_to_multiple: 8"));
  ASSERT_EQ(run.error(), "");
  const std::vector<float> rows = Rows(run);
  ASSERT_EQ(rows.size(), 264u);  // 259 tokens.
  EXPECT_EQ(rows[65], (1065 + 2065) / 2.0f);
  EXPECT_EQ(rows[256], (1256 + 2257) / 2.0f);  // "ab"
  EXPECT_EQ(rows[257], 1257);                  // "cd": the only model that has it.
  EXPECT_EQ(rows[258], (1258 + 2258) / 2.0f);  // By its role.
  EXPECT_EQ(rows[259], 0);                     // Padding.
  EXPECT_EQ(run.reply.attributes().at("vocab.rows"), "264");
  EXPECT_EQ(run.reply.attributes().at("vocab.used"), "259");
  const auto config = formats::ParseJson(run.FileContent("config.json"), "config");
  ASSERT_OK(config);
  EXPECT_EQ((*config)["vocab_size"], 264);
}

TEST_F(VocabularyTest, AUnionHasTheOthersTokensToo) {
  const PluginRun run = Run(Mean("of: VOCABULARY_OF_UNION"));
  ASSERT_EQ(run.error(), "");
  const std::vector<float> rows = Rows(run);
  ASSERT_EQ(rows.size(), 260u);
  EXPECT_EQ(rows[259], 2256);  // "xy"
  const auto tokenizer = formats::ParseJson(run.FileContent("tokenizer.json"), "tokenizer");
  ASSERT_OK(tokenizer);
  const formats::Json& added = (*tokenizer)["added_tokens"];
  ASSERT_EQ(added.size(), 2u);
  EXPECT_EQ(added[1]["content"], "xy");
  EXPECT_EQ(added[1]["id"], 259);
  EXPECT_EQ(added[1]["special"], false);
}

TEST_F(VocabularyTest, AnotherInputsTokensAndRulesForSome) {
  const PluginRun run = Run(Mean(R"(of: VOCABULARY_OF_INPUT input: "b"
      token { token: "xy" other { input: "a" token: "cd" } } token { token: "ab" zero: true force: true }
      token { token: "A" input: "a" force: true } token { token: "B" other { input: "b" id: 3 } })"));
  ASSERT_EQ(run.error(), "");
  const std::vector<float> rows = Rows(run);
  ASSERT_EQ(rows.size(), 259u);
  EXPECT_EQ(rows[256], (1257 + 2256) / 2.0f);  // a has no "xy": its row is that of "cd".
  EXPECT_EQ(rows[257], 0);
  EXPECT_EQ(rows[65], 1065);                                     // Both take a's.
  EXPECT_EQ(rows[66], (1066 + 2066) / 2.0f);                     // Both have it.
  for (const editd::v1::OutputFile& file : run.reply.files()) {  // b's, as it is.
    if (file.name() != "tokenizer_config.json") continue;
    EXPECT_EQ(file.size(), std::strlen(R"({"eos_token": "</s>"})"));
  }
}

TEST_F(VocabularyTest, RulesThatCanNotBeAreFound) {
  EXPECT_THAT(
      Check(Mean(R"(input: "a" token { } token { token: "x" input: "c" } token { token: "y" other { input: "a" } })")),
      AllOf(Contains(HasSubstr("vocabulary.of: is not set")),
            Contains(HasSubstr("vocabulary.token[0].token: is empty")),
            Contains(HasSubstr("vocabulary.token[0]: says nothing")),
            Contains(HasSubstr("vocabulary.token[1].input: no input is named \"c\"")),
            Contains(HasSubstr("vocabulary.token[2].other: names no token"))));
  EXPECT_THAT(Run(Mean(R"(of: VOCABULARY_OF_BASE token { token: "xy" zero: true })")).error(),
              HasSubstr("params.vocabulary.token[0].token: the result has no token \"xy\""));
  EXPECT_THAT(Run(Mean(R"(of: VOCABULARY_OF_BASE token { token: "cd" input: "b" })")).error(),
              HasSubstr("params.vocabulary.token[0]: \"b\" has no such token"));
}

TEST_F(VocabularyTest, AModelWithoutATokenizerIsFoundAtSubmit) {
  Checkpoint c = Make(3);
  c.files["vocab.json"] = "{}";
  Input("c", c);
  const std::string three = R"(method: METHOD_LINEAR parameters { weight { value: 1 } } models { input: "a" }
                               models { input: "b" } models { input: "c" } )";
  EXPECT_THAT(Check(three + "vocabulary { of: VOCABULARY_OF_BASE }"),
              ElementsAre(HasSubstr("vocabulary: \"c\" has no tokenizer.json; its vocabulary can't be matched")));
  EXPECT_THAT(
      Check(three),
      ElementsAre(HasSubstr("tensor \"model.embed_tokens.weight\" is [260, 16] in \"b\" and [264, 16] in \"a\"; "
                            "set vocabulary to match rows by token (and so 1 more)"),
                  HasSubstr("is [40, 16] in \"c\"")));
}

TEST_F(VocabularyTest, RowsOfTheModelThatHasThemWhereOthersLackTheTensor) {
  Checkpoint b = WithTokens(2, 260, TokenizerJson({"xy", "ab"}, {"</s>"}), "</s>");
  b.Remove("model.embed_tokens.weight");
  b.Remove("lm_head.weight");
  driver_ = PluginDriver();
  Input("a", WithTokens(1, 264, TokenizerJson({"ab", "cd"}, {"<|end|>"}), "<|end|>"));
  Input("b", b);
  const PluginRun run = Run(R"(method: METHOD_TASK_ARITHMETIC base: "a" models { input: "b" }
                               parameters { weight { value: 0.5 } } missing: MISSING_SKIP
                               vocabulary { of: VOCABULARY_OF_UNION pad_to_multiple: 4 })");
  ASSERT_EQ(run.error(), "");
  const std::vector<float> rows = Rows(run);
  ASSERT_EQ(rows.size(), 260u);
  for (int row = 0; row < 259; ++row) EXPECT_EQ(rows[row], 1000 + row);
  EXPECT_EQ(rows[259], 0);  // "xy", of which nothing has a row.
  EXPECT_TRUE(run.Tensor("lm_head.weight")->is_new());
  EXPECT_TRUE(run.Tensor(Up(1))->is_new());
}

TEST_F(VocabularyTest, ATensorWithoutRowsIsFound) {
  for (const char* name : {"a", "b"}) {
    Checkpoint one = WithTokens(1, 264, TokenizerJson({"ab", "cd"}, {"<|end|>"}), "<|end|>");
    one.Find("lm_head.weight")->shape = {};
    one.Find("lm_head.weight")->values = {1};
    if (name[0] == 'a') driver_ = PluginDriver();
    Input(name, one);
  }
  const std::string spec = Mean("of: VOCABULARY_OF_BASE");
  EXPECT_THAT(Check(spec), ElementsAre(HasSubstr("vocabulary: tensor \"lm_head.weight\" has no rows")));
  EXPECT_THAT(Run(spec).error(), HasSubstr("params.vocabulary: tensor \"lm_head.weight\" has no rows"));
}

TEST_F(VocabularyTest, ChatTemplates) {
  Checkpoint a = Make(1), b = Make(2);
  a.files["chat_template.jinja"] = "{{ a }}";
  b.files["tokenizer_config.json"] = R"({"chat_template": "{{ b }}", "x": 1})";
  driver_ = PluginDriver();
  Input("a", a);
  Input("b", b);
  EXPECT_EQ(Run(StrCat(kMean, R"( chat_template: "{{ mine }}")")).FileContent("chat_template.jinja"), "{{ mine }}");
  EXPECT_EQ(Run(StrCat(kMean, R"( chat_template: "b")")).FileContent("chat_template.jinja"), "{{ b }}");
  const PluginRun as_is = Run(kMean);
  EXPECT_THAT(as_is.reply.files(), Contains(testing::Property(&editd::v1::OutputFile::name, "chat_template.jinja")));
  EXPECT_THAT(Check(StrCat(kMean, R"( chat_template: "chatml")")),
              Contains(HasSubstr("chat_template: no input is named \"chatml\"")));
}

}  // namespace
}  // namespace editd::merge
