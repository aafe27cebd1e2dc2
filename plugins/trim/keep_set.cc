// How the parents of a token are found. A vocabulary file does not say from which merge a token really comes: there may
// be several pairs that give it, and only one is ever used. The one that is used is what encoding the token's own bytes
// ends with. That holds inside a longer word too: merges inside the span that becomes the token never look across its
// borders (a merge across a border would mean that the span does not become one token), and they happen in the same
// order, by rank and then from the left. (Where the vocabulary is one of characters and every pair that gives a token
// is listed, as in SentencePiece's kind, that one of them is found in the same way.) So each kept token is encoded
// once, alone, and every intermediate result is one that must stay. Tokens are short, so the plain quadratic loop is
// used.
#include "plugins/trim/keep_set.h"

#include <algorithm>
#include <queue>

#include "storage/base/strings.h"

namespace editd::trim {
namespace {

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

KeepSet::KeepSet(const TokenizerFile& file)
    : file_(file),
      reasons_(static_cast<size_t>(file.id_limit())),
      parts_(static_cast<size_t>(file.id_limit())),
      parts_known_(static_cast<size_t>(file.id_limit())) {
  ranks_.reserve(file.merges().size());
  for (size_t i = 0; i < file.merges().size(); ++i) {
    // A pair that is listed twice has its last rank.
    ranks_[PairKey(file.merges()[i].left, file.merges()[i].right)] = static_cast<int32_t>(i);
  }
}

void KeepSet::Keep(int32_t id, Reason reason) {
  if (file_.exists(id)) reasons_[static_cast<size_t>(id)] |= reason;
}

size_t KeepSet::Count(Reason reason) const {
  return static_cast<size_t>(
      std::count_if(reasons_.begin(), reasons_.end(), [&](uint8_t r) { return (r & reason) != 0; }));
}

size_t KeepSet::CountOnly(Reason reason) const {
  return static_cast<size_t>(std::count(reasons_.begin(), reasons_.end(), static_cast<uint8_t>(reason)));
}

size_t KeepSet::size() const {
  return static_cast<size_t>(std::count_if(reasons_.begin(), reasons_.end(), [](uint8_t r) { return r != 0; }));
}

void KeepSet::KeepLeavesAndAdded(const std::vector<uint32_t>& leaves) {
  for (const uint32_t id : leaves) Keep(static_cast<int32_t>(id), kAlways);
  for (const AddedToken& token : file_.added_tokens()) Keep(token.id, kAlways);
}

void KeepSet::FindParts(int32_t id) {
  const size_t index = static_cast<size_t>(id);
  if (parts_known_[index]) return;
  parts_known_[index] = true;
  const std::string& token = file_.token(id);
  std::vector<int32_t> symbols;  // One for each character: a byte's letter, or in the other kind the character itself.
  for (size_t i = 0; i < token.size();) {
    size_t length = 1;
    while (i + length < token.size() && (static_cast<uint8_t>(token[i + length]) & 0xc0) == 0x80) ++length;
    const int32_t leaf = file_.Find(token.substr(i, length));
    if (leaf < 0) return;  // Not spelled in the vocabulary's characters: an added token. It has no parts.
    symbols.push_back(leaf);
    i += length;
  }
  Parts last;
  while (symbols.size() > 1) {
    int32_t best = INT32_MAX;
    size_t at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto it = ranks_.find(PairKey(symbols[i], symbols[i + 1]));
      if (it != ranks_.end() && it->second < best) {
        best = it->second;
        at = i;
      }
    }
    if (best == INT32_MAX) return;  // No merge makes this token; nothing leads to it, nothing must stay for it.
    last = {symbols[at], symbols[at + 1]};
    symbols[at] = file_.merges()[static_cast<size_t>(best)].result;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  if (symbols.size() == 1 && symbols[0] == id) parts_[index] = last;
}

void KeepSet::Close() {
  std::vector<int32_t> open;
  for (int32_t id = 0; id < file_.id_limit(); ++id) {
    if (Keeps(id)) open.push_back(id);
  }
  while (!open.empty()) {
    const int32_t id = open.back();
    open.pop_back();
    FindParts(id);
    for (const int32_t part : {parts_[static_cast<size_t>(id)].left, parts_[static_cast<size_t>(id)].right}) {
      if (part < 0 || Keeps(part)) continue;
      reasons_[static_cast<size_t>(part)] = kClosure;
      open.push_back(part);
    }
  }
}

absl::Status KeepSet::Prune(size_t target, const std::vector<uint64_t>& uses) {
  // What must stay at least: the closure of kAlways.
  KeepSet least(file_);
  for (int32_t id = 0; id < file_.id_limit(); ++id) {
    if (reasons_[static_cast<size_t>(id)] & kAlways) least.Keep(id, kAlways);
  }
  least.Close();
  if (least.size() > target) {
    return absl::InvalidArgumentError(
        StrCat("params.keep.target_size: ", target,
               " is too small; bytes, special tokens and the chat template's tokens need ", least.size(),
               "; set it to ", least.size(), " or more"));
  }
  size_t kept = size();
  std::vector<int32_t> children(reasons_.size());  // Kept tokens that are made from this one.
  for (int32_t id = 0; id < file_.id_limit(); ++id) {
    if (!Keeps(id)) continue;
    FindParts(id);
    const Parts parts = parts_[static_cast<size_t>(id)];
    if (parts.left >= 0) ++children[static_cast<size_t>(parts.left)];
    if (parts.right >= 0) ++children[static_cast<size_t>(parts.right)];
  }
  using Leaf = std::pair<uint64_t, int32_t>;  // (uses, -id): the smallest goes first.
  std::priority_queue<Leaf, std::vector<Leaf>, std::greater<>> leaves;
  const auto consider = [&](int32_t id) {
    const size_t index = static_cast<size_t>(id);
    if (Keeps(id) && children[index] == 0 && !(reasons_[index] & kAlways)) leaves.push({uses[index], -id});
  };
  for (int32_t id = 0; id < file_.id_limit(); ++id) consider(id);
  while (kept > target && !leaves.empty()) {
    const int32_t id = -leaves.top().second;
    leaves.pop();
    reasons_[static_cast<size_t>(id)] = 0;
    --kept;
    const Parts parts = parts_[static_cast<size_t>(id)];
    for (const int32_t part : {parts.left, parts.right}) {
      if (part >= 0 && --children[static_cast<size_t>(part)] == 0) consider(part);
    }
  }
  return absl::OkStatus();
}

IdMap KeepSet::Map() const {
  IdMap map(reasons_.size(), -1);
  int32_t next = 0;
  for (size_t id = 0; id < reasons_.size(); ++id) {
    if (reasons_[id] != 0) map[id] = next++;
  }
  return map;
}

}  // namespace editd::trim
