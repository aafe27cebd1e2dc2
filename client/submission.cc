#include "client/submission.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>

#include "client/format.h"
#include "client/message_json.h"
#include "client/outcome.h"
#include "client/spec_file.h"
#include "client/spec_paths.h"
#include "client/watch.h"
#include "client/watch_view.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

constexpr uint64_t kTellFrom = 50'000'000;  // Bytes: smaller files are in the store before one could read of it.

std::atomic<bool> interrupted = false;

// While it lives, the first Ctrl-C asks the watch to end; a second one ends the program.
class CatchInterrupt {
 public:
  CatchInterrupt() {
    interrupted = false;
    struct sigaction action = {};
    action.sa_handler = [](int) { interrupted = true; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    ::sigaction(SIGINT, &action, &before_);
  }
  ~CatchInterrupt() { ::sigaction(SIGINT, &before_, nullptr); }

 private:
  struct sigaction before_ = {};
};

}  // namespace

absl::StatusOr<v1::SubmitRequest> PrepareSubmission(Session* session, std::string_view content, std::string_view name,
                                                    const std::string& folder) {
  ASSIGN_OR_RETURN(const std::string plugin, PluginOf(content, name));
  const auto found = session->GetPlugin(plugin);
  if (!found.ok()) {
    return absl::IsUnavailable(found.status()) ? found.status()
                                               : WithNext(Annotate(found.status(), name), NextOf(found.status()));
  }
  v1::SubmitRequest request;
  const auto spec = ParseSpec(content, name, *session->types());
  if (!spec.ok()) return WithNext(spec.status(), StrCat("editctl init ", plugin));
  *request.mutable_spec() = *spec;
  ASSIGN_OR_RETURN(const std::vector<PathUse> uses, FindPathUses(request.spec(), *session->types()));
  if (uses.empty()) return request;
  ASSIGN_OR_RETURN(Transfer * transfer, session->ConnectTransfer());
  const auto files = PutFiles(uses, folder, transfer, [session](const std::string& path, uint64_t size) {
    if (size >= kTellFrom && ::isatty(STDERR_FILENO) == 1) {
      session->Note(StrCat("reading ", path, " (", FormatBytes(static_cast<double>(size)), ")\n"));
    }
  });
  if (!files.ok()) return files.status();
  request.mutable_files()->Assign(files->begin(), files->end());
  return request;
}

absl::StatusOr<v1::SubmitRequest> PrepareSubmission(Session* session, const std::string& file) {
  const auto content = ReadSpecFile(file);
  if (absl::IsNotFound(content.status())) return WithNext(content.status(), "editctl init PLUGIN -o FILE");
  if (!content.ok()) return content.status();
  const size_t slash = file.rfind('/');
  const std::string folder =
      slash == std::string::npos || file == "-" ? "" : file.substr(0, std::max<size_t>(slash, 1));
  return PrepareSubmission(session, *content, file == "-" ? "standard input" : file, folder);
}

absl::StatusOr<v1::Job> SubmitJob(Session* session, const v1::SubmitRequest& request, bool will_wait) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  ASSIGN_OR_RETURN(const v1::SubmitResponse response, connection->Submit(request));
  const v1::Job& job = response.job();
  if (!will_wait) {
    session->TryLoadTypes(job.spec().plugin());
    if (session->json) {
      session->PrintJson(job);
    } else {
      session->Print(StrCat("job ", job.id(), "\n"));
      session->Note(StrCat("editctl watch ", job.id(), " shows how far it is\n"));
    }
  }
  return job;
}

absl::StatusOr<v1::Job> FollowJob(Session* session, uint64_t job, uint64_t from_seq) {
  ASSIGN_OR_RETURN(const Paths paths, session->FindPaths());
  ViewTarget target;
  target.terminal = session->terminal();
  target.colour = session->coloured();
  target.quiet = session->quiet;
  target.width = [session] { return session->width(); };
  target.now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  target.write = [](std::string_view bytes) {
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    std::fflush(stdout);
  };
  WatchView view(target);
  WatchOptions options;
  options.socket = paths.socket;
  options.job = job;
  options.from_seq = from_seq;
  options.stop = &interrupted;
  options.on_event = [&](const v1::Event& event) {
    if (!session->json) {
      view.OnEvent(event);
    } else {
      session->PrintJson(event);
      std::fflush(stdout);
    }
  };
  options.on_tick = [&] {
    if (!session->json) view.Tick();
  };
  options.on_trouble = [&](const std::string& text) {
    if (session->json) {
      session->Note(text + "\n");
    } else {
      view.Say(text);
    }
  };
  const CatchInterrupt catch_interrupt;
  const auto ended = WatchJob(options);
  view.End();
  if (absl::IsCancelled(ended.status())) {
    session->Note(
        StrCat("\njob ", job, " goes on; editctl watch ", job, " shows it, editctl cancel ", job, " ends it\n"));
  }
  if (absl::IsUnavailable(ended.status()) || absl::IsAborted(ended.status()))
    return WithNext(ended.status(), StrCat("editctl daemon start; editctl watch ", job));
  if (absl::IsNotFound(ended.status())) return WithNext(ended.status(), "editctl queue --all");
  return ended;
}

int TellOutcome(Session* session, const v1::Job& job) {
  session->TryLoadTypes(job.spec().plugin());
  if (session->json) {
    session->Print(OutcomeJson(job, *session->types()) + "\n");
  } else {
    const bool good = job.state() == v1::JOB_STATE_SUCCEEDED;
    const Outcome outcome = DescribeOutcome(job, *session->types());
    if (!session->quiet && !outcome.result.empty()) session->Print(outcome.result);
    if (good) {
      session->Print(session->Colour("32", outcome.summary) + "\n");
    } else {
      std::fflush(stdout);
      std::fprintf(stderr, "editctl: %s\n", outcome.summary.c_str());
    }
    session->Note(StrCat("next: ", outcome.next, "\n"));
  }
  return job.state() == v1::JOB_STATE_SUCCEEDED ? kExitOk : kExitFailed;
}

absl::StatusOr<int> WaitForJob(Session* session, uint64_t job) {
  const auto ended = FollowJob(session, job, 1);
  if (absl::IsCancelled(ended.status())) return kExitInterrupted;
  if (!ended.ok()) return ended.status();
  return TellOutcome(session, *ended);
}

}  // namespace editd::client
