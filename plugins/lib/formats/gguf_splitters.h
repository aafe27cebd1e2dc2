// The splitters that a GGUF file only names (tokenizer.ggml.pre), as the regular expressions that llama.cpp has for
// these names; where it has a rewritten one beside that of the model's tokenizer.json, the latter. gguf_tokenizer.cc
// has those of SmolLM2, GPT-2, Qwen 2 and Llama 3, just as their tokenizer.json have them.
//
// Functions without state; any thread may call them.
#ifndef EDITD_PLUGINS_LIB_FORMATS_GGUF_SPLITTERS_H_
#define EDITD_PLUGINS_LIB_FORMATS_GGUF_SPLITTERS_H_

#include <string>
#include <string_view>
#include <vector>

namespace editd::formats {

struct GgufSplitter {
  std::vector<std::string_view>
      patterns;      // One cuts what the one before has left; matches are pieces, and what is between.
  bool nfc = false;  // The text is normalised first.
  bool ignore_merges = false;
  bool add_bos = false;  // Unless the file says otherwise.

  // As pre_tokenizer of a tokenizer.json.
  std::string PreTokenizer() const;
};

// Null if we do not know the name.
const GgufSplitter* FindGgufSplitter(std::string_view name);

// All that are known.
std::vector<std::string_view> GgufSplitterNames();

}  // namespace editd::formats

#endif  // EDITD_PLUGINS_LIB_FORMATS_GGUF_SPLITTERS_H_
