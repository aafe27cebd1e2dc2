#include "plugins/lib/formats/checkpoint.h"

#include <simdjson.h>

#include <algorithm>
#include <map>
#include <set>

#include "plugins/lib/formats/safetensors.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::formats {
namespace {

constexpr std::string_view kConfig = "config.json";
constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";

// What a version keeps beside its tensors.
constexpr std::string_view kKept[] = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer.model",
};

bool EndsWith(std::string_view text, std::string_view end) { return text.ends_with(end); }

class Reader {
 public:
  Reader(const std::vector<NamedBytes>& folder, std::string_view name) : folder_(folder), name_(name) {}

  absl::StatusOr<Checkpoint> Read();

 private:
  template <typename... Pieces>
  absl::Status Error(const Pieces&... pieces) const {
    return absl::InvalidArgumentError(StrCat(name_, ": ", pieces...));
  }
  std::string Where(std::string_view file) const { return StrCat(name_, "/", file); }
  absl::Status ReadFiles();
  absl::Status ReadWeights();
  absl::Status ReadShard(const NamedBytes& file);
  absl::Status ReadShards(std::string_view index);
  absl::Status NoWeights() const;
  void Conclude();

  const std::vector<NamedBytes>& folder_;
  const std::string_view name_;
  std::map<std::string_view, NamedBytes> by_name_;
  Checkpoint out_;
};

absl::Status Reader::ReadFiles() {
  for (const NamedBytes& file : folder_) by_name_.emplace(file.name, file);
  const auto config = by_name_.find(kConfig);
  if (config == by_name_.end()) {
    if (by_name_.count("adapter_config.json") != 0) {
      return Error("is an adapter (adapter_config.json), not a model");
    }
    return Error("has no config.json; is it a Hugging Face model folder?");
  }
  ASSIGN_OR_RETURN(out_.config, ParseJson(config->second.bytes, Where(kConfig)));
  if (!out_.config.is_object()) return Error("config.json is no JSON object");
  for (const std::string_view name : kKept) {
    const auto it = by_name_.find(name);
    if (it == by_name_.end()) continue;
    // tokenizer.json and vocab.json are large; whoever uses them reads them.
    if (EndsWith(name, "config.json") || name == "special_tokens_map.json" || name == "added_tokens.json") {
      RETURN_IF_ERROR(ParseJson(it->second.bytes, Where(name)).status());
    }
    out_.files.push_back(it->second);
  }
  return absl::OkStatus();
}

absl::Status Reader::NoWeights() const {
  for (const auto& [name, file] : by_name_) {
    if (EndsWith(name, ".bin") || EndsWith(name, ".pt") || EndsWith(name, ".pth") ||
        EndsWith(name, ".bin.index.json")) {
      return Error("has its weights in ", name, ", a pickle file, which is not read; convert it to safetensors");
    }
    if (EndsWith(name, ".gguf")) return Error("has no safetensors, but ", name, "; import that file itself");
    if (EndsWith(name, ".safetensors")) return Error("has ", name, ", but neither ", kSingle, " nor ", kIndex);
  }
  return Error("has no weights: neither ", kSingle, " nor ", kIndex, " is there");
}

absl::Status Reader::ReadShard(const NamedBytes& file) {
  ASSIGN_OR_RETURN(SafetensorsHeader header, ReadSafetensors(file.bytes, Where(file.name)));
  for (SafetensorsEntry& entry : header.tensors) {
    if (FindInvalidUtf8(entry.name) != std::string_view::npos || entry.name.empty()) {
      return Error(file.name, " has a tensor with an unusable name");
    }
    out_.tensors.push_back(
        {std::move(entry.name), entry.dtype, std::move(entry.shape), file.bytes.substr(entry.offset, entry.size)});
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadShards(std::string_view index) {
  ASSIGN_OR_RETURN(const Json root, ParseJson(index, Where(kIndex)));
  const auto map = root.is_object() ? root.find("weight_map") : root.end();
  if (!root.is_object() || map == root.end() || !map->is_object()) return Error(kIndex, " has no weight_map");
  std::map<std::string, std::string> shard_of;
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string()) return Error(kIndex, ": the shard of tensor \"", tensor, "\" is no string");
    if (!shard_of.emplace(tensor, shard.get<std::string>()).second) {
      return Error(kIndex, " has tensor \"", tensor, "\" twice");
    }
    shards.insert(shard.get<std::string>());
  }
  for (const std::string& shard : shards) {
    const auto it = by_name_.find(shard);
    if (it == by_name_.end()) {
      return Error(kIndex, " names \"", shard, "\", which is not in the folder; the download is incomplete");
    }
    const size_t first = out_.tensors.size();
    RETURN_IF_ERROR(ReadShard(it->second));
    for (size_t i = first; i < out_.tensors.size(); ++i) {
      const auto entry = shard_of.find(out_.tensors[i].name);
      if (entry == shard_of.end() || entry->second != shard) {
        return Error(shard, " has the tensor \"", out_.tensors[i].name, "\", which ", kIndex,
                     entry == shard_of.end() ? " does not name" : " says is elsewhere");
      }
      shard_of.erase(entry);
    }
  }
  if (!shard_of.empty()) {
    return Error(shard_of.begin()->second, " lacks the tensor \"", shard_of.begin()->first, "\" that ", kIndex,
                 " says it has");
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadWeights() {
  const auto single = by_name_.find(kSingle), index = by_name_.find(kIndex);
  if (single != by_name_.end()) {
    RETURN_IF_ERROR(ReadShard(single->second));
  } else if (index != by_name_.end()) {
    RETURN_IF_ERROR(ReadShards(index->second.bytes));
  } else {
    return NoWeights();
  }
  if (out_.tensors.empty()) return Error("has no tensors");
  return absl::OkStatus();
}

void Reader::Conclude() {
  const auto architectures = out_.config.find("architectures");
  if (architectures != out_.config.end() && architectures->is_array() && !architectures->empty() &&
      (*architectures)[0].is_string()) {
    out_.architecture = (*architectures)[0].get<std::string>();
  } else {
    out_.remarks.push_back("config.json names no architecture");
  }
  if (out_.config.contains("quantization_config")) {
    out_.remarks.push_back("config.json has a quantization_config: the quantised tensors are kept as they are");
  }
  const auto has = [&](std::string_view name) {
    return std::any_of(out_.tensors.begin(), out_.tensors.end(),
                       [&](const CheckpointTensor& tensor) { return tensor.name == name; });
  };
  const auto tie = out_.config.find("tie_word_embeddings");
  const bool says_tied = tie != out_.config.end() && tie->is_boolean() && tie->get<bool>();
  out_.tied = has(kEmbedding) && (says_tied || !has(kHead));
  std::set<std::string_view> kept;
  for (const NamedBytes& file : out_.files) kept.insert(file.name);
  if (kept.count("tokenizer.json") == 0) {
    out_.remarks.push_back(kept.count("tokenizer.model") != 0 || kept.count("vocab.json") != 0
                               ? "there is no tokenizer.json; other tokenizer files are kept, but not understood"
                               : "there is no tokenizer");
  }
}

absl::StatusOr<Checkpoint> Reader::Read() {
  RETURN_IF_ERROR(ReadFiles());
  RETURN_IF_ERROR(ReadWeights());
  Conclude();
  return std::move(out_);
}

}  // namespace

absl::StatusOr<Checkpoint> ReadCheckpoint(const std::vector<NamedBytes>& folder, std::string_view name) {
  return Reader(folder, name).Read();
}

absl::StatusOr<int64_t> CountTokenIds(std::string_view tokenizer_json, std::string_view name) {
  const auto bad = [&](std::string_view what) { return absl::InvalidArgumentError(StrCat(name, ": ", what)); };
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (parser.parse(tokenizer_json.data(), tokenizer_json.size()).get(root) != simdjson::SUCCESS) {
    return bad("no valid JSON");
  }
  std::set<int64_t> ids;
  simdjson::dom::element vocabulary;
  if (root["model"]["vocab"].get(vocabulary) != simdjson::SUCCESS) return bad("it has no model.vocab");
  simdjson::dom::object by_token;
  simdjson::dom::array by_id;
  if (vocabulary.get(by_token) == simdjson::SUCCESS) {
    for (const auto field : by_token) {
      int64_t id;
      if (field.value.get(id) != simdjson::SUCCESS) return bad("model.vocab has an id that is no number");
      ids.insert(ids.end(), id);
    }
  } else if (vocabulary.get(by_id) == simdjson::SUCCESS) {
    for (int64_t id = 0; id < static_cast<int64_t>(by_id.size()); ++id) ids.insert(ids.end(), id);
  } else {
    return bad("model.vocab is neither object nor array");
  }
  simdjson::dom::array added;
  if (root["added_tokens"].get(added) == simdjson::SUCCESS) {
    for (const simdjson::dom::element token : added) {
      int64_t id;
      if (token["id"].get(id) != simdjson::SUCCESS) return bad("an added token has no id");
      ids.insert(id);
    }
  }
  return static_cast<int64_t>(ids.size());
}

void SetConfigDType(DType dtype, Json* config) {
  const std::string name = dtype == DType::kF32 ? "float32" : dtype == DType::kF16 ? "float16" : "bfloat16";
  const bool old = config->contains("torch_dtype");
  if (old) (*config)["torch_dtype"] = name;
  if (!old || config->contains("dtype")) (*config)["dtype"] = name;
}

}  // namespace editd::formats
