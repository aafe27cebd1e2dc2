#include "client/mergekit/config.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "absl/strings/match.h"
#include "client/mergekit/parameters.h"
#include "client/mergekit/reader.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::client {
namespace {

using Names = std::vector<std::string>;

const Names& Methods() {
  static const Names kMethods = {
      "linear",      "slerp",     "nuslerp",     "multislerp", "karcher",          "ties",         "task_arithmetic",
      "dare_linear", "dare_ties", "breadcrumbs", "della",      "breadcrumbs_ties", "della_linear", "model_stock",
      "sce",         "ram",       "ramplus_tl",  "nearswap",   "arcee_fusion",     "passthrough"};
  return kMethods;
}

// Formats of conversations that have a name.
const std::map<std::string, std::string>& Templates() {
  static const std::map<std::string, std::string> kTemplates = {
      {"chatml",
       "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' "
       "}}"
       "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"},
      {"llama3",
       "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + "
       "'<|end_header_id|>\n\n' + "
       "message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
       "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"}};
  return kTemplates;
}

std::string Upper(std::string_view word) {
  std::string upper(word);
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return upper;
}

class Translator {
 public:
  Translator(std::string_view file, const MergekitOptions& options) : options_(options), problems_(file) {}

  absl::StatusOr<MergekitSpec> Translate(const YAML::Node& root) {
    static const Names kKeys = {"merge_method",     "base_model", "models",        "slices",
                                "parameters",       "dtype",      "out_dtype",     "modules",
                                "tokenizer_source", "tokenizer",  "chat_template", "random_seed"};
    for (const auto& [key, node] : ReadMapping(root, "a merge configuration", kKeys, &problems_)) {
      if (!node.IsNull()) top_.emplace(key, node);
    }
    params_.Open("[type.googleapis.com/editd.plugins.merge.v1.MergeSpec]");
    Method(root);
    if (const YAML::Node* base = Find("base_model")) Model(*base, "base");
    Structure(root);
    if (const YAML::Node* parameters = Find("parameters")) WriteParameters(*parameters, &params_, &problems_);
    Types();
    Vocabulary();
    ChatTemplate();
    if (const YAML::Node* seed = Find("random_seed"); seed != nullptr && seed_ == 0) {
      seed_ = ReadCount(*seed, "random_seed", &problems_).value_or(0);
    }
    params_.Close();
    for (const auto& [name, ref] : options_.refs) {
      if (!models_.contains(name)) {
        problems_.Add(root, StrCat("--ref ", name, "=", ref, ": the file names no such model",
                                   DidYouMean(name, Names(models_.begin(), models_.end()))));
      }
    }
    RETURN_IF_ERROR(problems_.status());
    return MergekitSpec{Whole(), std::move(notes_)};
  }

 private:
  const YAML::Node* Find(const std::string& key) const {
    const auto found = top_.find(key);
    return found == top_.end() ? nullptr : &found->second;
  }

  // The job spec around the plugin's message; the inputs in the order in which the file names them.
  std::string Whole() {
    TextWriter job;
    job.String("plugin", "merge");
    for (const std::string& name : inputs_) {
      const auto ref = options_.refs.find(name);
      job.Open("input");
      job.String("model", ref == options_.refs.end() ? name : ref->second);
      job.String("name", name);
      job.Close();
    }
    job.Open("output");
    job.String("ref", options_.output_ref);
    job.Close();
    if (seed_ != 0) job.Word("seed", StrCat(seed_));
    job.Open("params");
    std::string text = StrCat("# proto-file: editd/v1/job.proto\n# proto-message: editd.v1.JobSpec\n", job.Take());
    std::string params = params_.Take();
    for (size_t at = 0; at < params.size();) {
      const size_t end = params.find('\n', at) + 1;
      StrAppend(&text, "  ", std::string_view(params).substr(at, end - at));
      at = end;
    }
    return text + "}\n";
  }

  void Method(const YAML::Node& root) {
    const YAML::Node* node = Find("merge_method");
    if (node == nullptr) return problems_.Add(root, "no \"merge_method\"");
    const auto method = ReadString(*node, "merge_method", &problems_);
    if (!method) return;
    if (std::find(Methods().begin(), Methods().end(), *method) == Methods().end()) {
      return problems_.Add(*node, StrCat("no merge method \"", *method, "\"", DidYouMean(*method, Methods())));
    }
    params_.Word("method", StrCat("METHOD_", Upper(*method)));
  }

  // Writes `field: NAME` and makes the model an input.
  void Model(const YAML::Node& node, std::string_view field) {
    if (node.IsMap()) {
      return problems_.Add(node,
                           "a model given as a mapping is not supported; give its name as a string, and its ref "
                           "with --ref NAME=REF");
    }
    const auto name = ReadString(node, "a model", &problems_);
    if (!name) return;
    if (absl::StrContains(*name, "+") && !options_.refs.contains(*name)) {
      problems_.Add(node, StrCat("\"", *name,
                                 "\" is a model with an adapter; merge these first, and give the result "
                                 "with --ref \"",
                                 *name, "\"=REF"));
    }
    if (models_.insert(*name).second) inputs_.push_back(*name);
    params_.String(field, *name);
  }

  void Structure(const YAML::Node& root) {
    if (const YAML::Node* modules = Find("modules")) {
      problems_.Add(*modules,
                    "\"modules\" (models of several networks) is not supported; give \"models\" or \"slices\"");
    }
    const YAML::Node* const models = Find("models");
    const YAML::Node* const slices = Find("slices");
    if (models != nullptr && slices != nullptr) return problems_.Add(*slices, "both \"models\" and \"slices\"");
    if (models != nullptr) return Sequence(*models, "models", [this](const YAML::Node& node) { Source(node); });
    if (slices != nullptr) return Sequence(*slices, "slices", [this](const YAML::Node& node) { Slice(node); });
    if (Find("modules") == nullptr) problems_.Add(root, "neither \"models\" nor \"slices\"");
  }

  template <typename Item>
  void Sequence(const YAML::Node& node, std::string_view what, const Item& item) {
    if (!node.IsSequence() || node.size() == 0) {
      return problems_.Add(node, StrCat("\"", what, "\" is a list of at least one"));
    }
    for (const YAML::Node& child : node) item(child);
  }

  void Source(const YAML::Node& node) {
    static const Names kKeys = {"model", "parameters"};
    params_.Open("models");
    ModelAndParameters(node, kKeys);
    params_.Close();
  }

  void ModelAndParameters(const YAML::Node& node, const Names& keys) {
    bool named = false;
    for (const auto& [key, child] : ReadMapping(node, "a model's entry", keys, &problems_)) {
      if (key == "model") {
        named = true;
        Model(child, "input");
      } else if (key == "parameters") {
        WriteParameters(child, &params_, &problems_);
      } else {
        LayerRange(child);
      }
    }
    if (!named && node.IsMap()) problems_.Add(node, "an entry without a \"model\"");
  }

  void LayerRange(const YAML::Node& node) {
    if (!node.IsSequence() || node.size() != 2) {
      return problems_.Add(node, "layer_range is a list of two numbers: the first layer, and the one after the last");
    }
    const auto begin = ReadCount(node[0], "layer_range", &problems_);
    const auto end = ReadCount(node[1], "layer_range", &problems_);
    if (!begin || !end) return;
    if (*begin >= *end) return problems_.Add(node, StrCat("layer_range [", *begin, ", ", *end, "] has no layer"));
    params_.Word("begin", StrCat(*begin));
    params_.Word("end", StrCat(*end));
  }

  void Slice(const YAML::Node& node) {
    static const Names kKeys = {"sources", "parameters", "base_model"};
    static const Names kSourceKeys = {"model", "layer_range", "parameters"};
    params_.Open("slices");
    bool sources = false;
    for (const auto& [key, child] : ReadMapping(node, "a slice", kKeys, &problems_)) {
      if (key == "parameters") {
        WriteParameters(child, &params_, &problems_);
        continue;
      }
      if (key == "base_model") {
        if (!child.IsNull()) Model(child, "base");
        continue;
      }
      sources = true;
      Sequence(child, "sources", [this](const YAML::Node& source) {
        params_.Open("sources");
        ModelAndParameters(source, kSourceKeys);
        if (source.IsMap() && !source["layer_range"]) problems_.Add(source, "an entry without a \"layer_range\"");
        params_.Close();
      });
    }
    if (!sources && node.IsMap()) problems_.Add(node, "a slice without \"sources\"");
    params_.Close();
  }

  // BF16, F16 or F32; empty if the file has no such key.
  std::string Type(const std::string& key) {
    const YAML::Node* const node = Find(key);
    const auto word = node == nullptr ? std::nullopt : ReadString(*node, key, &problems_);
    if (!word) return "";
    const std::string name = absl::StartsWith(*word, "torch.") ? word->substr(6) : *word;
    if (name == "bfloat16") return "BF16";
    if (name == "float16") return "F16";
    if (name == "float32") return "F32";
    problems_.Add(*node, StrCat(key, ": \"", *word, "\" is not supported; bfloat16, float16 and float32 are"));
    return "";
  }

  void Types() {
    const std::string arithmetic = Type("dtype");
    const std::string out = Type("out_dtype");
    if (!arithmetic.empty() && arithmetic != "F32") {
      notes_.push_back(StrCat("dtype ", Find("dtype")->Scalar(),
                              ": mergekit computes in this type; here arithmetic is float32, rounded once at the end"));
    }
    if (!out.empty() || !arithmetic.empty()) params_.String("out_dtype", out.empty() ? arithmetic : out);
  }

  void Vocabulary() {
    const YAML::Node* const source = Find("tokenizer_source");
    const YAML::Node* const tokenizer = Find("tokenizer");
    if (source != nullptr && tokenizer != nullptr) {
      return problems_.Add(*source, "both \"tokenizer_source\" and \"tokenizer\"");
    }
    if (source != nullptr) {
      params_.Open("vocabulary");
      TokenizerSource(*source);
      params_.Close();
    }
    if (tokenizer == nullptr) return;
    static const Names kKeys = {"source", "tokens", "pad_to_multiple_of"};
    params_.Open("vocabulary");
    bool sourced = false;
    for (const auto& [key, node] : ReadMapping(*tokenizer, "tokenizer", kKeys, &problems_)) {
      if (node.IsNull()) continue;
      if (key == "source") {
        sourced = true;
        TokenizerSource(node);
      } else if (key == "tokens") {
        for (const auto& [token, rule] : ReadMapping(node, "tokens", {}, &problems_)) TokenRule(token, rule);
      } else if (const auto multiple = ReadCount(node, key, &problems_)) {
        params_.Word("pad_to_multiple", StrCat(*multiple));
      }
    }
    if (!sourced) params_.Word("of", "VOCABULARY_OF_UNION");  // As mergekit has it.
    params_.Close();
  }

  void TokenizerSource(const YAML::Node& node) {
    if (node.IsScalar() && node.Scalar() == "union") return params_.Word("of", "VOCABULARY_OF_UNION");
    if (node.IsScalar() && node.Scalar() == "base") return params_.Word("of", "VOCABULARY_OF_BASE");
    params_.Word("of", "VOCABULARY_OF_INPUT");
    if (!node.IsScalar() || !absl::StartsWith(node.Scalar(), "model:")) return Model(node, "input");
    Model(YAML::Node(node.Scalar().substr(6)), "input");
  }

  void TokenRule(const std::string& token, const YAML::Node& node) {
    static const Names kKeys = {"source", "force"};
    static const Names kSourceKeys = {"kind", "model", "token", "token_id"};
    params_.Open("token");
    params_.String("token", token);
    for (const auto& [key, child] : ReadMapping(node, "a token's rule", kKeys, &problems_)) {
      if (key == "force") {
        if (const auto force = ReadBool(child, "force", &problems_); force && *force) params_.Word("force", "true");
      } else if (!child.IsMap()) {
        Model(child, "input");
      } else {
        const YAML::Node kind = child["kind"];
        const bool zero = kind && kind.IsScalar() && kind.Scalar() == "zero";
        if (!zero && !(kind && kind.IsScalar() && kind.Scalar() == "model_token")) {
          problems_.Add(child, "a token's source is a model, or has the kind \"model_token\" or \"zero\"");
          continue;
        }
        if (zero) params_.Word("zero", "true");
        if (!zero) params_.Open("other");
        for (const auto& [name, value] : ReadMapping(child, "a token's source", kSourceKeys, &problems_)) {
          if (name == "kind") continue;
          if (zero) {
            problems_.Add(value, StrCat("a source of the kind \"zero\" has no \"", name, "\""));
          } else if (name == "model") {
            Model(value, "input");
          } else if (name == "token") {
            if (const auto text = ReadString(value, "token", &problems_)) params_.String("token", *text);
          } else if (const auto id = ReadCount(value, "token_id", &problems_)) {
            params_.Word("id", StrCat(*id));
          }
        }
        if (zero) continue;
        params_.Close();
        if (!child["model"]) problems_.Add(child, "a source of the kind \"model_token\" names its \"model\"");
        if (!child["token"] == !child["token_id"]) problems_.Add(child, "give one of \"token\" and \"token_id\"");
      }
    }
    params_.Close();
  }

  void ChatTemplate() {
    const YAML::Node* const node = Find("chat_template");
    const auto text = node == nullptr ? std::nullopt : ReadString(*node, "chat_template", &problems_);
    if (!text) return;
    if (*text == "auto" || absl::StrContains(*text, "{")) return params_.String("chat_template", *text);
    const auto named = Templates().find(*text);
    if (named != Templates().end()) return params_.String("chat_template", named->second);
    problems_.Add(*node, StrCat("chat_template: \"", *text, "\" by name is not supported",
                                DidYouMean(*text, Names{"auto", "chatml", "llama3"}),
                                "; \"auto\", \"chatml\", \"llama3\" and a template itself are"));
  }

  const MergekitOptions& options_;
  uint64_t seed_ = options_.seed;  // The file's is taken where the options have none, though mergekit passes it over.
  YamlProblems problems_;
  std::map<std::string, YAML::Node> top_;
  TextWriter params_;
  std::set<std::string> models_;
  std::vector<std::string> inputs_;
  std::vector<std::string> notes_;
};

// Only where each document starts.
class DocumentStart : public YAML::EventHandler {
 public:
  YAML::Mark mark;

  void OnDocumentStart(const YAML::Mark& at) override { mark = at; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

}  // namespace

absl::StatusOr<MergekitSpec> SpecOfMergekitYaml(std::string_view yaml, std::string_view file,
                                                const MergekitOptions& options) {
  Translator translator(file, options);
  if (const size_t bad = FindInvalidUtf8(yaml); bad != std::string_view::npos) {
    const auto line = 1 + std::count(yaml.begin(), yaml.begin() + static_cast<std::ptrdiff_t>(bad), '\n');
    return absl::InvalidArgumentError(StrCat(file, ":", line, ": is not UTF-8 at byte ", bad));
  }
  YamlProblems problems(file);
  try {  // yaml-cpp throws; no exception leaves this file.
    const std::string text(yaml);
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    DocumentStart start;
    if (!parser.HandleNextDocument(start)) return absl::InvalidArgumentError(StrCat(file, ": holds no YAML"));
    if (parser.HandleNextDocument(start)) {  // Not YAML::LoadAll: it never ends on some texts, as ",a- b: c".
      problems.Add(start.mark, "a second document begins; one merge a file is supported");
      return problems.status();
    }
    return translator.Translate(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    problems.Add(error.mark, StrCat("is no YAML: ", error.msg));
    return problems.status();
  }
}

}  // namespace editd::client
