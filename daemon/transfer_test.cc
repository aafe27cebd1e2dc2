// The transfer socket, with a client made of the same system calls that any client would use.
#include "daemon/transfer.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

#include "editd/v1/transfer.pb.h"
#include "storage/base/testing.h"

namespace editd::daemon {
namespace {

using ::testing::HasSubstr;

class TransferTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(store_, storage::Store::Open(dir_ / "state"));
    server_ = std::make_unique<TransferServer>(store_.get());
    ASSERT_OK(server_->listener()->Bind(path_, SOCK_SEQPACKET));
    ASSERT_OK(server_->Start());
    Connect();
  }

  void Connect() {
    client_.Reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
    ASSERT_EQ(::connect(client_.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)), 0);
  }

  void SendPacket(const std::string& packet, int fd = -1) {
    struct iovec part = {const_cast<char*>(packet.data()), packet.size()};
    alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    struct msghdr head = {};
    head.msg_iov = &part;
    head.msg_iovlen = 1;
    if (fd >= 0) {
      head.msg_control = control;
      head.msg_controllen = sizeof(control);
      struct cmsghdr* rights = CMSG_FIRSTHDR(&head);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(rights), &fd, sizeof(int));
    }
    ASSERT_GE(::sendmsg(client_.get(), &head, MSG_NOSIGNAL), 0);
  }

  v1::TransferResponse Receive(UniqueFd* fd = nullptr) {
    char buffer[65536];
    struct iovec part = {buffer, sizeof(buffer)};
    alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct msghdr head = {};
    head.msg_iov = &part;
    head.msg_iovlen = 1;
    head.msg_control = control;
    head.msg_controllen = sizeof(control);
    const ssize_t n = ::recvmsg(client_.get(), &head, MSG_CMSG_CLOEXEC);
    v1::TransferResponse response;
    EXPECT_GT(n, 0);
    EXPECT_TRUE(response.ParseFromArray(buffer, static_cast<int>(n)));
    if (struct cmsghdr* c = CMSG_FIRSTHDR(&head); c != nullptr && fd != nullptr) {
      int number;
      std::memcpy(&number, CMSG_DATA(c), sizeof(int));
      fd->Reset(number);
    }
    return response;
  }

  v1::TransferResponse Put(int fd, const std::string& name = "vi.txt") {
    v1::TransferRequest request;
    request.mutable_put_asset()->set_name(name);
    SendPacket(request.SerializeAsString(), fd);
    return Receive();
  }

  UniqueFd FileWith(const std::string& content) {
    UniqueFd file(::open((dir_ / "file").c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600));
    EXPECT_OK(WriteAll(file.get(), content, "file"));
    return file;
  }

  TemporaryDirectory dir_;
  std::string path_ = dir_ / "transfer.sock";
  std::unique_ptr<storage::Store> store_;
  std::unique_ptr<TransferServer> server_;
  UniqueFd client_;
};

TEST_F(TransferTest, WhatGoesInComesOutReadOnly) {
  const v1::TransferResponse put = Put(FileWith("xin chao").get());
  ASSERT_EQ(put.code(), 0) << put.message();
  EXPECT_EQ(put.size(), 8u);
  v1::TransferRequest request;
  request.mutable_get_asset()->set_id(put.asset());
  SendPacket(request.SerializeAsString());
  UniqueFd file;
  EXPECT_EQ(Receive(&file).size(), 8u);
  ASSERT_TRUE(file.valid());
  char buffer[9] = {};
  EXPECT_EQ(::read(file.get(), buffer, 8), 8);
  EXPECT_STREQ(buffer, "xin chao");
  EXPECT_LT(::write(file.get(), "x", 1), 0);
}

TEST_F(TransferTest, AnEmptyFileIsAFile) {
  const v1::TransferResponse put = Put(FileWith("").get());
  EXPECT_EQ(put.code(), 0);
  EXPECT_EQ(put.asset().size(), 64u);
}

TEST_F(TransferTest, OnlyRegularFilesOpenForReadingAreTaken) {
  const UniqueFd folder(::open(dir_.path().c_str(), O_RDONLY));
  EXPECT_THAT(Put(folder.get()).message(), HasSubstr("only regular files"));
  const UniqueFd null(::open("/dev/zero", O_RDONLY));
  EXPECT_THAT(Put(null.get()).message(), HasSubstr("only regular files"));
  FileWith("x");
  const UniqueFd blind(::open((dir_ / "file").c_str(), O_WRONLY));
  EXPECT_THAT(Put(blind.get()).message(), HasSubstr("not open for reading"));
  EXPECT_THAT(Put(-1).message(), HasSubstr("one descriptor is needed, 0 came"));
}

TEST_F(TransferTest, NonsenseIsAnsweredAndTheConnectionGoesOn) {
  SendPacket("\xff\xff");
  EXPECT_EQ(Receive().code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
  SendPacket(std::string(70'000, 'x'));
  EXPECT_EQ(Receive().code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
  v1::TransferRequest request;
  request.mutable_get_pack()->set_id(std::string(64, 'a'));
  SendPacket(request.SerializeAsString());
  EXPECT_EQ(Receive().code(), static_cast<int>(absl::StatusCode::kNotFound));
  request.mutable_get_asset()->set_id("../../etc/passwd");
  SendPacket(request.SerializeAsString());
  EXPECT_EQ(Receive().code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
}

TEST_F(TransferTest, SocketsAreTheirOwnersAlone) {
  struct stat info;
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(TransferTest, ASocketThatSomebodyListensOnIsNotTaken) {
  Listener second;
  EXPECT_THAT(second.Bind(path_, SOCK_SEQPACKET), StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr(path_)));
}

TEST_F(TransferTest, ADeadDaemonsSocketIsReplaced) {
  const std::string path = dir_ / "dead.sock";
  {
    UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)), 0);
  }
  Listener listener;
  EXPECT_OK(listener.Bind(path, SOCK_STREAM));
}

TEST_F(TransferTest, APathThatIsTooLongIsSaidSo) {
  Listener listener;
  EXPECT_THAT(listener.Bind(dir_ / std::string(120, 'x'), SOCK_STREAM),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("the system allows 107")));
}

}  // namespace
}  // namespace editd::daemon
