// Slices: runs of layers of several models, one after the other, numbered anew; and the two edits that are written as
// such runs: block expansion (LLaMA Pro, arXiv 2401.02415) and layer swapping (arXiv 2410.01335).
//
// Plain values.
#ifndef EDITD_PLUGINS_MERGE_SLICES_H_
#define EDITD_PLUGINS_MERGE_SLICES_H_

#include <string>
#include <vector>

#include "plugins/merge/layout.h"

namespace editd::merge {

// A spec of which `block_expansion` and `layer_swap` are written out as slices. Any other is what it was.
struct Expansion {
  v1::MergeSpec spec;
  // Inputs whose embeddings, and whose final norm and head, the result has; empty: those of the first and last slice.
  std::string embeddings;
  std::string head;
};

Expansion Expand(const v1::MergeSpec& spec, const Job& job, Findings* findings);

// What the slices are, a line a run of layers: "layers 0-4: \"math\" 0-4".
std::vector<std::string> Describe(const v1::MergeSpec& spec);

// The layout of spec.slices(). What stands before the layers comes from the first slice's sources and what stands after
// them from the last one's, unless the expansion says otherwise. Gradients run over the layers of a slice.
Layout LayOutSlices(const Expansion& expansion, const Job& job, Findings* findings);

// The input whose files the result has: the base, or the first that the spec names.
size_t BaseOf(const v1::MergeSpec& spec, const Job& job);

// How many layers a model has: one more than the highest number in a tensor's name.
int64_t LayersOf(const Model& model);

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_SLICES_H_
