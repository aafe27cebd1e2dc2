#include "storage/base/memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>

namespace editd {
namespace {

TEST(PeakResidentBytes, StaysAfterTheMemoryIsGone) {
  const uint64_t before = PeakResidentBytes("self");
  EXPECT_GT(before, 1'000'000u);
  { const std::string block(100'000'000, 'x'); }
  EXPECT_GE(PeakResidentBytes("self"), 100'000'000u);
  EXPECT_GE(PeakResidentBytes(std::to_string(::getpid())), 100'000'000u);
}

TEST(AnonymousBytes, AreThoseOfNow) {
  const uint64_t before = AnonymousBytes("self");
  {
    const std::string block(100'000'000, 'x');
    EXPECT_GE(AnonymousBytes("self"), before + 90'000'000u);
  }
  EXPECT_LT(AnonymousBytes("self"), before + 50'000'000u);
}

TEST(PeakResidentBytes, OfNoProcessIsZero) { EXPECT_EQ(PeakResidentBytes("999999999"), 0u); }

}  // namespace
}  // namespace editd
