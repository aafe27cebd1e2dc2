#include "plugins/lib/text/decoder.h"

#include <algorithm>

#include "plugins/lib/text/byte_alphabet.h"
#include "plugins/lib/text/unicode.h"

namespace editd::text {
namespace {

std::string Replaced(const DecoderStep& step, std::string_view token) {
  std::string out;
  size_t done = 0;
  step.pattern->ForEach(token, [&](size_t begin, size_t end) {
    out.append(token.substr(done, begin - done)).append(step.content);
    done = end;
  });
  return out.append(token.substr(done));
}

std::string Stripped(const DecoderStep& step, std::string_view token) {
  const std::string_view c = step.content;
  for (size_t i = 0; i < step.start && token.starts_with(c); ++i) token.remove_prefix(c.size());
  for (size_t i = 0; i < step.stop && token.ends_with(c); ++i) token.remove_suffix(c.size());
  return std::string(token);
}

std::string WithoutMetaspace(const DecoderStep& step, std::string_view token, bool first) {
  std::string out;
  size_t done = 0;
  for (size_t at = token.find(step.content); at != std::string_view::npos; at = token.find(step.content, done)) {
    out.append(token.substr(done, at - done));
    if (!first || !step.strips_first) out.push_back(' ');
    done = at + step.content.size();
  }
  return out.append(token.substr(done));
}

// Runs of byte tokens as text: each byte of a run that is no UTF-8 becomes U+FFFD.
std::vector<std::string> FallBack(std::vector<std::string> tokens, bool raw) {
  std::vector<std::string> out;
  std::string run;
  auto end_run = [&] {
    if (run.empty()) return;
    if (raw || FirstInvalidUtf8(run) == run.size()) {
      out.push_back(run);
    } else {
      out.insert(out.end(), run.size(), "\xef\xbf\xbd");
    }
    run.clear();
  };
  for (std::string& token : tokens) {
    const int byte = ByteOfToken(token);
    if (byte >= 0) {
      run.push_back(static_cast<char>(byte));
    } else {
      end_run();
      out.push_back(std::move(token));
    }
  }
  end_run();
  return out;
}

std::string Fused(const std::vector<std::string>& tokens) {
  std::string out;
  for (const std::string& token : tokens) out += token;
  return out;
}

void AppendAlphabetBytes(std::string_view token, std::string* bytes) {
  if (!AppendFromAlphabet(token, bytes)) bytes->append(token);
}

}  // namespace

int ByteOfToken(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  // As Rust reads a number: "+A" is one, too.
  int byte = 0, digits = 0;
  for (size_t i = 3; i < 5; ++i) {
    const char c = token[i], lower = static_cast<char>(c | 0x20);
    if (c == '+' && i == 3) continue;
    if (c >= '0' && c <= '9') {
      byte = byte * 16 + (c - '0');
    } else if (lower >= 'a' && lower <= 'f') {
      byte = byte * 16 + (lower - 'a' + 10);
    } else {
      return -1;
    }
    ++digits;
  }
  return digits > 0 ? byte : -1;
}

bool Decoder::IsByteLevel() const {
  return !steps_.empty() && steps_[0].kind == DecoderStep::kByteLevel &&
         std::all_of(steps_.begin() + 1, steps_.end(),
                     [](const DecoderStep& s) { return s.kind == DecoderStep::kFuse; });
}

std::string Decoder::Decode(std::vector<std::string> tokens, bool raw) const {
  if (!present_) {
    std::string out;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) out.push_back(' ');
      out += tokens[i];
    }
    return out;
  }
  for (const DecoderStep& step : steps_) {
    switch (step.kind) {
      case DecoderStep::kByteLevel: {
        std::string bytes;
        for (const std::string& token : tokens) AppendAlphabetBytes(token, &bytes);
        tokens = {raw ? bytes : Utf8Lossy(bytes)};
        break;
      }
      case DecoderStep::kFuse:
        tokens = {Fused(tokens)};
        break;
      case DecoderStep::kReplace:
        for (std::string& token : tokens) token = Replaced(step, token);
        break;
      case DecoderStep::kByteFallback:
        tokens = FallBack(std::move(tokens), raw);
        break;
      case DecoderStep::kStrip:
        for (std::string& token : tokens) token = Stripped(step, token);
        break;
      case DecoderStep::kMetaspace:
        for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = WithoutMetaspace(step, tokens[i], i == 0);
        break;
    }
  }
  return Fused(tokens);
}

void Decoder::AppendBytes(std::string_view token, std::string* bytes) const {
  std::string text(token);
  for (const DecoderStep& step : steps_) {
    switch (step.kind) {
      case DecoderStep::kByteLevel: {
        std::string decoded;
        AppendAlphabetBytes(text, &decoded);
        text = std::move(decoded);
        break;
      }
      case DecoderStep::kReplace:
        text = Replaced(step, text);
        break;
      case DecoderStep::kByteFallback:
        if (const int byte = ByteOfToken(text); byte >= 0) text.assign(1, static_cast<char>(byte));
        break;
      case DecoderStep::kMetaspace:
        text = WithoutMetaspace(step, text, false);
        break;
      case DecoderStep::kFuse:
      case DecoderStep::kStrip:
        break;
    }
  }
  bytes->append(text);
}

}  // namespace editd::text
