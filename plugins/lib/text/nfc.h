// Unicode normalisation form C, exactly as the reference's normalizer "NFC" does it (its tables are of an older Unicode
// release than its regular expressions are; see tools/make_unicode_tables.py).
//
// Text that is already normal is recognised in one pass and not copied. Thread-safe: no state but constant tables.
#ifndef EDITD_PLUGINS_LIB_TEXT_NFC_H_
#define EDITD_PLUGINS_LIB_TEXT_NFC_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace editd::text {

// A part of the text that normalising replaced. Between such parts bytes correspond one to one.
struct NfcSpan {
  size_t source_begin, source_end;
  size_t normal_begin, normal_end;
};

// True if NFC leaves `text` (UTF-8) as it is without a closer look; false may also mean that nothing would change.
bool LooksNfc(std::string_view text);

// Sets `*out` to NFC of `text`. `spans`, where given, gets the parts that were looked at closely, in order.
void Nfc(std::string_view text, std::string* out, std::vector<NfcSpan>* spans = nullptr);

// Sets `bit` in flags[c] for each code point c that NFC may change or may join to what stands before it.
void MarkNfcUnstable(uint8_t* flags, uint8_t bit);

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_NFC_H_
