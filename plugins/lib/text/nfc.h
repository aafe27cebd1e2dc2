// Unicode normalisation forms, exactly as the reference's normalizers do them (their tables are of an older Unicode
// release than its regular expressions are; see tools/make_unicode_tables.py).
//
// Text that is already normal is recognised in one pass and not copied. Thread-safe: no state but constant tables.
#ifndef EDITD_PLUGINS_LIB_TEXT_NFC_H_
#define EDITD_PLUGINS_LIB_TEXT_NFC_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "plugins/lib/text/normal_text.h"

namespace editd::text {

enum class Form : uint8_t { kNfc, kNfd, kNfkc, kNfkd };

// True if the form leaves `text` (UTF-8) as it is without a closer look; false may also mean that nothing would change.
bool LooksNormal(Form form, std::string_view text);

// Writes the form of `in`, all of it.
void NormalizeForm(Form form, const NormalText& in, NormalWriter* writer);

// The form of a text alone.
std::string NormalizeForm(Form form, std::string_view text);

// Sets `bit` in flags[c] for each code point c that the form may change or may join to what stands before it.
void MarkUnstable(Form form, uint8_t* flags, uint8_t bit);

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_NFC_H_
