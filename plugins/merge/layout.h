// The layout: which tensors the result has, and which tensors of which inputs each is made of.
//
// Structure is decided here and arithmetic is not: a layout says nothing of weights. What cannot be laid out (a model
// that lacks a tensor, a name that is no input's) is a finding.
//
// Plain values; the layout points into the job and the spec, which must outlive it.
#ifndef EDITD_PLUGINS_MERGE_LAYOUT_H_
#define EDITD_PLUGINS_MERGE_LAYOUT_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "editd/plugin.hpp"
#include "plugins/merge/parameters.h"

namespace editd::merge {

// A tensor of an input that takes part in one of the result.
struct Take {
  size_t model = 0;  // Among the job's inputs.
  const Tensor* tensor = nullptr;
  const Scope* scope = nullptr;  // The source's own parameters.
  uint32_t place = 0;            // Among the sources.
};

// A tensor of the result.
struct Row {
  std::string name;
  int64_t layer = -1;  // Among `layers`, for gradients; -1 outside of the layers.
  int64_t layers = 0;
  std::vector<Take> takes;  // In the order of the spec; the base only if it is listed.
  std::optional<Take> base;
  const Scope* slice = nullptr;  // The slice's parameters.
};

struct Layout {
  std::vector<Row> rows;
  size_t donor = 0;             // The input whose files the result has.
  bool unties_head = false;     // The head is a tensor of its own, though the donor's is not.
  std::vector<int64_t> layers;  // Of slices: for each layer the donor's that it stands for; empty: all as they are.
  std::vector<std::unique_ptr<Scope>> scopes;  // All that rows point to.
};

// "model.layers.12.mlp.up_proj.weight" -> 12; -1 if no part of the name is a number.
int64_t LayerOf(std::string_view tensor);

// The name by which messages and specs call an input.
std::string_view NameOf(const Model& model);

// The input that `name` means: by its name in the job, or, if it has none, by its model.
std::optional<size_t> FindInput(const Job& job, std::string_view name);

// The same; if there is none, a finding.
std::optional<size_t> ResolveInput(const Job& job, std::string_view name, const std::string& path, Findings* findings);

// A tensor of `model`; for the head of a model that has none the embedding, which it shares. Null if there is none.
const Tensor* FindShared(const Model& model, std::string_view name);

// Whole models: spec.models(), tensor by tensor as the base (or the first model) has them.
Layout LayOutModels(const v1::MergeSpec& spec, const Job& job, Findings* findings);

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_LAYOUT_H_
