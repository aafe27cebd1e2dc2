#include "client/table.h"

#include "client/format.h"
#include "storage/base/testing.h"

namespace editd::client {
namespace {

TEST(Table, ColumnsLineUp) {
  Table table({{"REF"}, {"SIZE", Table::Align::kRight}, {"BY"}});
  table.Row({"smol", "269.1 MB", "import"});
  table.Row({"tiếng-việt", "8 B", ""});
  EXPECT_EQ(table.ToString(0),
            "REF             SIZE  BY\n"
            "smol        269.1 MB  import\n"
            "tiếng-việt       8 B\n");
}

TEST(Table, LastColumnIsCutToTheWidth) {
  Table table({{""}, {""}});
  table.Row({"job", "a message that is much too long"});
  EXPECT_EQ(table.ToString(20), "job  a message that…\n");
  EXPECT_EQ(table.ToString(80), "job  a message that is much too long\n");
}

TEST(Table, NoCellPlaysWithTheTerminal) {
  Table table({{""}});
  table.Row({"a\x1b[2Jb\nc\x7f"});
  EXPECT_EQ(table.ToString(0), "a?[2Jb c?\n");
}

TEST(DisplayWidth, WideLettersAndMarks) {
  EXPECT_EQ(DisplayWidth("abc"), 3u);
  EXPECT_EQ(DisplayWidth("漢字"), 4u);
  EXPECT_EQ(DisplayWidth("e\u0301"), 1u);
  EXPECT_EQ(FitWidth("漢字漢字", 5), "漢字…");
  EXPECT_EQ(FitWidth("\xff", 4), "\xff");
}

TEST(Format, BytesCountsAndTimes) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(1000), "1.0 kB");
  EXPECT_EQ(FormatBytes(101'190'000), "101.2 MB");
  EXPECT_EQ(FormatBytes(999'960'000), "1.0 GB");
  EXPECT_EQ(FormatCount(49152), "49.2 k");
  EXPECT_EQ(FormatCount(272), "272");
  EXPECT_EQ(FormatSeconds(0.337), "0.34 s");
  EXPECT_EQ(FormatSeconds(3.44), "3.4 s");
  EXPECT_EQ(FormatSeconds(59.97), "1:00");
  EXPECT_EQ(FormatSeconds(3725), "1:02:05");
  EXPECT_EQ(Plural(1, "tensor"), "1 tensor");
  EXPECT_EQ(Plural(0, "finding"), "0 findings");
  EXPECT_EQ(EnumWord("PENDING_REASON_DISK_LOW", "PENDING_REASON_"), "disk low");
}

}  // namespace
}  // namespace editd::client
