// Test helpers: golden files, and weights made from their names as tests/golden/make_decoder.py makes them.
#ifndef EDITD_PLUGINS_LIB_NN_TESTING_H_
#define EDITD_PLUGINS_LIB_NN_TESTING_H_

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "plugins/lib/nn/config.h"
#include "plugins/lib/nn/weights.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::nn {

struct Golden {
  std::string config_json;
  // Of each sequence: its ids, and at which positions logits are known.
  std::vector<std::vector<int32_t>> ids, positions;
  std::vector<std::vector<float>> logits;
};

inline Golden ReadGolden(const std::string& name) {
  const std::string path = StrCat(EDITD_SOURCE_DIR, "/tests/golden/decoder/", name, ".safetensors");
  const std::string bytes = ReadWholeFile(path).value();
  uint64_t header_size;
  std::memcpy(&header_size, bytes.data(), 8);
  const auto header = nlohmann::json::parse(bytes.substr(8, header_size));
  Golden out;
  out.config_json = header["__metadata__"]["config.json"];
  const auto read = [&](const std::string& tensor, auto* values) {
    const auto& offsets = header[tensor]["data_offsets"];
    const size_t begin = offsets[0], end = offsets[1];
    values->resize((end - begin) / sizeof((*values)[0]));
    std::memcpy(values->data(), bytes.data() + 8 + header_size + begin, end - begin);
  };
  for (int i = 0; header.contains(StrCat("ids.", i)); ++i) {
    read(StrCat("ids.", i), &out.ids.emplace_back());
    read(StrCat("positions.", i), &out.positions.emplace_back());
    read(StrCat("logits.", i), &out.logits.emplace_back());
  }
  return out;
}

// The names of all of them.
inline std::vector<std::string> GoldenNames() {
  std::vector<std::string> out;
  for (const auto& file : std::filesystem::directory_iterator(StrCat(EDITD_SOURCE_DIR, "/tests/golden/decoder"))) {
    out.push_back(file.path().stem());
  }
  std::sort(out.begin(), out.end());
  return out;
}

// Largest |difference| over largest |golden logit|.
inline double Error(const std::vector<float>& logits, const std::vector<float>& golden) {
  EXPECT_EQ(logits.size(), golden.size());
  double worst = 0, largest = 0;
  for (size_t i = 0; i < std::min(logits.size(), golden.size()); ++i) {
    worst = std::max<double>(worst, std::abs(logits[i] - golden[i]));
    largest = std::max<double>(largest, std::abs(golden[i]));
  }
  return worst / largest;
}

// The value of element `index`; exactly representable in bfloat16. `offset`: of a model whose norms multiply by 1 +
// weight.
inline float ValueFromName(const std::string& name, uint64_t index, bool offset = false) {
  uint64_t seed = 14695981039346656037u;
  for (unsigned char c : name) seed = (seed ^ c) * 1099511628211u;
  uint64_t x = index * 0x9E3779B97F4A7C15u + seed;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  x ^= x >> 31;
  const float unit = (static_cast<float>(x & 0xff) - 128) / 128;
  if (name.ends_with("norm.weight")) return (offset ? 0.0f : 1.0f) + (static_cast<float>(x & 0x7f) - 64) / 128;
  if (name.find("embed") != std::string::npos) return offset ? unit / 8 : unit;
  return unit / 4;
}

// All tensors of a model, made from their names.
class WeightsFromNames {
 public:
  explicit WeightsFromNames(const DecoderConfig& c, DType dtype = DType::kF32) : dtype_(dtype), offset_(c.norm_offset) {
    const std::string model = c.language_part ? "model.language_model." : "model.";
    Add(model + "embed_tokens.weight", {c.vocab_size, c.hidden_size});
    Add(model + "norm.weight", {c.hidden_size});
    if (!c.tied) Add("lm_head.weight", {c.vocab_size, c.hidden_size});
    const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    for (int64_t i = 0; i < c.layers; ++i) {
      const std::string p = StrCat(model, "layers.", i, ".");
      const auto linear = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
        Add(p + name + ".weight", {out, in});
        if (bias) Add(p + name + ".bias", {out});
      };
      linear("self_attn.q_proj", q, c.hidden_size, c.qkv_bias);
      linear("self_attn.k_proj", kv, c.hidden_size, c.qkv_bias);
      linear("self_attn.v_proj", kv, c.hidden_size, c.qkv_bias);
      linear("self_attn.o_proj", c.hidden_size, q, c.output_bias);
      linear("mlp.gate_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
      linear("mlp.up_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
      linear("mlp.down_proj", c.hidden_size, c.intermediate_size, c.mlp_bias);
      Add(p + "input_layernorm.weight", {c.hidden_size});
      Add(p + "post_attention_layernorm.weight", {c.hidden_size});
      if (c.output_norms) Add(p + "pre_feedforward_layernorm.weight", {c.hidden_size});
      if (c.output_norms) Add(p + "post_feedforward_layernorm.weight", {c.hidden_size});
      if (c.qk_norm) Add(p + "self_attn.q_norm.weight", {c.head_dim});
      if (c.qk_norm) Add(p + "self_attn.k_norm.weight", {c.head_dim});
    }
  }

  void Add(const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (int64_t size : shape) count *= size;
    std::string& bytes = bytes_[name];
    bytes.resize(count * DTypeBytes(dtype_));
    for (int64_t i = 0; i < count; ++i) Set(name, i, ValueFromName(name, i, offset_));
    shapes_[name] = std::move(shape);
  }
  void Set(const std::string& name, int64_t i, float value) {
    char* const at = bytes_[name].data();
    if (dtype_ == DType::kF32) reinterpret_cast<float*>(at)[i] = value;
    if (dtype_ == DType::kBF16) reinterpret_cast<uint16_t*>(at)[i] = FloatToBFloat16(value);
    if (dtype_ == DType::kF16) reinterpret_cast<uint16_t*>(at)[i] = FloatToHalf(value);
  }
  void Remove(const std::string& name) { shapes_.erase(name); }

  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& [name, shape] : shapes_) out.push_back(name);
    return out;
  }
  const std::vector<int64_t>& shape(const std::string& name) const { return shapes_.at(name); }
  const std::string& bytes(const std::string& name) const { return bytes_.at(name); }

  WeightSource source() const {
    return {.find = [this](std::string_view name) -> std::optional<TensorView> {
      const auto found = shapes_.find(std::string(name));
      if (found == shapes_.end()) return std::nullopt;
      return TensorView{dtype_, found->second, bytes_.at(found->first).data()};
    }};
  }

 private:
  DType dtype_;
  bool offset_;
  std::map<std::string, std::vector<int64_t>> shapes_;
  std::map<std::string, std::string> bytes_;
};

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_TESTING_H_
