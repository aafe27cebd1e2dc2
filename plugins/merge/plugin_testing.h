// The built plugin in a real worker, for tests: small checkpoints as a job's inputs, and what it makes of them.
#ifndef EDITD_PLUGINS_MERGE_PLUGIN_TESTING_H_
#define EDITD_PLUGINS_MERGE_PLUGIN_TESTING_H_

#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "editd/plugins/merge/v1/merge.pb.h"
#include "google/protobuf/text_format.h"
#include "storage/base/strings.h"
#include "tests/plugin_driver.h"

namespace editd::merge {

namespace v1 = editd::plugins::merge::v1;

inline v1::MergeSpec Spec(const std::string& text) {
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

inline Checkpoint Make(uint32_t seed, int layers = 4) {
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

inline constexpr char kMean[] = R"(method: METHOD_LINEAR models { input: "a" parameters { weight { value: 1 } } }
                            models { input: "b" parameters { weight { value: 3 } } })";

// Each tensor of the result is the named tensor of a checkpoint, not stored again.
inline void ExpectSame(const PluginRun& run, const std::string& name, const Checkpoint& of, const std::string& source) {
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

inline std::string Up(int layer) { return StrCat("model.layers.", layer, ".mlp.up_proj.weight"); }

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_PLUGIN_TESTING_H_
