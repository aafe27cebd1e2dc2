// Test helpers: a small model with a byte-level tokenizer, and a version of it with a smaller vocabulary.
#ifndef EDITD_PLUGINS_EVALUATE_TESTING_H_
#define EDITD_PLUGINS_EVALUATE_TESTING_H_

#include <algorithm>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "plugins/lib/nn/testing.h"
#include "plugins/lib/text/unicode.h"

namespace editd::evaluate {

// The letter that byte-level BPE writes for a byte.
inline std::string Letter(int byte) {
  std::string out;
  int next = 256;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    const int code = printable ? b : next++;
    if (b == byte) text::AppendUtf8(code, &out);
  }
  return out;
}

struct Vocabulary {
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<std::string> order;  // Texts by id; "<end>" is the end of text.
};

inline Vocabulary Full() {
  Vocabulary out;
  for (int b = 0; b < 256; ++b) out.order.push_back(Letter(b));
  out.merges = {{"t", "h"}, {"th", "e"}, {"a", "n"}, {"an", "d"}, {Letter(' '), "the"}, {"i", "n"}};
  for (const auto& [a, b] : out.merges) out.order.push_back(a + b);
  out.order.push_back("<end>");
  return out;
}

// Without "an" and "and"; the rest in another order.
inline Vocabulary Trimmed() {
  Vocabulary out = Full();
  std::erase_if(out.order, [](const std::string& t) { return t == "an" || t == "and"; });
  std::erase_if(out.merges, [](const auto& m) { return m.first + m.second == "an" || m.first == "an"; });
  std::reverse(out.order.begin(), out.order.end());
  return out;
}

inline std::string TokenizerJson(const Vocabulary& vocabulary) {
  nlohmann::json vocab = nlohmann::json::object(), merges = nlohmann::json::array(), added = nlohmann::json::array();
  for (size_t id = 0; id < vocabulary.order.size(); ++id) {
    vocab[vocabulary.order[id]] = id;
    if (vocabulary.order[id] != "<end>") continue;
    added.push_back({{"id", id},
                     {"content", "<end>"},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  for (const auto& [a, b] : vocabulary.merges) merges.push_back({a, b});
  const nlohmann::json bytes = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  return nlohmann::json{{"version", "1.0"},
                        {"truncation", nullptr},
                        {"padding", nullptr},
                        {"added_tokens", added},
                        {"normalizer", nullptr},
                        {"pre_tokenizer", bytes},
                        {"post_processor", nullptr},
                        {"decoder", bytes},
                        {"model",
                         {{"type", "BPE"},
                          {"dropout", nullptr},
                          {"unk_token", nullptr},
                          {"continuing_subword_prefix", nullptr},
                          {"end_of_word_suffix", nullptr},
                          {"fuse_unk", false},
                          {"byte_fallback", false},
                          {"ignore_merges", false},
                          {"vocab", vocab},
                          {"merges", merges}}}}
      .dump();
}

// A model over `vocabulary` whose rows are those of the full one, and `padding` rows of rubbish.
struct TinyModel {
  TinyModel(const Vocabulary& vocabulary, int padding, const Vocabulary& full = Full()) {
    const int64_t rows = vocabulary.order.size() + padding;
    int64_t end = 0;
    for (size_t id = 0; id < vocabulary.order.size(); ++id) {
      const int32_t parent = std::find(full.order.begin(), full.order.end(), vocabulary.order[id]) - full.order.begin();
      id_map.append(reinterpret_cast<const char*>(&parent), 4);
      if (vocabulary.order[id] == "<end>") end = id;
    }
    for (int i = 0; i < padding; ++i) id_map.append("\xff\xff\xff\xff");
    config = nlohmann::json{
        {"architectures", {"LlamaForCausalLM"}},
        {"model_type", "llama"},
        {"vocab_size", rows},
        {"hidden_size", 48},
        {"intermediate_size", 80},
        {"num_hidden_layers", 2},
        {"num_attention_heads", 4},
        {"num_key_value_heads", 2},
        {"tie_word_embeddings", true},
        {"eos_token_id",
         end}}.dump();
    tokenizer = TokenizerJson(vocabulary);
    rows_used = std::to_string(rows - padding);
    weights = std::make_unique<nn::WeightsFromNames>(nn::ParseDecoderConfig(config).value());
    for (size_t id = 0; id < vocabulary.order.size(); ++id) {
      int32_t parent;
      std::memcpy(&parent, &id_map[id * 4], 4);
      for (int64_t h = 0; h < 48; ++h) {
        weights->Set("model.embed_tokens.weight", id * 48 + h,
                     nn::ValueFromName("model.embed_tokens.weight", parent * 48 + h));
      }
    }
  }

  std::string config, tokenizer, id_map, rows_used;
  std::unique_ptr<nn::WeightsFromNames> weights;
};

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_TESTING_H_
