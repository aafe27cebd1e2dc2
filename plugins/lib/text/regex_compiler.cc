// Pattern -> tree -> program.
//
// The tree is small, so each node is a struct on the heap. Repetitions of one class become a kRun; others are written
// out as often as `min` says, with splits for the rest. A repetition whose body may match nothing is refused: what the
// reference's engine does with it is subtle, and no splitter needs it.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "plugins/lib/text/regex.h"
#include "plugins/lib/text/unicode.h"
#include "storage/base/strings.h"

namespace editd::text {
namespace {

constexpr uint32_t kNoLimit = ~uint32_t{0};
constexpr uint32_t kMostRepeats = 1000;
constexpr size_t kMostInstructions = 10000, kMostSets = 500, kDeepest = 50;
constexpr uint32_t kFarthestLook = 64;  // Characters that look-around may cover.

struct Node {
  enum Kind { kChar, kSet, kConcat, kAlternate, kRepeat, kLook, kAtomic, kAssert };
  Kind kind = kConcat;
  uint32_t code_point = 0;
  bool fold = false;  // kChar: ASCII, in any case.
  CharSet set;
  std::vector<std::unique_ptr<Node>> items;
  uint32_t min = 0, max = 0;  // kRepeat; kNoLimit: none.
  enum Greed { kGreedy, kLazy, kPossessive } greed = kGreedy;
  bool behind = false, negative = false;  // kLook
  Regex::Instruction::Kind assert_kind = Regex::Instruction::kAccept;
};
using NodePtr = std::unique_ptr<Node>;

NodePtr Make(Node::Kind kind) {
  auto node = std::make_unique<Node>();
  node->kind = kind;
  return node;
}

uint32_t Sum(uint32_t a, uint32_t b) {
  return a == kNoLimit || b == kNoLimit || a > kNoLimit - 1 - b ? kNoLimit : a + b;
}

// The fewest and most characters that a node matches.
struct Width {
  uint32_t least, most;
};
Width WidthOf(const Node& node) {
  switch (node.kind) {
    case Node::kChar:
    case Node::kSet:
      return {1, 1};
    case Node::kLook:
    case Node::kAssert:
      return {0, 0};
    case Node::kAlternate: {
      Width width = {kNoLimit, 0};
      for (const NodePtr& item : node.items) {
        const Width inner = WidthOf(*item);
        width = {std::min(width.least, inner.least), std::max(width.most, inner.most)};
      }
      return width;
    }
    case Node::kConcat:
    case Node::kAtomic: {
      Width width = {0, 0};
      for (const NodePtr& item : node.items) {
        const Width inner = WidthOf(*item);
        width = {Sum(width.least, inner.least), Sum(width.most, inner.most)};
      }
      return width;
    }
    case Node::kRepeat: {
      const Width inner = WidthOf(*node.items[0]);
      auto times = [](uint32_t a, uint32_t b) -> uint32_t {
        const uint64_t product = static_cast<uint64_t>(a) * b;
        return a == 0 || b == 0 ? 0 : a == kNoLimit || b == kNoLimit || product >= kNoLimit ? kNoLimit : product;
      };
      return {times(inner.least, node.min), times(inner.most, node.max)};
    }
  }
  return {0, kNoLimit};
}

class Parser {
 public:
  explicit Parser(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<NodePtr> Parse() {
    ASSIGN_OR_RETURN(NodePtr node, Alternatives(0));
    if (at_ < pattern_.size()) return Invalid("a \")\" without its \"(\"");
    return node;
  }

 private:
  absl::Status Invalid(std::string_view what) const {
    return absl::InvalidArgumentError(StrCat("at ", at_, ": ", what));
  }
  absl::Status Unsupported(std::string_view what) const {
    return absl::UnimplementedError(StrCat("at ", at_, ": ", what, " is not supported"));
  }

  bool More() const { return at_ < pattern_.size(); }
  char Peek(size_t ahead = 0) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }
  bool Take(std::string_view text) {
    if (pattern_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }
  uint32_t TakeChar() {
    int length;
    const uint32_t c = DecodeUtf8(pattern_.data() + at_, pattern_.data() + pattern_.size(), &length);
    at_ += length;
    return c;
  }

  absl::StatusOr<NodePtr> Alternatives(size_t depth) {
    if (depth > kDeepest) return Unsupported("nesting this deep");
    const bool fold = fold_;
    NodePtr alternatives = Make(Node::kAlternate);
    do {
      ASSIGN_OR_RETURN(NodePtr item, Sequence(depth));
      alternatives->items.push_back(std::move(item));
    } while (Take("|"));
    fold_ = fold;
    if (alternatives->items.size() == 1) return std::move(alternatives->items[0]);
    return alternatives;
  }

  absl::StatusOr<NodePtr> Sequence(size_t depth) {
    NodePtr sequence = Make(Node::kConcat);
    while (More() && Peek() != '|' && Peek() != ')') {
      if (Peek() == '(' && Peek(1) == '?' && (Peek(2) == 'i' || Peek(2) == '-')) {
        const size_t close = pattern_.find_first_of("):", at_);
        if (close != std::string_view::npos && pattern_[close] == ')') {  // (?i) until the group's end
          const std::string_view options = pattern_.substr(at_ + 2, close - at_ - 2);
          if (options != "i" && options != "-i") return Unsupported(StrCat("\"(?", options, ")\""));
          fold_ = options == "i";
          at_ = close + 1;
          // The reference takes all that follows, alternatives too, as the option's body.
          ASSIGN_OR_RETURN(NodePtr rest, Alternatives(depth + 1));
          sequence->items.push_back(std::move(rest));
          return sequence;
        }
      }
      ASSIGN_OR_RETURN(NodePtr atom, Atom(depth));
      ASSIGN_OR_RETURN(atom, Repeats(std::move(atom)));
      RETURN_IF_ERROR(CheckFolding(*sequence, *atom));
      sequence->items.push_back(std::move(atom));
    }
    return sequence;
  }

  // Two letters that fold to one character ("ss" and "ß") match texts of another length.
  absl::Status CheckFolding(const Node& before, const Node& atom) const {
    if (atom.kind != Node::kChar || !atom.fold || before.items.empty()) return absl::OkStatus();
    const Node& last = *before.items.back();
    if (last.kind != Node::kChar || !last.fold) return absl::OkStatus();
    const char pair[] = {static_cast<char>(last.code_point | 0x20), static_cast<char>(atom.code_point | 0x20), 0};
    for (std::string_view folded : {"ss", "ff", "fi", "fl", "st"}) {
      if (folded == pair) return Unsupported(StrCat("\"", folded, "\" in any case"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<NodePtr> Repeats(NodePtr atom) {
    while (More()) {
      uint32_t min, max;
      bool interval = false;
      if (Take("*")) {
        min = 0, max = kNoLimit;
      } else if (Take("+")) {
        min = 1, max = kNoLimit;
      } else if (Take("?")) {
        min = 0, max = 1;
      } else if (Peek() == '{') {
        const size_t begin = at_++;
        std::optional<uint32_t> low, high;
        ASSIGN_OR_RETURN(low, Number());
        bool comma = false;
        if (Take(",")) {
          comma = true;
          ASSIGN_OR_RETURN(high, Number());
        }
        if (!Take("}") || (!low && !high)) {
          at_ = begin;
          return Unsupported("\"{\" that is no repetition");
        }
        min = low.value_or(0);
        max = !comma ? min : high.value_or(kNoLimit);
        if (min > max) return Unsupported("a repetition whose limits are in the wrong order");
        interval = true;
      } else {
        break;
      }
      if (atom->kind == Node::kAssert || atom->kind == Node::kLook) return Unsupported("a repeated position");
      if (WidthOf(*atom).least == 0) return Unsupported("a repetition of what may match nothing");
      NodePtr repeat = Make(Node::kRepeat);
      repeat->min = min;
      repeat->max = max;
      if (Take("?")) {
        if (interval && min == max) return Unsupported("\"?\" after a fixed number");
        repeat->greed = Node::kLazy;
      } else if (!interval && Take("+")) {
        repeat->greed = Node::kPossessive;
      }
      repeat->items.push_back(std::move(atom));
      atom = std::move(repeat);
    }
    return atom;
  }

  absl::StatusOr<std::optional<uint32_t>> Number() {
    std::optional<uint32_t> number;
    while (Peek() >= '0' && Peek() <= '9') {
      number = number.value_or(0) * 10 + (Peek() - '0');
      if (*number > kMostRepeats) return Unsupported(StrCat("more than ", kMostRepeats, " repetitions"));
      ++at_;
    }
    return number;
  }

  absl::StatusOr<NodePtr> Atom(size_t depth) {
    const char c = Peek();
    if (c == '(') return Group(depth);
    if (c == '[') {
      ASSIGN_OR_RETURN(CharSet set, Class(depth));
      return SetNode(std::move(set));
    }
    if (c == '\\') return Escape();
    if (Take(".")) {
      CharSet set;
      set.Add('\n', '\n');
      set.Invert();
      return SetNode(std::move(set));
    }
    if (Take("^")) return Assert(Regex::Instruction::kLineBegin);
    if (Take("$")) return Assert(Regex::Instruction::kLineEnd);
    if (c == '*' || c == '+' || c == '?') return Invalid("a repetition of nothing");
    if (c == '{') return Unsupported("\"{\" that is no repetition");
    return CharNode(TakeChar());
  }

  static NodePtr SetNode(CharSet set) {
    NodePtr node = Make(Node::kSet);
    node->set = std::move(set);
    return node;
  }
  static NodePtr Assert(Regex::Instruction::Kind kind, bool negative = false) {
    NodePtr node = Make(Node::kAssert);
    node->assert_kind = kind;
    node->negative = negative;
    return node;
  }
  absl::StatusOr<NodePtr> CharNode(uint32_t c) {
    if (c == 0xfffd || c > 0x10ffff) return Invalid("not a character");
    NodePtr node = Make(Node::kChar);
    node->code_point = c;
    if (fold_) {
      if (c >= 0x80) return Unsupported("a character beyond ASCII in any case");
      node->fold = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    }
    return node;
  }

  absl::StatusOr<NodePtr> Group(size_t depth) {
    ++at_;
    NodePtr node;
    if (Take("?")) {
      if (Take(":")) {
      } else if (Take(">")) {
        node = Make(Node::kAtomic);
      } else if (Take("=") || Take("!") || Take("<=") || Take("<!")) {
        node = Make(Node::kLook);
        node->negative = pattern_[at_ - 1] == '!';
        node->behind = pattern_[at_ - 2] == '<';
      } else if (Take("i:") || Take("-i:")) {
        const bool fold = fold_;
        fold_ = pattern_[at_ - 3] != '-';
        ASSIGN_OR_RETURN(NodePtr inner, Alternatives(depth + 1));
        fold_ = fold;
        if (!Take(")")) return Invalid("a \"(\" without its \")\"");
        return inner;
      } else {
        return Unsupported(StrCat("\"(?", pattern_.substr(at_, 1), "\""));
      }
    }
    ASSIGN_OR_RETURN(NodePtr inner, Alternatives(depth + 1));
    if (!Take(")")) return Invalid("a \"(\" without its \")\"");
    if (!node) return inner;
    if (node->kind == Node::kLook) {
      const Width width = WidthOf(*inner);
      if (width.most > kFarthestLook) return Unsupported("look-around without a bound");
      if (node->behind && width.least != width.most) return Unsupported("looking behind at what has no fixed length");
      node->min = width.most;
    }
    node->items.push_back(std::move(inner));
    return node;
  }

  // After a backslash: a set, if the letter names one.
  absl::StatusOr<std::optional<CharSet>> EscapedSet(bool in_class) {
    std::optional<CharSet> set;
    const char c = Peek();
    if (c == 'p' || c == 'P') {
      const size_t close = pattern_.find('}', at_);
      if (Peek(1) != '{' || close == std::string_view::npos) return Invalid("expected \\p{name}");
      std::string_view name = pattern_.substr(at_ + 2, close - at_ - 2);
      const bool caret = !name.empty() && name[0] == '^';
      if (caret) name.remove_prefix(1);
      set = PropertySet(name);
      if (!set) return Unsupported(StrCat("the property \"", name, "\""));
      if ((c == 'P') != caret) set->Invert();
      at_ = close + 1;
      return set;
    }
    switch (c | 0x20) {
      case 's':
        set = SpaceSet();
        break;
      case 'w':
        set = WordSet(in_class);
        break;
      case 'd':
        set = DigitSet();
        break;
      case 'h':
        set.emplace();
        set->Add('0', '9');
        set->Add('a', 'f');
        set->Add('A', 'F');
        break;
      default:
        return set;
    }
    if (c < 'a') set->Invert();
    ++at_;
    return set;
  }

  // After a backslash: one character.
  absl::StatusOr<uint32_t> EscapedChar() {
    if (!More()) return Invalid("a backslash at the end");
    const char c = Peek();
    constexpr std::string_view kNames = "ntrfvae", kValues = "\n\t\r\f\v\a\x1b";
    if (const size_t name = kNames.find(c); name != std::string_view::npos) {
      ++at_;
      return static_cast<uint32_t>(kValues[name]);
    }
    if (c == 'x' || c == 'u') {
      ++at_;
      const bool braces = c == 'x' && Take("{");
      const size_t most = braces ? 8 : c == 'x' ? 2 : 4;
      uint32_t value = 0;
      size_t digits = 0;
      for (; digits < most; ++digits) {
        const char digit = Peek();
        const char lower = static_cast<char>(digit | 0x20);
        if (digit >= '0' && digit <= '9') {
          value = value * 16 + (digit - '0');
        } else if (lower >= 'a' && lower <= 'f') {
          value = value * 16 + (lower - 'a' + 10);
        } else {
          break;
        }
        ++at_;
      }
      if (digits == 0 || (c == 'u' && digits != 4) || (braces && !Take("}")))
        return Invalid("expected a hexadecimal number");
      if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000) || (!braces && c == 'x' && value >= 0x80)) {
        return Invalid("not a character");
      }
      return value;
    }
    if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')) {
      return Unsupported(StrCat("\"\\", std::string(1, c), "\""));
    }
    return TakeChar();
  }

  absl::StatusOr<NodePtr> Escape() {
    ++at_;
    switch (Peek()) {
      case 'A':
        ++at_;
        return Assert(Regex::Instruction::kTextBegin);
      case 'z':
        ++at_;
        return Assert(Regex::Instruction::kTextEnd);
      case 'Z':
        ++at_;
        return Assert(Regex::Instruction::kTextEndOrBreak);
      case 'b':
      case 'B':
        ++at_;
        return Assert(Regex::Instruction::kWordBorder, pattern_[at_ - 1] == 'B');
      default:
        break;
    }
    ASSIGN_OR_RETURN(std::optional<CharSet> set, EscapedSet(false));
    if (set) return SetNode(*std::move(set));
    ASSIGN_OR_RETURN(const uint32_t c, EscapedChar());
    return CharNode(c);
  }

  // [...], nested ones and intersections included.
  absl::StatusOr<CharSet> Class(size_t depth) {
    if (depth > kDeepest) return Unsupported("nesting this deep");
    ++at_;
    const bool negative = Take("^");
    CharSet set;
    std::optional<CharSet> left;  // Of the last &&.
    bool first = true;
    for (;; first = false) {
      if (!More()) return Invalid("a \"[\" without its \"]\"");
      if (Peek() == ']' && !first) break;
      if (Peek() == ']') return Unsupported("\"]\" as the first of a class");
      if (Take("&&")) {
        if (left) set.Intersect(*std::move(left));
        left = std::exchange(set, CharSet());
        continue;
      }
      if (Peek() == '[') {
        if (Peek(1) == ':') return Unsupported("a bracket like [:alpha:]");
        ASSIGN_OR_RETURN(const CharSet inner, Class(depth + 1));
        set.Add(inner);
        continue;
      }
      uint32_t low;
      if (Take("\\")) {
        ASSIGN_OR_RETURN(const std::optional<CharSet> escaped, EscapedSet(true));
        if (escaped) {
          if (fold_) return Unsupported("a class with a property in any case");
          set.Add(*escaped);
          continue;
        }
        if (Peek() == 'b') return Unsupported("\"\\b\" in a class");
        ASSIGN_OR_RETURN(low, EscapedChar());
      } else {
        low = TakeChar();
      }
      uint32_t high = low;
      if (Peek() == '-' && Peek(1) != ']' && Peek(1) != '\0') {
        ++at_;
        if (Peek() == '[' || (Peek() == '&' && Peek(1) == '&')) return Unsupported("a range to a class");
        if (Take("\\")) {
          ASSIGN_OR_RETURN(const std::optional<CharSet> escaped, EscapedSet(true));
          if (escaped) return Unsupported("a range to a property");
          ASSIGN_OR_RETURN(high, EscapedChar());
        } else {
          high = TakeChar();
        }
        if (low > high) return Invalid("a range whose ends are in the wrong order");
      }
      if (fold_) {
        if (high >= 0x80 || (low != high && high >= 'A' && low <= 'z')) return Unsupported("such a class in any case");
        AddFolded(low, &set);
      }
      set.Add(low, high);
    }
    ++at_;
    if (left) set.Intersect(*std::move(left));
    if (negative) set.Invert();
    return set;
  }

 public:
  // The other forms of an ASCII letter: also the long s and the Kelvin sign.
  static void AddFolded(uint32_t c, CharSet* set) {
    set->Add(c, c);
    const uint32_t lower = c | 0x20;
    if (lower < 'a' || lower > 'z') return;
    set->Add(lower, lower);
    set->Add(lower - 0x20, lower - 0x20);
    if (lower == 's') set->Add(0x17f, 0x17f);
    if (lower == 'k') set->Add(0x212a, 0x212a);
  }

 private:
  const std::string_view pattern_;
  size_t at_ = 0;
  bool fold_ = false;
};

// What a node may begin with; false if it may match nothing, so that what follows counts too.
bool AddFirst(const Node& node, CharSet* set) {
  switch (node.kind) {
    case Node::kChar:
      if (node.fold) {
        Parser::AddFolded(node.code_point, set);
      } else {
        set->Add(node.code_point, node.code_point);
      }
      return true;
    case Node::kSet:
      set->Add(node.set);
      return true;
    case Node::kAlternate: {
      bool all = true;
      for (const NodePtr& item : node.items) all = AddFirst(*item, set) && all;
      return all;
    }
    case Node::kConcat:
    case Node::kAtomic:
      for (const NodePtr& item : node.items) {
        if (AddFirst(*item, set)) return true;
      }
      return false;
    case Node::kRepeat:
      return AddFirst(*node.items[0], set) && node.min > 0;
    case Node::kLook:
    case Node::kAssert:
      return false;
  }
  return false;
}

}  // namespace

class RegexCompiler {
 public:
  static absl::StatusOr<Regex> Compile(std::string_view pattern) {
    ASSIGN_OR_RETURN(const NodePtr tree, Parser(pattern).Parse());
    if (WidthOf(*tree).least == 0) return absl::UnimplementedError("a pattern that may match nothing is not supported");
    RegexCompiler compiler;
    RETURN_IF_ERROR(compiler.Write(*tree));
    compiler.Emit(Instruction::kAccept);
    Regex& regex = compiler.regex_;
    AddFirst(*tree, &regex.first_);
    regex.first_.Freeze();
    regex.word_ = WordSet(false);
    regex.word_.Freeze();
    for (CharSet& set : regex.sets_) set.Freeze();
    return std::move(regex);
  }

 private:
  using Instruction = Regex::Instruction;

  uint32_t Here() const { return static_cast<uint32_t>(regex_.program_.size()); }
  uint32_t Emit(Instruction::Kind kind, bool flag = false, uint32_t a = 0) {
    Instruction instruction;
    instruction.kind = kind;
    instruction.flag = flag;
    instruction.a = a;
    regex_.program_.push_back(instruction);
    return Here() - 1;
  }
  Instruction& Code(uint32_t index) { return regex_.program_[index]; }

  uint32_t AddSet(CharSet set) {
    const auto& wanted = set.ranges();
    for (uint32_t i = 0; i < regex_.sets_.size(); ++i) {
      if (regex_.sets_[i].ranges() == wanted) return i;
    }
    regex_.sets_.push_back(std::move(set));
    return static_cast<uint32_t>(regex_.sets_.size() - 1);
  }

  // The set of a node that matches one character; none of another.
  static std::optional<CharSet> OneCharacter(const Node& node) {
    if (node.kind == Node::kConcat && node.items.size() == 1) return OneCharacter(*node.items[0]);
    if (node.kind == Node::kSet) return node.set;
    if (node.kind != Node::kChar) return std::nullopt;
    CharSet set;
    if (node.fold) {
      Parser::AddFolded(node.code_point, &set);
    } else {
      set.Add(node.code_point, node.code_point);
    }
    return set;
  }

  absl::Status Write(const Node& node) {
    if (regex_.program_.size() > kMostInstructions || regex_.sets_.size() > kMostSets) {
      return absl::UnimplementedError("a pattern this large is not supported");
    }
    switch (node.kind) {
      case Node::kChar:
        if (!node.fold) {
          std::string utf8;
          AppendUtf8(node.code_point, &utf8);
          for (char c : utf8) Emit(Instruction::kByte, false, static_cast<unsigned char>(c));
          return absl::OkStatus();
        }
        [[fallthrough]];
      case Node::kSet:
        Emit(Instruction::kSet, false, AddSet(*OneCharacter(node)));
        return absl::OkStatus();
      case Node::kConcat:
        for (const NodePtr& item : node.items) RETURN_IF_ERROR(Write(*item));
        return absl::OkStatus();
      case Node::kAlternate: {
        std::vector<uint32_t> jumps;
        for (size_t i = 0; i + 1 < node.items.size(); ++i) {
          const uint32_t split = Emit(Instruction::kSplit);
          Code(split).a = Here();
          RETURN_IF_ERROR(Write(*node.items[i]));
          jumps.push_back(Emit(Instruction::kJump));
          Code(split).b = Here();
        }
        RETURN_IF_ERROR(Write(*node.items.back()));
        for (uint32_t jump : jumps) Code(jump).a = Here();
        return absl::OkStatus();
      }
      case Node::kLook: {
        const uint32_t look = Emit(node.behind ? Instruction::kBehind : Instruction::kLook, node.negative);
        Code(look).min = node.min;
        return WriteInner(*node.items[0], look);
      }
      case Node::kAtomic:
        return WriteInner(*node.items[0], Emit(Instruction::kAtomic));
      case Node::kAssert:
        Emit(node.assert_kind, node.negative);
        return absl::OkStatus();
      case Node::kRepeat:
        return WriteRepeat(node);
    }
    return absl::OkStatus();
  }

  absl::Status WriteInner(const Node& node, uint32_t outer) {
    RETURN_IF_ERROR(Write(node));
    Emit(Instruction::kAccept);
    Code(outer).a = Here();
    return absl::OkStatus();
  }

  absl::Status WriteRepeat(const Node& node) {
    const Node& inner = *node.items[0];
    if (node.greed != Node::kLazy) {
      if (std::optional<CharSet> set = OneCharacter(inner)) {
        const uint32_t run = Emit(Instruction::kRun, node.greed == Node::kPossessive, AddSet(*std::move(set)));
        Code(run).min = node.min;
        Code(run).max = node.max;
        return absl::OkStatus();
      }
    }
    uint32_t atomic = 0;
    if (node.greed == Node::kPossessive) atomic = Emit(Instruction::kAtomic);
    for (uint32_t i = 0; i < node.min; ++i) RETURN_IF_ERROR(Write(inner));
    const bool lazy = node.greed == Node::kLazy;
    auto target = [&](uint32_t split, bool body) -> uint32_t& { return body != lazy ? Code(split).a : Code(split).b; };
    if (node.max == kNoLimit) {
      const uint32_t split = Emit(Instruction::kSplit);
      target(split, true) = Here();
      RETURN_IF_ERROR(Write(inner));
      Emit(Instruction::kJump, false, split);
      target(split, false) = Here();
    } else {
      std::vector<uint32_t> splits;
      for (uint32_t i = node.min; i < node.max; ++i) {
        splits.push_back(Emit(Instruction::kSplit));
        target(splits.back(), true) = Here();
        RETURN_IF_ERROR(Write(inner));
      }
      for (uint32_t split : splits) target(split, false) = Here();
    }
    if (node.greed == Node::kPossessive) {
      Emit(Instruction::kAccept);
      Code(atomic).a = Here();
    }
    return absl::OkStatus();
  }

  Regex regex_;
};

absl::StatusOr<Regex> Regex::Compile(std::string_view pattern) { return RegexCompiler::Compile(pattern); }

}  // namespace editd::text
