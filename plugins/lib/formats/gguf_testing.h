// Makes GGUF files for tests, right ones and wrong ones.
#ifndef EDITD_PLUGINS_LIB_FORMATS_GGUF_TESTING_H_
#define EDITD_PLUGINS_LIB_FORMATS_GGUF_TESTING_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/lib/formats/gguf.h"

namespace editd::formats {

class GgufWriter {
 public:
  template <typename T>
  static std::string Raw(T value) {
    std::string out(sizeof(value), '\0');
    std::memcpy(out.data(), &value, sizeof(value));
    return out;
  }
  static std::string Text(std::string_view text) { return Raw<uint64_t>(text.size()) + std::string(text); }

  GgufWriter& Value(std::string_view key, GgufType type, const std::string& bytes) {
    values_ += Text(key) + Raw(static_cast<uint32_t>(type)) + bytes;
    ++keys_;
    return *this;
  }
  GgufWriter& U32(std::string_view key, uint32_t value) { return Value(key, GgufType::kU32, Raw(value)); }
  GgufWriter& F32(std::string_view key, float value) { return Value(key, GgufType::kF32, Raw(value)); }
  GgufWriter& Bool(std::string_view key, bool value) { return Value(key, GgufType::kBool, std::string(1, value)); }
  GgufWriter& String(std::string_view key, std::string_view text) { return Value(key, GgufType::kString, Text(text)); }
  GgufWriter& Strings(std::string_view key, const std::vector<std::string>& strings) {
    std::string bytes = Raw(static_cast<uint32_t>(GgufType::kString)) + Raw<uint64_t>(strings.size());
    for (const std::string& text : strings) bytes += Text(text);
    return Value(key, GgufType::kArray, bytes);
  }
  GgufWriter& Integers(std::string_view key, const std::vector<int32_t>& numbers) {
    std::string bytes = Raw(static_cast<uint32_t>(GgufType::kI32)) + Raw<uint64_t>(numbers.size());
    for (const int32_t number : numbers) bytes += Raw(number);
    return Value(key, GgufType::kArray, bytes);
  }
  GgufWriter& Numbers(std::string_view key, const std::vector<float>& numbers) {
    std::string bytes = Raw(static_cast<uint32_t>(GgufType::kF32)) + Raw<uint64_t>(numbers.size());
    for (const float number : numbers) bytes += Raw(number);
    return Value(key, GgufType::kArray, bytes);
  }
  // `shape` row-major. The data is `bytes`; its offset is right unless given.
  GgufWriter& Tensor(std::string_view name, uint32_t type, const std::vector<int64_t>& shape, const std::string& bytes,
                     int64_t offset = -1) {
    data_.resize((data_.size() + 31) / 32 * 32);
    infos_ += Text(name) + Raw(static_cast<uint32_t>(shape.size()));
    for (size_t i = shape.size(); i-- > 0;) infos_ += Raw(shape[i]);
    infos_ += Raw(type) + Raw<uint64_t>(offset < 0 ? data_.size() : static_cast<uint64_t>(offset));
    data_ += bytes;
    ++tensors_;
    return *this;
  }
  GgufWriter& Floats(std::string_view name, const std::vector<int64_t>& shape, const std::vector<float>& values) {
    return Tensor(name, 0, shape, std::string(reinterpret_cast<const char*>(values.data()), values.size() * 4));
  }
  std::string Build(uint32_t version = 3) const {
    std::string out = "GGUF" + Raw(version) + Raw<uint64_t>(tensors_) + Raw<uint64_t>(keys_) + values_ + infos_;
    out.resize((out.size() + 31) / 32 * 32);
    return out + data_;
  }

 private:
  uint64_t keys_ = 0, tensors_ = 0;
  std::string values_, infos_, data_;
};

}  // namespace editd::formats

#endif  // EDITD_PLUGINS_LIB_FORMATS_GGUF_TESTING_H_
