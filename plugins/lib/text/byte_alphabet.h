// The alphabet in which byte-level tokenizers write bytes: each of the 256 as one printable character of one or two
// UTF-8 bytes (GPT-2's table: "!" stands for itself, "Ġ" for the space).
//
// Constant tables; any thread may read.
#ifndef EDITD_PLUGINS_LIB_TEXT_BYTE_ALPHABET_H_
#define EDITD_PLUGINS_LIB_TEXT_BYTE_ALPHABET_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace editd::text {

// The code point that stands for `byte`: below U+0144.
uint32_t ByteToAlphabet(uint8_t byte);

// "thÃ¡ÂºÂ¿" for "thế".
std::string ToAlphabet(std::string_view bytes);
void AppendAlphabet(std::string_view bytes, std::string* out);

// Appends the bytes that `text` stands for; false, and nothing appended, if a character is not of the alphabet.
bool AppendFromAlphabet(std::string_view text, std::string* bytes);

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_BYTE_ALPHABET_H_
