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
  if (fresh) {
    nodes_.emplace_back().id = id;
    parents_.head.push_back(kNone);
    children_.head.push_back(kNone);
  }
  return entry->second;
}

void Lineage::Reserve(size_t versions) {
  nodes_.reserve(versions);
  index_.reserve(versions);
}

void Lineage::Edges::Add(uint32_t from, uint32_t to) {
  links.push_back({to, head[from]});
  head[from] = static_cast<uint32_t>(links.size() - 1);
}

void Lineage::Put(const Id& id, const editd::v1::LineageRow& row) {
  const uint32_t index = IndexOf(id);
  const bool fresh = !nodes_[index].present;
  for (int i = 0; fresh && i < row.parents_size(); ++i) {
    absl::StatusOr<Id> parent = Id::FromBytes(row.parents(i));
    if (!parent.ok()) continue;  // Found by verify.
    const uint32_t parent_index = IndexOf(*parent);
    if (i == 0) nodes_[index].first_parent = parent_index;
    parents_.Add(index, parent_index);
    children_.Add(parent_index, index);
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

std::vector<Id> Lineage::Walk(const Id& id, const Edges& edges) const {
  const auto start = index_.find(id);
  if (start == index_.end()) return {};
  std::vector<uint32_t> distance(nodes_.size(), kNone);
  std::vector<uint32_t> order = {start->second};  // By distance; sorted by publication afterwards.
  std::vector<size_t> levels = {0};               // Where each distance begins in `order`.
  distance[start->second] = 0;
  for (size_t begin = 0; begin < order.size();) {
    const size_t end = order.size();
    levels.push_back(end);
    for (size_t i = begin; i < end; ++i) {
      for (uint32_t link = edges.head[order[i]]; link != kNone; link = edges.links[link].next) {
        const uint32_t other = edges.links[link].to;
        if (distance[other] != kNone) continue;
        distance[other] = static_cast<uint32_t>(levels.size() - 1);
        order.push_back(other);
      }
    }
    begin = end;
  }
  if (order.size() > nodes_.size() / 16) {
    // Most of the graph: one pass over all nodes puts each in its level, in the order of publication, without
    // comparisons.
    std::vector<size_t> next = levels;
    for (uint32_t node = 0; node < distance.size(); ++node) {
      if (distance[node] != kNone) order[next[distance[node]]++] = node;
    }
  } else {
    for (size_t level = 1; level < levels.size(); ++level) {
      const auto at = [&](size_t i) { return order.begin() + static_cast<std::ptrdiff_t>(i); };
      std::sort(at(levels[level - 1]), at(levels[level]));
    }
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
  // The bound ends the walk even if damaged rows made a cycle.
  for (uint32_t node = start->second; node != kNone && ids.size() <= nodes_.size(); node = nodes_[node].first_parent) {
    ids.push_back(nodes_[node].id);
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
