#include "plugins/evaluate/pairing.h"

#include <string_view>
#include <unordered_map>

namespace editd::evaluate {
namespace {

bool SameToken(const Subject& a, int64_t row_a, const Subject& b, int64_t row_b) {
  return a.tokenizer->IsAdded(row_a) == b.tokenizer->IsAdded(row_b) &&
         a.tokenizer->TokenText(row_a) == b.tokenizer->TokenText(row_b);
}

// other_of_base from the id map; empty if the map leads elsewhere.
std::vector<int32_t> ByIdMap(const Subject& base, const Subject& other) {
  std::vector<int32_t> out(base.rows, -1);
  bool any = false;
  for (int64_t row = 0; row < static_cast<int64_t>(other.parent_ids.size()); ++row) {
    const int64_t parent = other.parent_ids[row];
    if (row >= other.rows || !other.tokenizer->HasToken(row)) continue;
    if (parent < 0) continue;
    if (parent >= base.rows || !base.tokenizer->HasToken(parent) || !SameToken(base, parent, other, row)) return {};
    if (out[parent] >= 0) return {};
    out[parent] = static_cast<int32_t>(row);
    any = true;
  }
  return any ? out : std::vector<int32_t>();
}

std::vector<int32_t> ByText(const Subject& base, const Subject& other) {
  std::unordered_map<std::string_view, int32_t> rows[2];  // By IsAdded.
  for (int64_t row = 0; row < other.rows; ++row) {
    if (!other.tokenizer->HasToken(row)) continue;
    rows[other.tokenizer->IsAdded(row)].emplace(other.tokenizer->TokenText(row), row);
  }
  std::vector<int32_t> out(base.rows, -1);
  for (int64_t row = 0; row < base.rows; ++row) {
    if (!base.tokenizer->HasToken(row)) continue;
    auto& same_kind = rows[base.tokenizer->IsAdded(row)];
    const auto found = same_kind.find(base.tokenizer->TokenText(row));
    if (found == same_kind.end()) continue;
    out[row] = found->second;
    same_kind.erase(found);  // A row has one partner.
  }
  return out;
}

int64_t TokensOf(const Subject& subject) {
  int64_t count = 0;
  for (int64_t row = 0; row < subject.rows; ++row) count += subject.tokenizer->HasToken(row);
  return count;
}

}  // namespace

RowPairs MatchRows(const Subject& base, const Subject& other) {
  RowPairs out;
  out.matched_by = "id map";
  out.other_of_base = ByIdMap(base, other);
  if (out.other_of_base.empty()) {
    out.matched_by = "token text";
    out.other_of_base = ByText(base, other);
  }
  const int64_t tokens_base = TokensOf(base), tokens_other = TokensOf(other);
  int64_t matched = 0;
  bool same_ids = base.rows == other.rows;
  for (int64_t row = 0; row < base.rows; ++row) {
    if (out.other_of_base[row] < 0) continue;
    ++matched;
    same_ids &= out.other_of_base[row] == row;
  }
  out.base_only = tokens_base - matched;
  out.other_only = tokens_other - matched;
  for (int64_t row = 0; row < base.rows; ++row) {
    if (same_ids && out.base_only + out.other_only == 0) out.other_of_base[row] = static_cast<int32_t>(row);
    if (out.other_of_base[row] < 0) continue;
    out.base.push_back(row);
    out.other.push_back(out.other_of_base[row]);
  }
  return out;
}

}  // namespace editd::evaluate
