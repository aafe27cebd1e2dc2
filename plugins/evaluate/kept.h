// What a measurement keeps for a later attempt at the same job, as bytes: numbers as they lie in memory, since only the
// same build of the plugin reads them again. The host has checked that they are whole.
//
// Thread-compatible.
#ifndef EDITD_PLUGINS_EVALUATE_KEPT_H_
#define EDITD_PLUGINS_EVALUATE_KEPT_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "plugins/evaluate/stopwatch.h"

namespace editd::evaluate {

// Between a measurement and who keeps its bytes.
struct Keeping {
  // Of an earlier attempt; empty: none.
  std::string_view last;
  // Called twice a second at most, and when the measurement ends, early or not.
  std::function<void(std::string_view bytes)> save;
  // Called once if the measurement goes on from `last`: what is done already.
  std::function<void(uint64_t documents, uint64_t tokens)> went_on;
};

// When to keep what is done: twice a second, but in at most a twentieth of the time.
class KeepPace {
 public:
  bool due() const { return since_.seconds() >= std::max(0.5, 20 * cost_); }
  // `watch` was started when keeping was.
  void Kept(const Stopwatch& watch) {
    cost_ = watch.seconds();
    since_ = Stopwatch();
  }

 private:
  Stopwatch since_;
  double cost_ = 0;
};

class KeptWriter {
 public:
  template <typename T>
  void Put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  template <typename T>
  void PutAll(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    Put<uint64_t>(values.size());
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  void PutBytes(std::string_view bytes) {
    Put<uint64_t>(bytes.size());
    bytes_.append(bytes);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// False once something is missing; what was read then does not count.
class KeptReader {
 public:
  explicit KeptReader(std::string_view bytes) : rest_(bytes) {}
  template <typename T>
  bool Get(T* value) {
    if (rest_.size() < sizeof(T)) return false;
    std::memcpy(static_cast<void*>(value), rest_.data(), sizeof(T));
    rest_.remove_prefix(sizeof(T));
    return true;
  }
  template <typename T>
  bool GetAll(std::vector<T>* values) {
    uint64_t count = 0;
    if (!Get(&count) || count > rest_.size() / sizeof(T)) return false;
    values->resize(count);
    if (count > 0) std::memcpy(static_cast<void*>(values->data()), rest_.data(), count * sizeof(T));
    rest_.remove_prefix(count * sizeof(T));
    return true;
  }
  bool GetBytes(std::string_view* bytes) {
    uint64_t count = 0;
    if (!Get(&count) || count > rest_.size()) return false;
    *bytes = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return true;
  }
  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_KEPT_H_
