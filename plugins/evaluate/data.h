// The files of an evaluation, as documents.
//
// How a file is read depends on its content and the spec only, not on its name, so that the same spec and bytes are the
// same measurement.
#ifndef EDITD_PLUGINS_EVALUATE_DATA_H_
#define EDITD_PLUGINS_EVALUATE_DATA_H_

#include <simdjson.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "storage/base/status.h"

namespace editd::evaluate {

enum class Form { kByContent, kText, kJsonLines };

struct DataFile {
  std::string_view content;
  std::string name;  // For messages.
};

// Calls visit(line, object) for each line that is not blank; lines count from 1. INVALID_ARGUMENT with the line: not
// UTF-8, not JSON, no object; what visit returns gets name and line put before it.
absl::Status ForEachJsonLine(const DataFile& file,
                             const std::function<absl::Status(uint64_t, const simdjson::dom::object&)>& visit);

// Calls visit(line, text) for each document; line 0: the whole file. `field` holds the text of a JSON line.
absl::Status ForEachText(const DataFile& file, Form form, std::string_view field,
                         const std::function<absl::Status(uint64_t line, std::string_view text)>& visit);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_DATA_H_
