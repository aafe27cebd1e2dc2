// The lineage graph in memory: which version was made from which.
//
// Rebuilt at start from the small rows of table lineage. A walk in RocksDB would take a tenth of a second and more for
// a hundred thousand versions; here it takes a few milliseconds. Nodes are numbers, in the order of publication where
// they were added so; every edge goes from an earlier publication to a later one, so there is no cycle.
//
// Thread-compatible.
#ifndef EDITD_STORAGE_LINEAGE_H_
#define EDITD_STORAGE_LINEAGE_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "editd/v1/catalogue.pb.h"
#include "storage/base/id.h"

namespace editd::storage {

class Lineage {
 public:
  static constexpr uint32_t kNone = 0xffffffff;
  struct Node {
    Id id;
    uint64_t number = 0;  // Order of publication, from 1.
    int64_t created = 0;  // Unix seconds.
    uint64_t logical_bytes = 0;
    bool tombstone = false;
    bool present = false;  // False: only named as a parent so far.
    uint32_t first_parent = kNone;
  };

  // Adds a version; or changes one that is there (its parents stay). In the order of publication, if walks are to be in
  // it.
  void Put(const Id& id, const editd::v1::LineageRow& row);

  void Reserve(size_t versions);

  const Node* Find(const Id& id) const;
  std::span<const Node> nodes() const { return nodes_; }
  uint64_t next_number() const { return last_number_ + 1; }

  // `id` left out; nearest first, within one distance by publication.
  std::vector<Id> Ancestors(const Id& id) const { return Walk(id, parents_); }
  std::vector<Id> Descendants(const Id& id) const { return Walk(id, children_); }
  // `id` and its first parents.
  std::vector<Id> FirstParents(const Id& id) const;
  // At most `limit` versions whose ids begin with the hex digits `prefix`.
  std::vector<Id> WithPrefix(std::string_view prefix, size_t limit) const;

 private:
  // For each node a chain of others.
  struct Edges {
    struct Link {
      uint32_t to, next;
    };
    void Add(uint32_t from, uint32_t to);
    std::vector<uint32_t> head;  // By node: index into links, or kNone.
    std::vector<Link> links;
  };

  uint32_t IndexOf(const Id& id);
  std::vector<Id> Walk(const Id& id, const Edges& edges) const;

  std::vector<Node> nodes_;
  Edges parents_, children_;
  std::unordered_map<Id, uint32_t> index_;
  uint64_t last_number_ = 0;
};

}  // namespace editd::storage

#endif  // EDITD_STORAGE_LINEAGE_H_
