#include "storage/lineage.h"

#include <algorithm>

namespace editd::storage {
namespace {

// True if `id`'s hex digits begin with `prefix`.
bool HasPrefix(const Id& id, std::string_view prefix) {
  for (size_t i = 0; i < prefix.size(); ++i) {
    const int nibble = i % 2 == 0 ? id.bytes[i / 2] >> 4 : id.bytes[i / 2] & 15;
    if ("0123456789abcdef"[nibble] != prefix[i]) return false;
  }
  return true;
}

}  // namespace

uint32_t Lineage::IndexOf(const Id& id) {
  const auto [entry, fresh] = index_.emplace(id, static_cast<uint32_t>(nodes_.size()));
  if (fresh) nodes_.emplace_back().id = id;
  return entry->second;
}

void Lineage::Reserve(size_t versions) {
  nodes_.reserve(versions);
  index_.reserve(versions);
}

void Lineage::Put(const Id& id, const editd::v1::LineageRow& row) {
  const uint32_t index = IndexOf(id);
  const bool fresh = !nodes_[index].present;
  for (int i = 0; fresh && i < row.parents_size(); ++i) {
    absl::StatusOr<Id> parent = Id::FromBytes(row.parents(i));
    if (!parent.ok()) continue;  // Found by verify.
    const uint32_t parent_index = IndexOf(*parent);
    nodes_[index].parents.push_back(parent_index);
    nodes_[parent_index].children.push_back(index);
  }
  Node& node = nodes_[index];
  node.present = true;
  node.number = row.number();
  node.created = row.created();
  node.logical_bytes = row.logical_bytes();
  node.tombstone = row.tombstone();
  last_number_ = std::max(last_number_, row.number());
}

const Lineage::Node* Lineage::Find(const Id& id) const {
  const auto found = index_.find(id);
  return found == index_.end() || !nodes_[found->second].present ? nullptr : &nodes_[found->second];
}

std::vector<Id> Lineage::Walk(const Id& id, std::vector<uint32_t> Node::*next) const {
  const auto start = index_.find(id);
  if (start == index_.end()) return {};
  std::vector<bool> seen(nodes_.size());
  seen[start->second] = true;
  std::vector<uint32_t> order = {start->second};
  const auto earlier = [this](uint32_t a, uint32_t b) { return nodes_[a].number < nodes_[b].number; };
  for (size_t begin = 0, end = 1; begin < end; begin = end, end = order.size()) {  // One distance at a time.
    for (size_t i = begin; i < end; ++i) {
      for (uint32_t other : nodes_[order[i]].*next) {
        if (seen[other]) continue;
        seen[other] = true;
        order.push_back(other);
      }
    }
    const auto level = order.begin() + static_cast<std::ptrdiff_t>(end);
    if (!std::is_sorted(level, order.end(), earlier)) std::sort(level, order.end(), earlier);
  }
  std::vector<Id> ids;
  ids.reserve(order.size() - 1);
  for (size_t i = 1; i < order.size(); ++i) ids.push_back(nodes_[order[i]].id);
  return ids;
}

std::vector<Id> Lineage::FirstParents(const Id& id) const {
  std::vector<Id> ids;
  const auto start = index_.find(id);
  if (start == index_.end()) return ids;
  uint32_t index = start->second;
  ids.push_back(id);
  // The bound ends the walk even if damaged rows made a cycle.
  while (!nodes_[index].parents.empty() && ids.size() <= nodes_.size()) {
    index = nodes_[index].parents[0];
    ids.push_back(nodes_[index].id);
  }
  return ids;
}

std::vector<Id> Lineage::WithPrefix(std::string_view prefix, size_t limit) const {
  std::vector<Id> found;
  if (prefix.size() > 2 * Id::kBytes) return found;
  for (const Node& node : nodes_) {
    if (!node.present || !HasPrefix(node.id, prefix)) continue;
    found.push_back(node.id);
    if (found.size() == limit) break;
  }
  return found;
}

}  // namespace editd::storage
