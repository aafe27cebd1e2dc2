// "Did you mean ...?": the candidate nearest to what was written.
#ifndef EDITD_STORAGE_BASE_NEAREST_H_
#define EDITD_STORAGE_BASE_NEAREST_H_

#include <span>
#include <string>
#include <string_view>

namespace editd {

// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
size_t EditDistance(std::string_view a, std::string_view b);

// The candidate nearest to `word`; empty if even that is too far to be what was meant (more than a third of the word,
// and more than two).
std::string Nearest(std::string_view word, std::span<const std::string> candidates);

// `; did you mean "smol-envi"?`, or nothing.
std::string DidYouMean(std::string_view word, std::span<const std::string> candidates);

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_NEAREST_H_
