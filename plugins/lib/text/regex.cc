// A backtracking matcher with a stack of its own.
//
// What keeps it from running away: no state has a memory (there are no captures), so an instruction that failed at a
// place always fails there, in whatever attempt. Runs of one class without a limit remember where they failed last: a
// run that would begin inside has only places to end at that failed already, and one that comes there need not go on.
// Other choices are remembered in a table
// once an attempt has taken many steps. Both are exact, and patterns that behave never pay for the second.
#include "plugins/lib/text/regex.h"

#include <algorithm>

#include "plugins/lib/text/unicode.h"

namespace editd::text {
namespace {

constexpr size_t kPatience = 128;  // Steps of an attempt until tried states are remembered.
constexpr uint32_t kNoLimit = ~uint32_t{0};

inline uint32_t At(std::string_view text, size_t at, int* length) {
  return DecodeUtf8(text.data() + at, text.data() + text.size(), length);
}

// The beginning of the character that ends at `at`.
size_t Back(std::string_view text, size_t at) {
  for (size_t back = 1; back <= 4 && back <= at; ++back) {
    if ((text[at - back] & 0xc0) == 0x80) continue;
    int length;
    At(text, at - back, &length);
    return static_cast<size_t>(length) == back ? at - back : at - 1;
  }
  return at - 1;
}

}  // namespace

RegexMatcher::RegexMatcher(const Regex* regex, std::string_view text)
    : regex_(regex), text_(text), failed_runs_(regex->program_.size()) {}

bool RegexMatcher::WordAt(size_t at) const {
  int length;
  return at < text_.size() && regex_->word_.Has(At(text_, at, &length));
}

bool RegexMatcher::WordBefore(size_t at) const { return at > 0 && WordAt(Back(text_, at)); }

bool RegexMatcher::Next(size_t* begin, size_t* end) {
  while (at_ < text_.size()) {
    int length;
    const uint32_t c = At(text_, at_, &length);
    if (regex_->first_.Has(c)) {
      steps_ = 0;
      choices_.clear();
      const size_t match = Match(0, at_);
      if (match != kNoMatch && match > at_) {
        *begin = at_;
        *end = at_ = match;
        return true;
      }
    }
    at_ += length;
  }
  return false;
}

size_t RegexMatcher::Match(uint32_t instruction, size_t at) {
  using Kind = Regex::Instruction::Kind;
  const size_t bottom = choices_.size();
  uint32_t pc = instruction;
  for (;;) {
    const Regex::Instruction& code = regex_->program_[pc];
    bool fails = false;
    int length;
    ++steps_;
    switch (code.kind) {
      case Kind::kByte:
        if (at < text_.size() && static_cast<unsigned char>(text_[at]) == code.a) {
          ++at;
          ++pc;
        } else {
          fails = true;
        }
        break;
      case Kind::kSet:
        if (at < text_.size() && regex_->sets_[code.a].Has(At(text_, at, &length))) {
          at += length;
          ++pc;
        } else {
          fails = true;
        }
        break;
      case Kind::kRun: {
        Failed& failed = failed_runs_[pc];
        if (code.max == kNoLimit && failed.begin <= at && at <= failed.end) {
          fails = true;
          break;
        }
        const CharSet& set = regex_->sets_[code.a];
        const size_t begin = at;
        size_t least = at;
        uint32_t count = 0;
        size_t end = 0;  // If not 0: from here to there it has failed already.
        while (count < code.max && at < text_.size() && set.Has(At(text_, at, &length))) {
          if (at == failed.begin && at < failed.end && code.min <= 1 && count >= code.min && code.max == kNoLimit) {
            end = failed.end;
            break;
          }
          at += length;
          if (++count == code.min) least = at;
        }
        if (count < code.min) {
          fails = true;
        } else if (code.flag && end > 0) {
          failed.begin = begin;
          fails = true;
        } else {
          if (code.max == kNoLimit) choices_.push_back({pc, false, begin, std::max(at, end)});
          if (!code.flag && at > least) choices_.push_back({pc, true, at, least});
          ++pc;
        }
        break;
      }
      case Kind::kSplit:
        if (tried_ || steps_ > kPatience) {
          if (!tried_) tried_ = std::make_unique<PairTable>();
          if (!tried_->Insert(static_cast<uint64_t>(at) << 16 | pc, 0)) {
            fails = true;
            break;
          }
        }
        choices_.push_back({code.b, false, at, kNoMatch});
        pc = code.a;
        break;
      case Kind::kJump:
        pc = code.a;
        break;
      case Kind::kLook:
        if ((Match(pc + 1, at) != kNoMatch) != code.flag) {
          pc = code.a;
        } else {
          fails = true;
        }
        break;
      case Kind::kBehind: {
        size_t from = at;
        uint32_t left = code.min;
        for (; left > 0 && from > 0; --left) from = Back(text_, from);
        if ((left == 0 && Match(pc + 1, from) != kNoMatch) != code.flag) {
          pc = code.a;
        } else {
          fails = true;
        }
        break;
      }
      case Kind::kAtomic: {
        const size_t end = Match(pc + 1, at);
        if (end != kNoMatch) {
          at = end;
          pc = code.a;
        } else {
          fails = true;
        }
        break;
      }
      case Kind::kLineBegin:
        if (at == 0 || (text_[at - 1] == '\n' && at < text_.size())) {
          ++pc;
        } else {
          fails = true;
        }
        break;
      case Kind::kLineEnd:
        if (at == text_.size() || text_[at] == '\n') {
          ++pc;
        } else {
          fails = true;
        }
        break;
      case Kind::kTextBegin:
      case Kind::kTextEnd:
      case Kind::kTextEndOrBreak:
        if ((code.kind == Kind::kTextBegin ? at == 0 : at == text_.size()) ||
            (code.kind == Kind::kTextEndOrBreak && at + 1 == text_.size() && text_[at] == '\n')) {
          ++pc;
        } else {
          fails = true;
        }
        break;
      case Kind::kWordBorder:
        if ((WordBefore(at) != WordAt(at)) != code.flag) {
          ++pc;
        } else {
          fails = true;
        }
        break;
      case Kind::kAccept:
        choices_.resize(bottom);
        return at;
    }
    if (!fails) continue;
    for (;;) {
      if (choices_.size() == bottom) return kNoMatch;
      Choice& choice = choices_.back();
      if (!choice.run) {
        const Choice popped = choice;
        choices_.pop_back();
        if (popped.least != kNoMatch) {  // A run has failed, wherever it ends.
          failed_runs_[popped.instruction] = {popped.at, popped.least};
          continue;
        }
        pc = popped.instruction;
        at = popped.at;
        break;
      }
      at = choice.at = Back(text_, choice.at);
      pc = choice.instruction + 1;
      if (choice.at <= choice.least) choices_.pop_back();
      ++steps_;
      break;
    }
  }
}

}  // namespace editd::text
