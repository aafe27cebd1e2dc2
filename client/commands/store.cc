// gc, why-alive, verify.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>

#include "client/commands/commands.h"
#include "client/format.h"
#include "client/table.h"
#include "client/watch_view.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

absl::StatusOr<int> RunWhyAlive(Session* session, const std::string& name) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  const auto response = connection->ExplainAlive(name);
  if (!response.ok()) return WithNext(response.status(), "editctl models");
  if (session->json) {
    session->PrintJson(*response);
    return kExitOk;
  }
  for (const std::string& reason : response->reasons()) session->Print(Printable(reason) + "\n");
  if (response->reasons().empty()) {
    session->Print(StrCat("nothing keeps ", name, "; the next gc takes it once it is old enough\n"));
  }
  return kExitOk;
}

struct GcOptions {
  bool dry_run = false;
  std::string grace;
  std::string why;
};

// "90", "90s", "15m", "12h", "7d"
absl::StatusOr<uint32_t> ParseGrace(const std::string& text) {
  size_t digits = 0;
  uint64_t number = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9' && digits < 9) {
    number = number * 10 + static_cast<uint64_t>(text[digits++] - '0');
  }
  const std::string unit = text.substr(digits);
  const uint64_t factor = unit.empty() || unit == "s" ? 1
                          : unit == "m"               ? 60
                          : unit == "h"               ? 3600
                          : unit == "d"               ? 86400
                                                      : 0;
  if (digits == 0 || factor == 0 || number * factor > UINT32_MAX) {
    return absl::InvalidArgumentError(
        StrCat("--grace: \"", text, "\" is no duration; write it as 90s, 15m, 12h or 7d"));
  }
  return static_cast<uint32_t>(number * factor);
}

absl::StatusOr<int> RunGc(Session* session, const GcOptions& options) {
  if (!options.why.empty()) return RunWhyAlive(session, options.why);
  v1::CollectGarbageRequest request;
  request.set_dry_run(options.dry_run);
  if (!options.grace.empty()) {
    ASSIGN_OR_RETURN(const uint32_t seconds, ParseGrace(options.grace));
    request.set_grace_seconds(seconds);
    request.set_grace_set(true);
  }
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  ASSIGN_OR_RETURN(const v1::CollectGarbageResponse response, connection->CollectGarbage(request));
  if (session->json) {
    for (const v1::Garbage& garbage : response.garbage()) session->PrintJson(garbage);
    session->Print(StrCat("{\"bytes\":", response.bytes(), ",\"count\":", response.garbage_size(),
                          ",\"dry_run\":", options.dry_run ? "true" : "false", "}\n"));
    return kExitOk;
  }
  Table table({{"KIND"}, {"ID"}, {"SIZE", Table::Align::kRight}, {"REASON"}});
  for (const v1::Garbage& garbage : response.garbage()) {
    table.Row({EnumWord(v1::Garbage::Kind_Name(garbage.kind()), "KIND_"),
               garbage.kind() == v1::Garbage::KIND_ORPHAN ? garbage.id() : ShortId(garbage.id()),
               FormatBytes(static_cast<double>(garbage.bytes())), garbage.reason()});
  }
  if (!table.empty() && !session->quiet) session->Print(table.ToString(session->width()));
  const std::string bytes = FormatBytes(static_cast<double>(response.bytes()));
  if (table.empty()) {
    session->Print("nothing to collect\n");
  } else if (options.dry_run) {
    session->Print(StrCat(bytes, " would go\n"));
    session->Note("next: editctl gc, or editctl why-alive ID for what stays\n");
  } else {
    session->Print(StrCat(bytes, " freed\n"));
  }
  return kExitOk;
}

absl::StatusOr<int> RunVerify(Session* session) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  ViewTarget target;
  target.terminal = session->terminal();
  target.quiet = session->quiet || session->json;
  target.width = [session] { return session->width(); };
  target.now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  target.write = [](std::string_view bytes) {
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    std::fflush(stdout);
  };
  WatchView view(target);
  v1::VerifyStoreResponse last;
  const absl::Status status = connection->VerifyStore([&](const v1::VerifyStoreResponse& response) {
    last = response;
    if (session->json) {
      session->PrintJson(response);
      return;
    }
    if (!response.finding().empty()) {
      view.End();
      session->Print(session->Colour("31", Printable(response.finding())) + "\n");
    }
    if (response.done() || !session->terminal()) return;
    v1::Event event;
    event.mutable_progress()->set_phase("verify");
    event.mutable_progress()->set_done(response.bytes_done());
    event.mutable_progress()->set_total(response.bytes_total());
    event.mutable_progress()->set_unit("bytes");
    view.OnEvent(event);
  });
  view.End();
  RETURN_IF_ERROR(status);
  if (!session->json) {
    session->Print(StrCat(Plural(last.versions(), "version"), ", ", Plural(last.packs(), "pack"), ", ",
                          Plural(last.assets(), "asset"), ", ", FormatBytes(static_cast<double>(last.bytes_done())),
                          ": ", last.findings() == 0 ? "all good" : Plural(last.findings(), "finding"), "\n"));
  }
  return last.done() && last.findings() == 0 ? kExitOk : kExitFailed;
}

}  // namespace

void AddStoreCommands(CLI::App* app, Session* session) {
  {
    auto options = std::make_shared<GcOptions>();
    CLI::App* const command = AddCommand(app, "gc", "Remove what no ref, job or recent version needs", kStore,
                                         "editctl gc --dry-run\n  editctl gc --grace 7d");
    command->add_flag("-n,--dry-run", options->dry_run, "Only tell what would go");
    command->add_option("--grace", options->grace, "What is younger stays: 90s, 15m, 12h, 7d; else an hour")
        ->type_name("AGE");
    command->add_option("--why", options->why, "What keeps this version, pack or asset (as why-alive)")
        ->type_name("REF");
    command->callback([=] { session->command = [=] { return RunGc(session, *options); }; });
  }
  {
    auto name = std::make_shared<std::string>();
    CLI::App* const command = AddCommand(app, "why-alive", "Tell what keeps a version, pack or asset from gc", kStore,
                                         "editctl why-alive 41f0a1b2c3d4");
    command->add_option("id", *name, "A version's name, or the id of a pack or an asset")->type_name("REF")->required();
    command->callback([=] { session->command = [=] { return RunWhyAlive(session, *name); }; });
  }
  {
    CLI::App* const command =
        AddCommand(app, "verify", "Read and hash the whole store again", kStore, "editctl verify");
    command->callback([=] { session->command = [=] { return RunVerify(session); }; });
  }
}

}  // namespace editd::client
