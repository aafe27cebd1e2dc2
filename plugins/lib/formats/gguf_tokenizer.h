// A GGUF file's tokenizer as Hugging Face's files.
//
// GGUF has tokens, their types, merges and the name of the splitter ("pre"); tokenizer.json has all that spelled out.
// The splitters and the rest of each pipeline are as in the models' original files, so that text gets the same ids.
// A splitter that is not known is refused by name: guessing one would give other ids without a word.
#ifndef EDITD_PLUGINS_LIB_FORMATS_GGUF_TOKENIZER_H_
#define EDITD_PLUGINS_LIB_FORMATS_GGUF_TOKENIZER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/lib/formats/gguf.h"
#include "plugins/lib/formats/json.h"

namespace editd::formats {

struct GgufTokenizer {
  // tokenizer.json, tokenizer_config.json, generation_config.json and, if there is one, chat_template.jinja.
  std::vector<std::pair<std::string, std::string>> files;
  std::optional<int64_t> bos, eos, pad;
  int64_t used = 0;  // Ids that have a token.
  std::vector<std::string> remarks;
};

// `rows` is the embedding's. `name` is for messages.
absl::StatusOr<GgufTokenizer> ConvertGgufTokenizer(const GgufFile& gguf, int64_t rows, std::string_view name);

// Sets bos_token_id, eos_token_id and pad_token_id of a config.json; null where there is none.
void SetTokenIds(const GgufTokenizer& tokenizer, Json* config);

}  // namespace editd::formats

#endif  // EDITD_PLUGINS_LIB_FORMATS_GGUF_TOKENIZER_H_
