#include "storage/base/frame.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd {
namespace {

using ::testing::HasSubstr;

class FrameTest : public ::testing::Test {
 protected:
  FrameTest() : FrameTest(*FrameSocket::Pair()) {}
  explicit FrameTest(std::pair<UniqueFd, UniqueFd> pair) : a_(std::move(pair.first)), b_(std::move(pair.second)) {}

  // A descriptor of a file that holds `content`.
  UniqueFd FileWith(const std::string& content) {
    const std::string path = dir_ / content;
    EXPECT_OK(WriteFileAtomically(path, content));
    return *OpenForRead(path);
  }
  static std::string ContentOf(int fd) {
    char buffer[64];
    const ssize_t n = ::pread(fd, buffer, sizeof(buffer), 0);
    return std::string(buffer, n < 0 ? 0 : static_cast<size_t>(n));
  }

  TemporaryDirectory dir_;
  FrameSocket a_, b_;
};

TEST_F(FrameTest, ArriveInOrderWithTheirDescriptors) {
  UniqueFd one = FileWith("one"), two = FileWith("two");
  ASSERT_OK(a_.Send("plain"));
  const int first[] = {one.get()}, second[] = {two.get(), one.get()};
  ASSERT_OK(a_.Send("first", first));
  ASSERT_OK(a_.Send("second", second));
  ASSERT_OK(a_.Send(""));
  ASSERT_OK_AND_ASSIGN(Frame frame, b_.Receive());
  EXPECT_EQ(frame.message, "plain");
  EXPECT_TRUE(frame.descriptors.empty());
  ASSERT_OK_AND_ASSIGN(frame, b_.Receive());
  EXPECT_EQ(frame.message, "first");
  ASSERT_EQ(frame.descriptors.size(), 1u);
  EXPECT_EQ(ContentOf(frame.descriptors[0].get()), "one");
  EXPECT_TRUE(::fcntl(frame.descriptors[0].get(), F_GETFD) & FD_CLOEXEC);
  ASSERT_OK_AND_ASSIGN(frame, b_.Receive());
  EXPECT_EQ(frame.message, "second");
  ASSERT_EQ(frame.descriptors.size(), 2u);
  EXPECT_EQ(ContentOf(frame.descriptors[0].get()), "two");
  EXPECT_EQ(ContentOf(frame.descriptors[1].get()), "one");
  ASSERT_OK_AND_ASSIGN(frame, b_.Receive());
  EXPECT_EQ(frame.message, "");
}

TEST_F(FrameTest, MoreDescriptorsThanAFrameHoldsGoAheadInCarriers) {
  UniqueFd one = FileWith("one");
  const std::vector<int> many(2 * kMaxFrameDescriptors + 3, one.get());
  EXPECT_THAT(a_.Send("m", many), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("503")));
  ASSERT_OK(a_.Send("m", many, "carrier"));
  for (const auto& [message, count] : {std::pair("carrier", 250), std::pair("carrier", 250), std::pair("m", 3)}) {
    ASSERT_OK_AND_ASSIGN(Frame frame, b_.Receive());
    EXPECT_EQ(frame.message, message);
    EXPECT_EQ(frame.descriptors.size(), static_cast<size_t>(count));
  }
}

TEST_F(FrameTest, LargeFramesFromManyThreadsAreNotTorn) {
  std::vector<std::thread> senders;
  for (char c = 'a'; c < 'e'; ++c) {
    senders.emplace_back([this, c] {
      for (size_t i = 1; i <= 5; ++i) EXPECT_OK(a_.Send(std::string(i * 700001, c)));
    });
  }
  for (int i = 0; i < 20; ++i) {
    ASSERT_OK_AND_ASSIGN(Frame frame, b_.Receive());
    EXPECT_EQ(frame.message, std::string(frame.message.size(), frame.message[0]));
  }
  for (std::thread& t : senders) t.join();
}

TEST_F(FrameTest, TryReceiveKeepsAPart) {
  ASSERT_OK_AND_ASSIGN(std::optional<Frame> frame, b_.TryReceive());
  EXPECT_FALSE(frame.has_value());
  for (const std::string& part : {std::string("\x05"), std::string("\0\0\0h", 4), std::string("el")}) {
    ASSERT_OK(WriteAll(a_.fd(), part, "socket"));
    ASSERT_OK_AND_ASSIGN(frame, b_.TryReceive());
    EXPECT_FALSE(frame.has_value());
  }
  ASSERT_OK(WriteAll(a_.fd(), "lo", "socket"));
  ASSERT_OK_AND_ASSIGN(frame, b_.TryReceive());
  ASSERT_TRUE(frame.has_value());
  EXPECT_EQ(frame->message, "hello");
}

TEST_F(FrameTest, TheEndIsToldApartFromATornFrame) {
  ASSERT_OK(a_.Send("last"));
  ASSERT_OK(WriteAll(a_.fd(), std::string("\x05\0\0\0he", 6), "socket"));
  a_.Shutdown();
  EXPECT_OK(b_.Receive());
  EXPECT_THAT(b_.Receive(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("middle")));
  EXPECT_THAT(b_.Send("x"), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("closed")));

  ASSERT_OK_AND_ASSIGN(auto pair, FrameSocket::Pair());
  pair.first.Reset();
  FrameSocket lone(std::move(pair.second));
  EXPECT_THAT(lone.Receive(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("closed")));
}

TEST_F(FrameTest, AHugeLengthIsRefused) {
  ASSERT_OK(WriteAll(a_.fd(), "\xff\xff\xff\xff", "socket"));
  EXPECT_THAT(b_.Receive(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("4294967295")));
}

TEST_F(FrameTest, APeerThatDoesNotReadTimesOut) {
  ASSERT_OK(a_.SetSendTimeout(1));
  EXPECT_THAT(a_.Send(std::string(8 << 20, 'x')), StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("read")));
}

}  // namespace
}  // namespace editd
