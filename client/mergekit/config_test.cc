#include "client/mergekit/config.h"

#include <google/protobuf/text_format.h>

#include "client/spec_file.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Mergekit : public ::testing::Test {
 protected:
  Mergekit() {
    const auto descriptors = ReadWholeFile(EDITD_BINARY_DIR "/client/merge.descriptors");
    EXPECT_OK(descriptors);
    EXPECT_OK(types_.Add("merge", *descriptors));
    options_.output_ref = "out";
  }
  // The text must be a spec that editctl reads and, but for comments and spaces, be what is expected.
  void ExpectSpec(std::string_view yaml, std::string_view wanted) {
    ASSERT_OK_AND_ASSIGN(const MergekitSpec made, SpecOfMergekitYaml(yaml, "m.yml", options_));
    notes_ = made.notes;
    ASSERT_OK_AND_ASSIGN(const v1::JobSpec spec, ParseSpec(made.text, "made", types_));
    ASSERT_OK_AND_ASSIGN(const v1::JobSpec expected, ParseSpec(wanted, "wanted", types_));
    EXPECT_EQ(spec.SerializeAsString(), expected.SerializeAsString()) << made.text;
  }
  std::string Said(std::string_view yaml) {
    const auto made = SpecOfMergekitYaml(yaml, "m.yml", options_);
    EXPECT_THAT(made, StatusIs(absl::StatusCode::kInvalidArgument, testing::_));
    return std::string(made.status().message());
  }
  static std::string Job(std::string_view inputs, std::string_view params) {
    return StrCat("plugin: \"merge\" ", inputs,
                  " output { ref: \"out\" } params { [type.googleapis.com/editd.plugins.merge.v1.MergeSpec] { ", params,
                  " } }");
  }

  PluginTypes types_;
  MergekitOptions options_;
  std::vector<std::string> notes_;
};

TEST_F(Mergekit, SlerpOfSlicesWithGradients) {
  options_.refs = {{"org/chat-7b", "chat"}, {"org/math-7b", "math@v3"}};
  ExpectSpec(R"(
slices:
  - sources:
      - model: org/chat-7b
        layer_range: [0, 32]
      - model: org/math-7b
        layer_range: [0, 32]
merge_method: slerp
base_model: org/chat-7b
parameters:
  t:
    - filter: self_attn
      value: [0, 0.5, 0.3, 0.7, 1]
    - filter: mlp
      value: [1, 0.5, 0.7, 0.3, 0]
    - value: 0.5 # everything else
dtype: bfloat16
)",
             Job(R"(input { model: "chat" name: "org/chat-7b" } input { model: "math@v3" name: "org/math-7b" })",
                 R"(method: METHOD_SLERP base: "org/chat-7b"
                    slices { sources { input: "org/chat-7b" begin: 0 end: 32 }
                             sources { input: "org/math-7b" begin: 0 end: 32 } }
                    parameters { t { filter: "self_attn" value: [0, 0.5, 0.3, 0.7, 1] }
                                 t { filter: "mlp" value: [1, 0.5, 0.7, 0.3, 0] } t { value: 0.5 } }
                    out_dtype: "BF16")"));
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("arithmetic is float32")));
}

TEST_F(Mergekit, TiesWithTheBaseAmongTheModels) {
  options_.seed = 7;
  ExpectSpec(R"(
models:
  - model: base
    # no parameters necessary for base model
  - model: a
    parameters: {density: [1, 0.7, 0.1], weight: 1.0}
  - model: b
    parameters:
      density: .33
      weight:
        - filter: mlp
          value: 5e-1
        - filter: "*"
          value: 0
      epsilon: null
merge_method: ties
base_model: base
parameters:
  normalize: true
  rescale: false
  int8_mask: true
dtype: float32
out_dtype: float16
)",
             StrCat("seed: 7 ", Job(R"(input { model: "base" name: "base" } input { model: "a" name: "a" }
                           input { model: "b" name: "b" })",
                                    R"(method: METHOD_TIES base: "base" models { input: "base" }
                           models { input: "a" parameters { density { value: [1, 0.7, 0.1] } weight { value: 1 } } }
                           models { input: "b" parameters { density { value: 0.33 }
                                    weight { filter: "mlp" value: 0.5 } weight { value: 0 } } }
                           parameters { normalize: true rescale: RESCALE_NONE } out_dtype: "F16")")));
  EXPECT_THAT(notes_, IsEmpty());
}

TEST_F(Mergekit, AFilterMayStandWithoutAList) {
  ExpectSpec(R"(
models:
  - model: a
    parameters:
      weight: {filter: mlp, value: [0.25, 1]}
  - model: b
    parameters:
      weight: {value: 0.5}
merge_method: linear
)",
             Job(R"(input { model: "a" name: "a" } input { model: "b" name: "b" })",
                 R"(method: METHOD_LINEAR
                    models { input: "a" parameters { weight { filter: "mlp" value: [0.25, 1] } } }
                    models { input: "b" parameters { weight { value: 0.5 } } })"));
}

TEST_F(Mergekit, PassthroughWithAliasesAndScale) {
  ExpectSpec(R"(
merge_method: passthrough
slices:
- sources: &low
  - {model: m, layer_range: [0, 24]}
- sources:
  - model: m
    layer_range: [8, 32]
    parameters:
      scale:
      - {filter: o_proj, value: 0.0}
      - {filter: down_proj, value: 0.0}
      - value: 1.0
  parameters: {scale: 2}
  base_model: m
- sources: *low
)",
             Job(R"(input { model: "m" name: "m" })",
                 R"(method: METHOD_PASSTHROUGH slices { sources { input: "m" end: 24 } }
                    slices { sources { input: "m" begin: 8 end: 32
                             parameters { scale { filter: "o_proj" value: 0 } scale { filter: "down_proj" value: 0 }
                                          scale { value: 1 } } } parameters { scale { value: 2 } } base: "m" }
                    slices { sources { input: "m" end: 24 } })"));
}

TEST_F(Mergekit, TokenizersAndTokens) {
  ExpectSpec(R"(
merge_method: linear
models: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 2}}]
tokenizer:
  source: union
  pad_to_multiple_of: 64
  tokens:
    <|im_start|>: {source: b, force: true}
    "<|im_end|>":
      source: {kind: model_token, model: c, token: </s>}
    x: {source: {kind: model_token, model: a, token_id: 5}}
    y: {source: {kind: zero}}
chat_template: "{{ messages }} \"ờ\""
)",
             Job(R"(input { model: "a" name: "a" } input { model: "b" name: "b" } input { model: "c" name: "c" })",
                 R"(method: METHOD_LINEAR
                    models { input: "a" parameters { weight { value: 1 } } }
                    models { input: "b" parameters { weight { value: 2 } } }
                    vocabulary { of: VOCABULARY_OF_UNION pad_to_multiple: 64
                      token { token: "<|im_start|>" input: "b" force: true }
                      token { token: "<|im_end|>" other { input: "c" token: "</s>" } }
                      token { token: "x" other { input: "a" id: 5 } } token { token: "y" zero: true } }
                    chat_template: "{{ messages }} \"ờ\"")"));
  const std::string models = "merge_method: linear\nmodels: [{model: a}]\n";
  const std::string inputs = R"(input { model: "a" name: "a" })";
  const std::string common = "method: METHOD_LINEAR models { input: \"a\" } ";
  for (const char* name : {"auto", "chatml", "llama3"}) {
    const auto spec = SpecOfMergekitYaml(StrCat(models, "chat_template: ", name, "\n"), "m.yml", {});
    ASSERT_OK(spec.status());
    const char* said = name == std::string_view("auto") ? "\"auto\"" : "add_generation_prompt";
    EXPECT_THAT(spec->text, HasSubstr(said)) << name;
  }
  ExpectSpec(models + "random_seed: 7\n", Job(inputs, common) + "seed: 7");
  ExpectSpec(models + "tokenizer_source: base\n", Job(inputs, common + "vocabulary { of: VOCABULARY_OF_BASE }"));
  ExpectSpec(models + "tokenizer_source: model:a\n",
             Job(inputs, common + "vocabulary { of: VOCABULARY_OF_INPUT input: \"a\" }"));
}

TEST_F(Mergekit, EveryMethodIsOneOfThePlugins) {
  for (const char* method :
       {"linear",      "slerp",     "nuslerp",     "multislerp",       "karcher",      "task_arithmetic", "ties",
        "dare_linear", "dare_ties", "breadcrumbs", "breadcrumbs_ties", "della",        "della_linear",    "model_stock",
        "sce",         "ram",       "ramplus_tl",  "nearswap",         "arcee_fusion", "passthrough"}) {
    ASSERT_OK_AND_ASSIGN(
        const MergekitSpec made,
        SpecOfMergekitYaml(StrCat("merge_method: ", method, "\nmodels: [{model: a}]\n"), "m.yml", options_));
    EXPECT_OK(ParseSpec(made.text, method, types_));
  }
}

TEST_F(Mergekit, AllProblemsAreToldWithTheirLines) {
  const std::string said = Said(R"(merge_method: tise
models:
  - model: a
    paramters: {weight: 1}
  - model: b+lora
    parameters:
      weigth: 1
      density: half
      weight: [1, [2]]
      normalize: maybe
      gamma: {filter: mlp}
      epsilon: {fliter: mlp, value: 1}
  - parameters: {weight: 1}
  - model: {path: x}
  - model: a
    model: b
base_model: a
dtype: int64
residual_weight: 0.5
tokenizer_source: union
tokenizer: {source: base}
chat_template: chatlm
)");
  for (const char* line :
       {"m.yml:1: no merge method \"tise\"; did you mean \"ties\"?",
        "m.yml:4: a model's entry has no \"paramters\"; did you mean \"parameters\"?",
        "m.yml:5: \"b+lora\" is a model with an adapter", "m.yml:7: parameters has no \"weigth\"",
        "m.yml:8: density: \"half\" is no number", "m.yml:9: weight is a number",
        "m.yml:10: normalize is true or false", "m.yml:11: gamma: a filter without a \"value\"",
        "m.yml:12: a value has no \"fliter\"; did you mean \"filter\"?", "m.yml:13: an entry without a \"model\"",
        "m.yml:14: a model given as a mapping is not supported", "m.yml:16: \"model\" stands twice",
        "m.yml:18: dtype: \"int64\" is not supported", "m.yml:19: a merge configuration has no \"residual_weight\"",
        "m.yml:20: both \"tokenizer_source\" and \"tokenizer\"",
        "m.yml:22: chat_template: \"chatlm\" by name is not supported; did you mean \"chatml\"?"}) {
    EXPECT_THAT(said, HasSubstr(line));
  }
}

TEST_F(Mergekit, WhatCanNotBeAMergeIsToldWithItsLine) {
  EXPECT_THAT(Said("a: [1\nb: 2\n"), HasSubstr("m.yml:2: is no YAML: "));
  EXPECT_THAT(Said("a: 1\nb: \xff\n"), HasSubstr("m.yml:2: is not UTF-8 at byte 8"));
  EXPECT_THAT(Said(""), HasSubstr("m.yml: holds no YAML"));
  EXPECT_THAT(Said("- 1\n"), HasSubstr("m.yml:1: a merge configuration is a mapping"));
  EXPECT_THAT(Said("merge_method: ties\n"), HasSubstr("m.yml:1: neither \"models\" nor \"slices\""));
  EXPECT_THAT(Said("merge_method: ties\nmodels: []\n"), HasSubstr("m.yml:2: \"models\" is a list of at least one"));
  EXPECT_THAT(Said("merge_method: ties\nmodels: [{model: a}]\n---\nmerge_method: ties\n"),
              HasSubstr("m.yml:3: a second document"));
  EXPECT_THAT(Said("merge_method: ties\nmodules: {x: y}\n"), HasSubstr("m.yml:2: \"modules\""));
  const std::string slices = "merge_method: ties\nslices:\n- sources:\n  - model: a\n";
  EXPECT_THAT(Said(slices), HasSubstr("m.yml:4: an entry without a \"layer_range\""));
  EXPECT_THAT(Said(slices + "    layer_range: [4, 4]\n"), HasSubstr("m.yml:5: layer_range [4, 4] has no layer"));
  EXPECT_THAT(Said(slices + "    layer_range: [4]\n"), HasSubstr("m.yml:5: layer_range is a list of two"));
  for (const char* range : {"[-1, 4]", "[0, 3000000000]"}) {
    EXPECT_THAT(Said(StrCat(slices, "    layer_range: ", range, "\n")),
                HasSubstr("m.yml:5: layer_range is a whole number from 0 to 2147483648"));
  }
  options_.refs = {{"aa", "x"}};
  EXPECT_THAT(Said("merge_method: ties\nmodels: [{model: a}]\n"),
              HasSubstr("--ref aa=x: the file names no such model; did you mean \"a\"?"));
}

}  // namespace
}  // namespace editd::client
