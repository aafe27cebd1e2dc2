// An answer is cut into words (runs of letters and digits, in lower case) and what stands between them; all rules look
// at these only. A cue is a word or two that announces an answer; after it come words that may stand between ("đúng
// nhất", "của tôi") and perhaps a link: a colon, an equals sign, "là" or "is". A sentence's end before the letter ends
// the search.
#include "plugins/evaluate/answer_letter.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <vector>

#include "plugins/lib/text/nfc.h"
#include "plugins/lib/text/unicode.h"

namespace editd::evaluate {
namespace {

struct Word {
  std::string text;    // In lower case.
  std::string before;  // What stands between it and the word before.
  bool capital;        // Begins with one of A to Z.
};

struct Words {
  std::vector<Word> all;
  std::string after;  // The last.

  const std::string& behind(size_t i) const { return i + 1 < all.size() ? all[i + 1].before : after; }
};

// Lower case of Latin letters, which is all that the rules know.
uint32_t Lower(uint32_t c) {
  if (c >= 'A' && c <= 'Z') return c + 32;
  if (c >= 0xc0 && c <= 0xde && c != 0xd7) return c + 32;
  const bool even_is_capital = (c >= 0x100 && c <= 0x137) || c == 0x1a0 || (c >= 0x1e00 && c <= 0x1eff);
  if ((even_is_capital && c % 2 == 0) || c == 0x1af) return c + 1;
  return c;
}

Words WordsOf(std::string_view text) {
  const std::string normal = text::NormalizeForm(text::Form::kNfc, text);
  Words out;
  std::string between;
  bool in_word = false;
  const char* const end = normal.data() + normal.size();
  for (const char* p = normal.data(); p < end;) {
    int length = 1;
    const uint32_t c = text::DecodeUtf8(p, end, &length);
    if (text::CodePointFlags()[c] & (text::kLetter | text::kNumber)) {
      if (!in_word) out.all.push_back({"", std::move(between), c >= 'A' && c <= 'Z'});
      if (!in_word) between.clear();
      text::AppendUtf8(Lower(c), &out.all.back().text);
      in_word = true;
    } else {
      between.append(p, static_cast<size_t>(length));
      in_word = false;
    }
    p += length;
  }
  out.after = std::move(between);
  return out;
}

template <size_t n>
bool IsOne(std::string_view word, const char* const (&of)[n]) {
  return std::find(std::begin(of), std::end(of), word) != std::end(of);
}

// First and second word; the second may be empty. Those that choose go before those that only name a choice.
struct Cue {
  const char *first, *second;
  bool chooses;
};
constexpr Cue kCues[] = {{"đáp", "án", true},     {"trả", "lời", true},   {"chọn", "", true},    {"answer", "", true},
                         {"choose", "", true},    {"select", "", true},   {"pick", "", true},    {"boxed", "", true},
                         {"phương", "án", false}, {"lựa", "chọn", false}, {"option", "", false}, {"choice", "", false}};
const char* const kBetween[] = {"đúng",   "nhất",   "chính",   "xác",    "cuối", "cùng",  "của",  "tôi",
                                "em",     "câu",    "hỏi",     "này",    "trên", "phù",   "hợp",  "sẽ",
                                "đáp",    "án",     "chọn",    "phương", "lựa",  "trả",   "lời",  "chữ",
                                "cái",    "the",    "correct", "final",  "best", "right", "most", "likely",
                                "option", "choice", "answer",  "letter", "text", "would", "be"};
const char* const kAnd[] = {"và", "and", "hoặc", "or", "hay"};
const char* const kAfterAnA[] = {"là", "is", "đúng", "vì", "because", "và", "and", "hoặc", "or"};

class Reader {
 public:
  Reader(std::string_view answer, std::span<const std::string> choices)
      : words_(WordsOf(answer)), size_(words_.all.size()) {
    for (const std::string& choice : choices) choices_.push_back(WordsOf(choice));
  }

  std::optional<size_t> Read() {
    FindAfterCues();
    if (!linked_.empty()) return linked_.back();
    if (const auto first = FirstWord()) return first;
    if (const auto text = ChoiceText(0, size_)) return text;
    if (text_after_link_.has_value()) return text_after_link_;
    for (const std::vector<size_t>* found : {&chosen_, &named_}) {
      const bool one = std::adjacent_find(found->begin(), found->end(), std::not_equal_to<>()) == found->end();
      if (!found->empty()) return one ? std::optional(found->front()) : std::nullopt;
    }
    return OnlyCapital();
  }

 private:
  const Word& word(size_t i) const { return words_.all[i]; }

  // The choice whose letter word i is. A small letter counts only where nothing follows in its sentence.
  std::optional<size_t> LetterAt(size_t i) const {
    if (i >= size_ || word(i).text.size() != 1) return std::nullopt;
    const auto choice = static_cast<size_t>(word(i).text[0] - 'a');
    if (choice >= choices_.size()) return std::nullopt;
    const std::string& behind = words_.behind(i);
    if (!word(i).capital && i + 1 < size_ && behind.find_first_of(".):]}*\"'\n,") != 0) return std::nullopt;
    return choice;
  }
  // Another letter of a choice stands beside that of word i.
  bool OneOfSeveral(size_t i) const {
    const auto letter = [&](size_t k) { return k < size_ && word(k).capital && LetterAt(k).has_value(); };
    const auto joins = [&](size_t k) { return words_.behind(k).find_first_not_of(" ,/&+") == std::string::npos; };
    if (i + 1 < size_ && letter(i + 1) && joins(i)) return true;
    return i + 2 < size_ && IsOne(word(i + 1).text, kAnd) && letter(i + 2) && joins(i) && joins(i + 1);
  }
  static bool EndsSentence(std::string_view between) { return between.find_first_of(".?!;,\n") != std::string::npos; }
  static bool Links(std::string_view between) {
    return between.find_first_of(":=") != std::string::npos || between.find("：") != std::string::npos;
  }

  void FindAfterCues() {
    for (size_t i = 0; i < size_; ++i) {
      for (const Cue& cue : kCues) {
        const size_t length = *cue.second == '\0' ? 1 : 2;
        if (word(i).text != cue.first || (length == 2 && (i + 1 >= size_ || word(i + 1).text != cue.second))) continue;
        const bool negated = i > 0 && (word(i - 1).text == "không" || word(i - 1).text == "not");
        if (negated && word(i).before.find_first_not_of(' ') == std::string::npos) continue;
        After(i + length, cue);
      }
    }
  }
  void After(size_t i, const Cue& cue) {
    bool linked = std::string_view(cue.first) == "boxed";
    for (const size_t last = i + 8; i < size_ && i < last; ++i) {
      const std::string& between = word(i).before;
      if (!linked && Links(between)) {
        linked = true;
      } else if (EndsSentence(between) && !(linked && between.find_first_of(".?!;,") == std::string::npos)) {
        return;
      }
      if (const auto letter = LetterAt(i)) {
        if (OneOfSeveral(i)) return;
        (linked ? linked_ : cue.chooses ? chosen_ : named_).push_back(*letter);
        return;
      }
      if (word(i).text == "là" || word(i).text == "is") {
        linked = true;
      } else if (!IsOne(word(i).text, kBetween)) {
        break;
      }
    }
    if (!linked || i >= size_) return;
    size_t end = i + 1;
    while (end < size_ && word(end).before.find('\n') == std::string::npos) ++end;
    if (const auto text = ChoiceText(i, end)) text_after_link_ = text;
  }

  std::optional<size_t> FirstWord() const {
    const auto letter = LetterAt(0);
    if (!letter.has_value() || OneOfSeveral(0)) return std::nullopt;
    const std::string& behind = words_.behind(0);
    const bool mark = behind.find_first_not_of(' ') != std::string::npos;
    // "A cat ..." is a sentence, "a cat" too.
    const bool article = word(0).text == "a" || word(0).text == "i";
    if (size_ > 1 && !mark && article && !IsOne(word(1).text, kAfterAnA)) return std::nullopt;
    // A list of the choices is no answer.
    for (size_t i = 1; i < size_; ++i) {
      const auto other = LetterAt(i);
      if (other.has_value() && *other != *letter && word(i).before.find('\n') != std::string::npos &&
          words_.behind(i).find_first_of(".):") == 0) {
        return std::nullopt;
      }
    }
    return letter;
  }

  // The choice that words [begin, end) spell.
  std::optional<size_t> ChoiceText(size_t begin, size_t end) const {
    std::optional<size_t> out;
    for (size_t c = 0; c < choices_.size(); ++c) {
      const Words& choice = choices_[c];
      const bool same =
          !choice.all.empty() && choice.all.size() == end - begin &&
          std::equal(choice.all.begin(), choice.all.end(), words_.all.begin() + static_cast<ptrdiff_t>(begin),
                     [](const Word& a, const Word& b) { return a.text == b.text; });
      if (!same) continue;
      if (out.has_value()) return std::nullopt;
      out = c;
    }
    return out;
  }

  std::optional<size_t> OnlyCapital() const {
    std::optional<size_t> out;
    for (size_t i = 0; i < size_; ++i) {
      const auto letter = LetterAt(i);
      if (!letter.has_value() || !word(i).capital) continue;
      const bool article = (word(i).text == "a" || word(i).text == "i") && i + 1 < size_ &&
                           words_.behind(i).find_first_not_of(' ') == std::string::npos;
      if (article && !IsOne(word(i + 1).text, kAfterAnA)) continue;
      if (out.has_value() && *out != *letter) return std::nullopt;
      out = letter;
    }
    return out;
  }

  std::vector<Words> choices_;
  const Words words_;
  const size_t size_;
  std::vector<size_t> linked_, chosen_, named_;
  std::optional<size_t> text_after_link_;
};

}  // namespace

std::optional<size_t> ChoiceMeant(std::string_view answer, std::span<const std::string> choices) {
  constexpr std::string_view kThought = "</think>";
  const size_t thought = answer.rfind(kThought);
  if (thought != std::string_view::npos) {
    answer.remove_prefix(thought + kThought.size());
  } else if (answer.find("<think>") != std::string_view::npos) {
    return std::nullopt;
  }
  return Reader(answer, choices).Read();
}

}  // namespace editd::evaluate
