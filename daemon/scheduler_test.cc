#include "daemon/scheduler.h"

#include "storage/base/testing.h"

namespace editd::daemon {
namespace {

using ::testing::HasSubstr;

Machine Idle() {
  Machine machine;
  machine.max_running = 2;
  machine.memory_budget = 8'000'000'000;
  machine.disk_free = 100'000'000'000;
  machine.disk_keep = 1'000'000'000;
  return machine;
}

Decision Of(const std::vector<Decision>& decisions, uint64_t id) {
  for (const Decision& decision : decisions) {
    if (decision.id == id) return decision;
  }
  return {};
}

TEST(Scheduler, StartsByPriorityThenById) {
  Machine machine = Idle();
  machine.max_running = 1;
  const auto decisions = Decide(machine, {{1, 0, 0, 0, ""}, {2, 5, 0, 0, ""}, {3, 5, 0, 0, ""}});
  EXPECT_TRUE(Of(decisions, 2).start);
  EXPECT_EQ(Of(decisions, 3).reason, v1::PENDING_REASON_RESOURCES);
  EXPECT_EQ(Of(decisions, 1).reason, v1::PENDING_REASON_PRIORITY);
  EXPECT_EQ(Of(decisions, 1).text, "job 3 goes first");
}

TEST(Scheduler, MemoryIsALedgerAndNobodyOvertakes) {
  Machine machine = Idle();
  machine.running = 1;
  machine.max_running = 4;
  machine.memory_reserved = 6'000'000'000;
  const auto decisions = Decide(machine, {{1, 0, 3'100'000'000, 0, ""}, {2, 0, 1'000, 0, ""}});
  EXPECT_EQ(Of(decisions, 1).reason, v1::PENDING_REASON_RESOURCES);
  EXPECT_EQ(Of(decisions, 1).text, "needs 3.1 GB of memory, 2.0 GB are free");
  EXPECT_EQ(Of(decisions, 2).reason, v1::PENDING_REASON_PRIORITY);
}

TEST(Scheduler, AJobLargerThanTheBudgetRunsAlone) {
  const auto decisions = Decide(Idle(), {{1, 0, 90'000'000'000, 0, ""}, {2, 0, 1'000, 0, ""}});
  EXPECT_TRUE(Of(decisions, 1).start);
  EXPECT_EQ(Of(decisions, 2).reason, v1::PENDING_REASON_RESOURCES);
}

TEST(Scheduler, LowDiskAndAMissingPluginHoldUpNobodyElse) {
  const auto decisions = Decide(Idle(), {{1, 0, 0, 99'500'000'000, ""}, {2, 0, 0, 0, "gone"}, {3, 0, 0, 0, ""}});
  EXPECT_EQ(Of(decisions, 1).reason, v1::PENDING_REASON_DISK_LOW);
  EXPECT_THAT(Of(decisions, 1).text, HasSubstr("needs 99.5 GB of disk"));
  EXPECT_EQ(Of(decisions, 2).reason, v1::PENDING_REASON_PLUGIN_MISSING);
  EXPECT_TRUE(Of(decisions, 3).start);
}

TEST(Scheduler, BelowTheReserveNothingStarts) {
  Machine machine = Idle();
  machine.disk_free = 900'000'000;
  EXPECT_EQ(Of(Decide(machine, {{1, 0, 0, 0, ""}}), 1).reason, v1::PENDING_REASON_DISK_LOW);
}

TEST(Scheduler, DrainingStartsNothing) {
  Machine machine = Idle();
  machine.draining = true;
  EXPECT_EQ(Of(Decide(machine, {{1, 0, 0, 0, ""}}), 1).reason, v1::PENDING_REASON_DRAINING);
}

}  // namespace
}  // namespace editd::daemon
