#include "storage/base/memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
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
  constexpr size_t kBlock = 100'000'000;
  const uint64_t before = AnonymousBytes("self");
  // Not by an allocator, which may keep what it was given back, as sanitizers' do.
  void* const block = ::mmap(nullptr, kBlock, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(block, MAP_FAILED);
  std::memset(block, 'x', kBlock);
  EXPECT_GE(AnonymousBytes("self"), before + 90'000'000u);
  ASSERT_EQ(::munmap(block, kBlock), 0);
  EXPECT_LT(AnonymousBytes("self"), before + 50'000'000u);
}

TEST(PeakResidentBytes, OfNoProcessIsZero) { EXPECT_EQ(PeakResidentBytes("999999999"), 0u); }

}  // namespace
}  // namespace editd
