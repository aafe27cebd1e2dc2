// watch, logs, cancel, retry, why, queue.
#include <CLI/CLI.hpp>
#include <memory>

#include "client/commands/commands.h"
#include "client/format.h"
#include "client/outcome.h"
#include "client/submission.h"
#include "client/table.h"
#include "client/watch.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

absl::Status NoSuchJob(const absl::Status& status) {
  return absl::IsNotFound(status) ? WithNext(status, "editctl queue --all") : status;
}

absl::StatusOr<int> RunLogs(Session* session, uint64_t id, bool follow) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  v1::WatchJobRequest request;
  request.set_id(id);
  request.set_from_seq(1);
  request.set_follow(follow);
  const absl::Status status = connection->WatchJob(request, [session](const v1::Event& event) {
    if (event.kind_case() != v1::Event::kLog) return;
    if (session->json) {
      session->PrintJson(event);
    } else {
      session->Print(Printable(event.log().text()) + "\n");
    }
    if (session->terminal()) std::fflush(stdout);
  });
  if (!status.ok()) return NoSuchJob(status);
  return kExitOk;
}

absl::StatusOr<int> ShowJob(Session* session, const v1::Job& job, std::string_view what) {
  session->TryLoadTypes(job.spec().plugin());
  if (session->json) {
    session->PrintJson(job);
  } else {
    session->Print(StrCat("job ", job.id(), ": ", what, "\n"));
  }
  return kExitOk;
}

absl::StatusOr<int> RunCancel(Session* session, uint64_t id) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  const auto response = connection->CancelJob(id);
  if (!response.ok()) return NoSuchJob(response.status());
  const v1::JobState state = response->job().state();
  return ShowJob(session, response->job(),
                 IsFinal(state) ? EnumWord(v1::JobState_Name(state), "JOB_STATE_") : "told to stop");
}

absl::StatusOr<int> RunRetry(Session* session, uint64_t id, bool wait) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  // What the job went through so far is not told again.
  uint64_t last = 0;
  if (wait) {
    v1::WatchJobRequest request;
    request.set_id(id);
    const absl::Status status = connection->WatchJob(request, [&last](const v1::Event& event) { last = event.seq(); });
    if (!status.ok()) return NoSuchJob(status);
  }
  const auto response = connection->RetryJob(id);
  if (!response.ok()) return NoSuchJob(response.status());
  if (!wait) return ShowJob(session, response->job(), "queued again");
  const auto ended = FollowJob(session, id, last + 1);
  if (absl::IsCancelled(ended.status())) return kExitInterrupted;
  if (!ended.ok()) return ended.status();
  return TellOutcome(session, *ended);
}

absl::StatusOr<int> RunWhy(Session* session, uint64_t id) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  const auto response = connection->GetJob(id);
  if (!response.ok()) return NoSuchJob(response.status());
  const v1::Job& job = response->job();
  session->TryLoadTypes(job.spec().plugin());
  if (session->json) {
    session->PrintJson(*response);
    return kExitOk;
  }
  session->Print(StrCat("job ", job.id(), ", ", job.spec().plugin(), ": ",
                        EnumWord(v1::JobState_Name(job.state()), "JOB_STATE_"), "\n"));
  for (const std::string& line : response->why()) session->Print(StrCat("  ", Printable(line), "\n"));
  if (response->why().empty() && !job.reason_text().empty())
    session->Print(StrCat("  ", Printable(job.reason_text()), "\n"));
  Table attempts({{"ATTEMPT", Table::Align::kRight},
                  {"STARTED"},
                  {"TIME", Table::Align::kRight},
                  {"EXIT"},
                  {"MEMORY", Table::Align::kRight},
                  {"MESSAGE"}});
  for (const v1::Attempt& attempt : job.attempts()) {
    const double seconds = SecondsBetween(attempt.started(), attempt.ended());
    attempts.Row({StrCat(attempt.number()), FormatTime(attempt.started()), seconds > 0 ? FormatSeconds(seconds) : "",
                  attempt.exit_class() == v1::EXIT_CLASS_UNSPECIFIED
                      ? "runs"
                      : EnumWord(v1::ExitClass_Name(attempt.exit_class()), "EXIT_CLASS_"),
                  attempt.peak_rss_bytes() > 0 ? FormatBytes(static_cast<double>(attempt.peak_rss_bytes())) : "",
                  attempt.message()});
  }
  if (!attempts.empty()) session->Print(attempts.ToString(0));
  return kExitOk;
}

// "smol -> smol-envi"
std::string Models(const v1::JobSpec& spec) {
  std::string text;
  for (const v1::Input& input : spec.input()) StrAppend(&text, text.empty() ? "" : ", ", input.model());
  if (!spec.output().ref().empty()) StrAppend(&text, text.empty() ? "" : " ", "-> ", spec.output().ref());
  return text;
}

std::string Remark(const v1::Job& job) {
  if (job.state() == v1::JOB_STATE_PENDING) {
    return job.reason_text().empty() ? EnumWord(v1::PendingReason_Name(job.reason()), "PENDING_REASON_")
                                     : job.reason_text();
  }
  if (job.cancel_requested() && !IsFinal(job.state())) return "told to stop";
  if (job.from_recipe()) return "from the store";
  if (job.state() == v1::JOB_STATE_FAILED && !job.attempts().empty()) return job.attempts().rbegin()->message();
  return "";
}

absl::StatusOr<int> RunQueue(Session* session, bool all, uint32_t limit) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  v1::ListJobsRequest request;
  request.set_active_only(!all);
  request.set_limit(limit);
  ASSIGN_OR_RETURN(const v1::ListJobsResponse response, connection->ListJobs(request));
  if (session->json) {
    for (const v1::Job& job : response.jobs()) {
      session->TryLoadTypes(job.spec().plugin());
      session->PrintJson(job);
    }
    return kExitOk;
  }
  Table table({{"JOB", Table::Align::kRight},
               {"STATE"},
               {"PLUGIN"},
               {"MODELS"},
               {"USER"},
               {"SUBMITTED"},
               {"TIME", Table::Align::kRight},
               {"REMARK"}});
  for (const v1::Job& job : response.jobs()) {
    const double seconds = RunSeconds(job);
    table.Row({StrCat(job.id()), EnumWord(v1::JobState_Name(job.state()), "JOB_STATE_"), job.spec().plugin(),
               Models(job.spec()), job.user(), FormatTime(job.submitted()), seconds > 0 ? FormatSeconds(seconds) : "",
               Remark(job)});
  }
  if (table.empty()) {
    session->Note(all ? "no job was submitted yet\n" : "nothing runs or waits; --all shows what has ended, too\n");
  } else {
    session->Print(table.ToString(session->width()));
  }
  return kExitOk;
}

// A command with one argument, the job.
CLI::App* AddJobCommand(CLI::App* app, const std::string& name, const std::string& description,
                        const std::shared_ptr<uint64_t>& id) {
  CLI::App* const command = AddCommand(app, name, description, kJobs, StrCat("editctl ", name, " 12"));
  command->add_option("job", *id, "The job's number")->type_name("JOB")->required();
  return command;
}

}  // namespace

void AddJobCommands(CLI::App* app, Session* session) {
  {
    auto id = std::make_shared<uint64_t>();
    CLI::App* const command = AddJobCommand(app, "watch", "Show a job's progress until it has ended", id);
    command->callback([=] { session->command = [=] { return WaitForJob(session, *id); }; });
  }
  {
    auto id = std::make_shared<uint64_t>();
    auto follow = std::make_shared<bool>(false);
    CLI::App* const command = AddJobCommand(app, "logs", "Print a job's log", id);
    command->add_flag("-f,--follow", *follow, "Go on until the job has ended");
    command->callback([=] { session->command = [=] { return RunLogs(session, *id, *follow); }; });
  }
  {
    auto id = std::make_shared<uint64_t>();
    CLI::App* const command = AddJobCommand(app, "cancel", "Ask a pending or running job to end", id);
    command->callback([=] { session->command = [=] { return RunCancel(session, *id); }; });
  }
  {
    auto id = std::make_shared<uint64_t>();
    auto wait = std::make_shared<bool>(false);
    CLI::App* const command = AddJobCommand(app, "retry", "Queue a failed or cancelled job again", id);
    command->add_flag("-w,--wait", *wait, "Show its progress until it has ended");
    command->callback([=] { session->command = [=] { return RunRetry(session, *id, *wait); }; });
  }
  {
    auto id = std::make_shared<uint64_t>();
    CLI::App* const command = AddJobCommand(app, "why", "Tell why a job stands where it does", id);
    command->callback([=] { session->command = [=] { return RunWhy(session, *id); }; });
  }
  {
    auto all = std::make_shared<bool>(false);
    auto limit = std::make_shared<uint32_t>(50);
    CLI::App* const command = AddCommand(app, "queue", "List jobs that run or wait", kJobs, "editctl queue --all");
    command->add_flag("-a,--all", *all, "Those that have ended, too");
    command->add_option("-n,--limit", *limit, "The newest so many; 0: all")->capture_default_str()->type_name("COUNT");
    command->callback([=] { session->command = [=] { return RunQueue(session, *all, *limit); }; });
  }
}

}  // namespace editd::client
