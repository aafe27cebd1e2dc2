// The regular expressions of tokenizers: what a Split or Replace names that no hand-written splitter knows.
//
// The reference's engine is Oniguruma in its own syntax; this compiles the part of it that splitters use, with its
// rules: alternatives in order, greedy, lazy and possessive repetition (`{n,m}+` is a repetition of a repetition
// there),
// `$` before every line break, classes with properties, `&&` and nested classes, look-around, atomic groups, (?i) for
// ASCII. What is beyond that is refused by name, never approximated: back references, look-around without a bound,
// patterns that may match nothing, case folding that changes lengths.
//
// A Regex is immutable and may be shared by threads; a RegexMatcher is one thread's, for one text.
#ifndef EDITD_PLUGINS_LIB_TEXT_REGEX_H_
#define EDITD_PLUGINS_LIB_TEXT_REGEX_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "plugins/lib/text/char_set.h"
#include "plugins/lib/text/flat_table.h"
#include "storage/base/status.h"

namespace editd::text {

class Regex {
 public:
  // INVALID_ARGUMENT if it is broken, UNIMPLEMENTED if something in it is not understood: `at 12: a back reference is
  // not supported`.
  static absl::StatusOr<Regex> Compile(std::string_view pattern);

  struct Instruction {
    enum Kind : uint8_t {
      kByte,    // The byte `a`
      kSet,     // One character of set `a`
      kRun,     // `min` to `max` characters of set `a`, as many as there are; gives back unless `flag`
      kSplit,   // Go on at `a`, and if that fails at `b`
      kJump,    // Go on at `a`
      kLook,    // What begins at the next instruction matches here, ends at kAccept, go on at `a`; `flag`: does not
      kBehind,  // The same, `min` characters before
      kAtomic,  // The same as a part of the match
      kLineBegin,
      kLineEnd,
      kTextBegin,
      kTextEnd,
      kTextEndOrBreak,  // The end, or before a line break that is the last character
      kWordBorder,      // `flag`: is none
      kAccept,
    };
    Kind kind;
    bool flag = false;
    uint32_t a = 0, b = 0;
    uint32_t min = 0, max = 0;
  };

 private:
  friend class RegexMatcher;
  friend class RegexCompiler;

  std::vector<Instruction> program_;
  std::vector<CharSet> sets_;
  CharSet first_;  // What a match may begin with.
  CharSet word_;
};

// Finds one match after the other. However often a pattern has to give back, the work is bounded by the length of the
// text times that of the pattern: a state that failed once is not tried again.
class RegexMatcher {
 public:
  RegexMatcher(const Regex* regex, std::string_view text);  // Not owned; must outlive this.

  // The next match (never empty) that begins at or after the end of the one before; false if there is none.
  bool Next(size_t* begin, size_t* end);

 private:
  static constexpr size_t kNoMatch = ~size_t{0};
  // Where to go on if what was tried fails. A run gives back characters down to `least`.
  struct Choice {
    uint32_t instruction;
    bool run;
    size_t at, least;
  };

  size_t Match(uint32_t instruction, size_t at);
  bool WordBefore(size_t at) const;
  bool WordAt(size_t at) const;

  const Regex* const regex_;
  const std::string_view text_;
  size_t at_ = 0;
  std::vector<Choice> choices_;
  struct Failed {
    size_t begin = 1, end = 0;
  };
  std::vector<Failed> failed_runs_;   // By instruction: where a run without limit has failed last.
  size_t steps_ = 0;                  // Of this attempt.
  std::unique_ptr<PairTable> tried_;  // (place, instruction), once an attempt takes long.
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_REGEX_H_
