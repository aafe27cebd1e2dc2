// Reads the members of a tokenizer.json strictly: every error begins with the place ("pre_tokenizer.type"), and a key
// that nobody asked for is refused, for it may change what the others mean.
//
// Thread-compatible; values live as long as their parser.
#ifndef EDITD_PLUGINS_LIB_TEXT_JSON_READER_H_
#define EDITD_PLUGINS_LIB_TEXT_JSON_READER_H_

#include <simdjson.h>

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "plugins/lib/text/bpe.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::text {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

// More would make tables by id too large; no vocabulary comes near.
inline constexpr uint64_t kMaxId = (1u << 21) - 1;

inline std::string Shown(const element& value) {
  std::string text = simdjson::minify(value);
  if (text.size() > 300) text = text.substr(0, 300) + "...";
  return text;
}

inline absl::Status Invalid(std::string_view path, std::string_view what) {
  return absl::InvalidArgumentError(StrCat("tokenizer.json: ", path, ": ", what));
}

inline absl::Status Unsupported(std::string_view path, const element& value) {
  return absl::UnimplementedError(StrCat("tokenizer.json: ", path, ": ", Shown(value), " is not supported"));
}

inline std::string Member(std::string_view path, std::string_view key) {
  return path.empty() ? std::string(key) : StrCat(path, ".", key);
}
inline std::string Item(std::string_view path, size_t index) { return StrCat(path, "[", index, "]"); }

// Reads members of an object, and refuses those that nobody asked for.
class Reader {
 public:
  Reader(std::string path, object members) : path_(std::move(path)), members_(members) {}

  static absl::StatusOr<Reader> Of(std::string path, const element& value) {
    object members;
    if (value.get(members)) return Invalid(path, StrCat("expected an object, not ", Shown(value)));
    return Reader(std::move(path), members);
  }

  std::string Path(std::string_view key) const { return Member(path_, key); }

  absl::Status OnlyKeys(std::initializer_list<std::string_view> keys) const {
    for (auto member : members_) {
      if (std::find(keys.begin(), keys.end(), member.key) == keys.end()) {
        return absl::UnimplementedError(StrCat("tokenizer.json: ", Path(member.key), " is not supported"));
      }
    }
    return absl::OkStatus();
  }

  std::optional<element> Find(std::string_view key) const {
    element value;
    if (members_.at_key(key).get(value)) return std::nullopt;
    return value;
  }
  // The same, but null counts as missing.
  std::optional<element> FindValue(std::string_view key) const {
    std::optional<element> value = Find(key);
    return value && value->is_null() ? std::nullopt : value;
  }

  absl::StatusOr<element> Get(std::string_view key) const {
    std::optional<element> value = Find(key);
    if (!value) return Invalid(Path(key), "missing");
    return *value;
  }
  absl::StatusOr<bool> GetBool(std::string_view key) const {
    ASSIGN_OR_RETURN(const element value, Get(key));
    bool result;
    if (value.get(result)) return Invalid(Path(key), StrCat("expected true or false, not ", Shown(value)));
    return result;
  }
  absl::StatusOr<bool> GetBool(std::string_view key, bool missing) const {
    return FindValue(key) ? GetBool(key) : absl::StatusOr<bool>(missing);
  }
  absl::StatusOr<std::string_view> GetString(std::string_view key) const {
    ASSIGN_OR_RETURN(const element value, Get(key));
    std::string_view result;
    if (value.get(result)) return Invalid(Path(key), StrCat("expected a string, not ", Shown(value)));
    return result;
  }
  absl::StatusOr<array> GetArray(std::string_view key) const {
    ASSIGN_OR_RETURN(const element value, Get(key));
    array result;
    if (value.get(result)) return Invalid(Path(key), StrCat("expected an array, not ", Shown(value)));
    return result;
  }
  absl::StatusOr<object> GetObject(std::string_view key) const {
    ASSIGN_OR_RETURN(const element value, Get(key));
    object result;
    if (value.get(result)) return Invalid(Path(key), StrCat("expected an object, not ", Shown(value)));
    return result;
  }

 private:
  std::string path_;
  object members_;
};

inline absl::StatusOr<TokenId> GetId(const std::string& path, const element& value) {
  uint64_t id;
  if (value.get(id)) return Invalid(path, StrCat("expected an id, not ", Shown(value)));
  if (id > kMaxId) return Invalid(path, StrCat("id ", id, " is above ", kMaxId));
  return static_cast<TokenId>(id);
}

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_JSON_READER_H_
