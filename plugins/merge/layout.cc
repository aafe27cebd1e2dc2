#include "plugins/merge/layout.h"

#include <algorithm>
#include <set>

#include "absl/strings/numbers.h"
#include "plugins/lib/formats/checkpoint.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::merge {
namespace {

using formats::kEmbedding;
using formats::kHead;

// The list of names, cut short.
std::string Some(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(3, names.size()); ++i) {
    StrAppend(&text, i == 0 ? "" : ", ", "\"", names[i], "\"");
  }
  if (names.size() > 3) StrAppend(&text, " and ", names.size() - 3, " more");
  return text;
}

}  // namespace

int64_t LayerOf(std::string_view tensor) {
  while (!tensor.empty()) {
    const size_t dot = std::min(tensor.find('.'), tensor.size());
    int64_t number = 0;
    if (dot < 10 && absl::SimpleAtoi(ToAbsl(tensor.substr(0, dot)), &number) && number >= 0) return number;
    tensor.remove_prefix(std::min(dot + 1, tensor.size()));
  }
  return -1;
}

std::string_view NameOf(const Model& model) { return model.role.empty() ? model.name : model.role; }

std::optional<size_t> FindInput(const Job& job, std::string_view name) {
  for (size_t i = 0; i < job.models().size(); ++i) {
    if (NameOf(job.model(i)) == name) return i;
  }
  return std::nullopt;
}

std::optional<size_t> ResolveInput(const Job& job, std::string_view name, const std::string& path, Findings* findings) {
  if (name.empty()) {
    findings->Add(path, "is empty; name one of the job's inputs");
    return std::nullopt;
  }
  const std::optional<size_t> model = FindInput(job, name);
  if (model.has_value()) return model;
  std::vector<std::string> names;
  for (const Model& input : job.models()) names.emplace_back(NameOf(input));
  findings->Add(path, StrCat("no input is named \"", name, "\"", DidYouMean(name, names)));
  return std::nullopt;
}

const Tensor* FindShared(const Model& model, std::string_view name) {
  const Tensor* tensor = model.FindTensor(name);
  return tensor == nullptr && name == kHead ? model.FindTensor(kEmbedding) : tensor;
}

Layout LayOutModels(const v1::MergeSpec& spec, const Job& job, Findings* findings) {
  Layout layout;
  struct Listed {
    size_t model;
    const Scope* scope;
    uint32_t place;
    std::string path;
  };
  std::vector<Listed> listed;
  std::optional<Listed> base;
  std::set<size_t> seen;
  if (!spec.base().empty()) {
    if (const auto model = ResolveInput(job, spec.base(), "base", findings)) base = {*model, nullptr, 0, "base"};
  }
  for (int i = 0; i < spec.models_size(); ++i) {
    const std::string path = StrCat("models[", i, "]");
    const auto model = ResolveInput(job, spec.models(i).input(), StrCat(path, ".input"), findings);
    if (!model.has_value()) continue;
    if (!seen.insert(*model).second) {
      findings->Add(StrCat(path, ".input"), StrCat("\"", spec.models(i).input(), "\" is listed twice"));
      continue;
    }
    layout.scopes.push_back(std::make_unique<Scope>(Scope{&spec.models(i).parameters(), StrCat(path, ".parameters")}));
    listed.push_back({*model, layout.scopes.back().get(), static_cast<uint32_t>(i), StrCat(path, ".input")});
  }
  if (listed.empty() || (!base.has_value() && !spec.base().empty())) return layout;
  layout.donor = base.has_value() ? base->model : listed[0].model;

  // The tensors: the donor's, and a head if any model has one of its own.
  std::vector<Listed> all = listed;
  if (base.has_value() && !seen.contains(base->model)) all.push_back(*base);
  const Model& donor = job.model(layout.donor);
  std::vector<std::string> names;
  for (const Tensor& tensor : donor.tensors) names.emplace_back(tensor.name);
  const bool has_head = std::any_of(
      all.begin(), all.end(), [&](const Listed& entry) { return job.model(entry.model).FindTensor(kHead) != nullptr; });
  if (has_head && donor.FindTensor(kHead) == nullptr && donor.FindTensor(kEmbedding) != nullptr) {
    names.emplace_back(kHead);
    layout.unties_head = true;
  }

  // What some lack.
  std::set<std::string> left_out;
  if (spec.missing() != v1::MISSING_SKIP) {
    const std::set<std::string> known(names.begin(), names.end());
    for (const Listed& entry : all) {
      const Model& model = job.model(entry.model);
      std::vector<std::string> lacks, others;
      for (const std::string& name : names) {
        if (FindShared(model, name) == nullptr) lacks.push_back(name);
      }
      for (const Tensor& tensor : model.tensors) {
        if (!known.contains(std::string(tensor.name))) others.emplace_back(tensor.name);
      }
      if (!lacks.empty()) {
        findings->Add(entry.path, StrCat("\"", NameOf(model), "\" has no ", Some(lacks), ", which \"", NameOf(donor),
                                         "\" has; set missing: MISSING_SKIP to merge such tensors without it"));
      }
      if (!others.empty()) {
        findings->Add(entry.path, StrCat("\"", NameOf(model), "\" has ", Some(others), ", which \"", NameOf(donor),
                                         "\" has not; set missing: MISSING_SKIP to leave such tensors out"));
      }
    }
  }

  int64_t layers = 0;
  for (const std::string& name : names) layers = std::max(layers, LayerOf(name) + 1);
  for (const std::string& name : names) {
    Row row;
    row.name = name;
    row.layer = LayerOf(name);
    row.layers = layers;
    for (const Listed& entry : listed) {
      const Tensor* tensor = FindShared(job.model(entry.model), name);
      if (tensor != nullptr) row.takes.push_back({entry.model, tensor, entry.scope, entry.place});
    }
    if (base.has_value()) {
      const Tensor* tensor = FindShared(job.model(base->model), name);
      if (tensor != nullptr) row.base = Take{base->model, tensor, nullptr, 0};
    }
    layout.rows.push_back(std::move(row));
  }
  return layout;
}

}  // namespace editd::merge
