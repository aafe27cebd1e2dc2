// KeepSet: which tokens of a byte-pair vocabulary stay.
//
// A token stays if a rule wants it. A byte-pair encoder reaches a token only through the tokens that it is merged from,
// so those stay too ("closure"). A target size then removes tokens that no kept token is merged from, the least used
// first; what must stay always (bytes, added tokens, ...) is never removed.
//
// Not thread-safe; built, asked, thrown away.
#ifndef EDITD_PLUGINS_TRIM_KEEP_SET_H_
#define EDITD_PLUGINS_TRIM_KEEP_SET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "plugins/trim/tokenizer_file.h"

namespace editd::trim {

class KeepSet {
 public:
  // Why a token stays. A token may have several reasons.
  enum Reason : uint8_t { kAlways = 1, kCorpus = 2, kScript = 4, kList = 8, kClosure = 16 };

  explicit KeepSet(const TokenizerFile& file);  // Not owned; must outlive this.

  void Keep(int32_t id, Reason reason);
  bool Keeps(int32_t id) const { return reasons_[static_cast<size_t>(id)] != 0; }
  size_t Count(Reason reason) const;  // Tokens that have this reason, whatever others they have.
  size_t CountOnly(Reason reason) const;
  size_t size() const;

  // Keeps `leaves`, which every text is spelled with in the end (text::Tokenizer::Leaves), and all added tokens.
  void KeepLeavesAndAdded(const std::vector<uint32_t>& leaves);

  // Keeps every token that a kept token is merged from.
  void Close();

  // Removes leaves until at most `target` tokens are kept: the smallest uses[id] first, then the largest id.
  // INVALID_ARGUMENT if what must stay is more than `target`; the message has the smallest possible number.
  absl::Status Prune(size_t target, const std::vector<uint64_t>& uses);

  IdMap Map() const;

 private:
  // The two tokens whose merge makes `id` when its bytes are encoded alone; {-1, -1} for a leaf.
  struct Parts {
    int32_t left = -1;
    int32_t right = -1;
  };

  void FindParts(int32_t id);

  const TokenizerFile& file_;
  std::vector<uint8_t> reasons_;
  std::vector<Parts> parts_;
  std::vector<bool> parts_known_;
  std::unordered_map<uint64_t, int32_t> ranks_;  // (left, right) -> index in merges.
};

}  // namespace editd::trim

#endif  // EDITD_PLUGINS_TRIM_KEEP_SET_H_
