#include "daemon/config.h"

#include <cstdlib>
#include <fstream>

#include "storage/base/file.h"
#include "storage/base/testing.h"

namespace editd::daemon {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Config, ReadsKeysCommentsAndUnits) {
  Config config;
  ASSERT_OK(
      ParseConfig("# ours\n\nmax_running = 3  # three\nmemory_budget=12 GB\ndisk_reserve = 1.5 GiB\n"
                  "cancel_grace = 250 ms\nplugin_dirs = /a:/b\nlog_level = debug",
                  "editd.conf", &config));
  EXPECT_EQ(config.max_running, 3u);
  EXPECT_EQ(config.memory_budget, 12'000'000'000u);
  EXPECT_EQ(config.disk_reserve, 1'610'612'736u);
  EXPECT_EQ(config.cancel_grace, absl::Milliseconds(250));
  EXPECT_THAT(config.plugin_dirs, ElementsAre("/a", "/b"));
  EXPECT_EQ(config.log_level, "debug");
}

TEST(Config, AnUnknownKeyNamesTheNearestAndItsLine) {
  Config config;
  EXPECT_THAT(
      ParseConfig("\nmax_runing = 3\n", "editd.conf", &config),
      StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("editd.conf:2: "), HasSubstr("\"max_runing\""),
                                                         HasSubstr("did you mean \"max_running\"?"))));
}

TEST(Config, ABadValueNamesKeyAndLine) {
  Config config;
  for (const char* line : {"max_running = none", "max_running = 0", "memory_budget = much", "memory_budget = 3 GX",
                           "default_time = -1 s", "default_time = 0 s", "log_level = loud"}) {
    const std::string text = line;
    EXPECT_THAT(ParseConfig(text, "c", &config),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("c:1: " + text.substr(0, text.find(' ')))));
  }
  EXPECT_THAT(ParseConfig("just words", "c", &config),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is not \"key = value\"")));
  EXPECT_THAT(ParseConfig("worker = a\nworker = b", "c", &config),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 1 sets it already")));
}

TEST(Config, EveryKeyOfTheSampleIsKnownAndHoldsItsDefault) {
  ASSERT_OK_AND_ASSIGN(std::string sample, ReadWholeFile(EDITD_SOURCE_DIR "/deploy/editd.conf"));
  // The sample has each key commented out; switched on, all of it must be valid.
  std::string text;
  size_t keys = 0;
  for (size_t begin = 0; begin < sample.size();) {
    const size_t end = std::min(sample.find('\n', begin), sample.size());
    const std::string line = sample.substr(begin, end - begin);
    if (line.size() > 1 && line[0] == '#' && line[1] != ' ' && line.find(" = ") != std::string::npos) {
      text += line.substr(1) + "\n";
      ++keys;
    }
    begin = end + 1;
  }
  Config config;
  ASSERT_OK(ParseConfig(text, "editd.conf", &config));
  EXPECT_EQ(keys, 20u);
  const Config defaults;
  EXPECT_EQ(config.max_running, defaults.max_running);
  EXPECT_EQ(config.disk_reserve, defaults.disk_reserve);
  EXPECT_EQ(config.default_time, defaults.default_time);
  EXPECT_EQ(config.default_max_attempts, defaults.default_max_attempts);
  EXPECT_EQ(config.cancel_grace, defaults.cancel_grace);
  EXPECT_EQ(config.heartbeat, defaults.heartbeat);
  EXPECT_EQ(config.hung_after, defaults.hung_after);
  EXPECT_EQ(config.check_timeout, defaults.check_timeout);
  EXPECT_EQ(config.check_idle, defaults.check_idle);
  EXPECT_EQ(config.gc_grace, defaults.gc_grace);
}

TEST(Flags, TakeBothFormsAndNameTheNearest) {
  ASSERT_OK_AND_ASSIGN(const Flags flags, ParseFlags({"--state-dir", "/s", "--socket=/run/x"}));
  EXPECT_EQ(flags.state_dir, "/s");
  EXPECT_EQ(flags.socket, "/run/x");
  EXPECT_THAT(ParseFlags({"--state-dri", "/s"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("did you mean \"--state-dir\"?")));
  EXPECT_THAT(ParseFlags({"--config"}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("needs a value")));
}

TEST(LoadConfig, AStateDirectoryOfOnesOwnHasItsSocketsInIt) {
  TemporaryDirectory dir;
  { std::ofstream(dir / "c") << "max_running = 2\nsocket = /run/elsewhere.sock\n"; }
  Flags flags;
  flags.config = dir / "c";
  flags.state_dir = dir / "state";
  ASSERT_OK_AND_ASSIGN(const Config config, LoadConfig(flags, "/opt/bin"));
  EXPECT_EQ(config.max_running, 2u);
  EXPECT_EQ(config.socket, dir / "state" + "/editd.sock");
  EXPECT_EQ(config.transfer_socket, dir / "state" + "/transfer.sock");
  EXPECT_EQ(config.worker, "/opt/bin/edit-worker");
  EXPECT_THAT(config.plugin_dirs, ElementsAre("/opt/bin/../lib/editd/plugins"));
  EXPECT_GT(config.memory_budget, 0u);
}

TEST(LoadConfig, AMissingFileIsAnError) {
  Flags flags;
  flags.config = "/nowhere/editd.conf";
  EXPECT_THAT(LoadConfig(flags, "/opt/bin"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/editd.conf")));
}

}  // namespace
}  // namespace editd::daemon
