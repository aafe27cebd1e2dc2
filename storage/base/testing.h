// Test helpers: status matchers and a temporary folder.
#ifndef EDITD_STORAGE_BASE_TESTING_H_
#define EDITD_STORAGE_BASE_TESTING_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/status.h"

namespace editd {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& value) {
  return value.status();
}

// EXPECT_THAT(f(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("smol")))
MATCHER_P2(StatusIs, code, message, "") {
  const absl::Status& status = StatusOf(arg);
  *result_listener << status.ToString();
  return status.code() == code && ::testing::Matches(message)(std::string(status.message()));
}

// A folder of its own, removed with its content.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = std::filesystem::temp_directory_path() / "editd-test-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace editd

#define EXPECT_OK(expression)                                                                        \
  do {                                                                                               \
    const auto& editd_result = (expression);                                                         \
    EXPECT_TRUE(::editd::StatusOf(editd_result).ok()) << ::editd::StatusOf(editd_result).ToString(); \
  } while (false)
#define ASSERT_OK(expression)                                                                        \
  do {                                                                                               \
    const auto& editd_result = (expression);                                                         \
    ASSERT_TRUE(::editd::StatusOf(editd_result).ok()) << ::editd::StatusOf(editd_result).ToString(); \
  } while (false)
// ASSERT_OK_AND_ASSIGN(auto x, f());
#define ASSERT_OK_AND_ASSIGN(target, expression) \
  EDITD_ASSERT_OK_AND_ASSIGN(EDITD_CONCAT(editd_status_or_, __LINE__), target, expression)
#define EDITD_ASSERT_OK_AND_ASSIGN(status_or, target, expression) \
  auto status_or = (expression);                                  \
  ASSERT_TRUE(status_or.ok()) << status_or.status().ToString();   \
  target = *std::move(status_or)

#endif  // EDITD_STORAGE_BASE_TESTING_H_
