// The parts of a tokenizer.json around the model: normalizer, pre-tokenizer, post-processor and decoder. Each function
// reads one, at `path`, into what it is for; errors are Tokenizer::FromJson's.
#ifndef EDITD_PLUGINS_LIB_TEXT_TOKENIZER_PARTS_H_
#define EDITD_PLUGINS_LIB_TEXT_TOKENIZER_PARTS_H_

#include <string>

#include "plugins/lib/text/json_reader.h"
#include "plugins/lib/text/tokenizer_json.h"

namespace editd::text {

absl::Status ParseNormalizer(const std::string& path, const element& value, Normalizer* normalizer);
// `*byte_level`: whether a ByteLevel was seen, which must be the last.
absl::Status ParsePreTokenizer(const std::string& path, const element& value, PreTokenizer* pre_tokenizer,
                               bool* byte_level);
absl::Status ParsePostProcessor(const std::string& path, const element& value, std::vector<PostProcessorStep>* steps);
absl::Status ParseDecoder(const std::string& path, const element& value, Decoder* decoder);

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_TOKENIZER_PARTS_H_
