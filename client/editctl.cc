// editctl: the command line. Parses, runs the one command that was given, tells errors, and leaves.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "client/commands/commands.h"
#include "client/completion.h"
#include "client/session.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

std::vector<std::string> NamesOf(Session* session, const std::string& kind) {
  std::vector<std::string> names;
  const auto connection = session->Connect();
  if (!connection.ok()) return names;
  if (kind == "REF") {
    const auto response = (*connection)->ListModels();
    if (!response.ok()) return names;
    for (const v1::Model& model : response->models()) names.push_back(model.ref().name());
  } else if (kind == "JOB") {
    v1::ListJobsRequest request;
    request.set_limit(100);
    const auto response = (*connection)->ListJobs(request);
    if (!response.ok()) return names;
    for (const v1::Job& job : response->jobs()) names.push_back(StrCat(job.id()));
  } else if (kind == "DATASET") {
    const auto response = (*connection)->ListDatasets();
    if (!response.ok()) return names;
    for (const v1::Dataset& dataset : response->datasets()) names.push_back(dataset.name());
  } else if (kind == "PLUGIN") {
    const auto response = (*connection)->ListPlugins();
    if (!response.ok()) return names;
    for (const v1::Plugin& plugin : response->plugins()) names.push_back(plugin.name());
  }
  return names;
}

int CompleteWords(const CLI::App& app, Session* session, const std::vector<std::string>& words) {
  session->state_dir = OptionValue(words, "--state-dir");
  session->socket = OptionValue(words, "--socket");
  for (const std::string& candidate :
       Complete(app, words, [session](const std::string& kind) { return NamesOf(session, kind); })) {
    session->Print(candidate + "\n");
  }
  return kExitOk;
}

// What CLI11 says, with the nearest command or option for a word that it does not know.
std::string UsageText(const CLI::App& app, const CLI::ParseError& error) {
  std::string text = error.what();
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] - 'A' + 'a');
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  const std::vector<std::string> extras = app.remaining(true);
  if (!extras.empty()) {
    const std::string& word = extras.front();
    std::vector<std::string> known;
    if (word.starts_with('-')) {
      for (const CLI::App* level = at; level != nullptr; level = level->get_parent()) {
        for (const CLI::Option* option : level->get_options()) {
          for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
        }
      }
      text = StrCat("no option \"", word, "\"", DidYouMean(word, known));
    } else if (at->get_subcommands(std::function<bool(const CLI::App*)>()).empty()) {
      text = StrCat("one argument too many: \"", word, "\"");
    } else {
      for (const CLI::App* command : at->get_subcommands(std::function<bool(const CLI::App*)>())) {
        known.push_back(command->get_name());
      }
      text = StrCat("no command \"", word, "\"", DidYouMean(word, known));
    }
  }
  return StrCat(text, "; see ",
                at == &app ? "editctl"
                           : StrCat("editctl ", at->get_parent() == &app ? "" : at->get_parent()->get_name() + " ",
                                    at->get_name()),
                " --help");
}

int Run(int argc, char** argv, CLI::App* app, Session* session) {
  AddAllCommands(app, session);
  if (argc >= 2 && std::string_view(argv[1]) == "__complete") {
    return CompleteWords(*app, session, std::vector<std::string>(argv + 2, argv + argc));
  }
  if (argc < 2) {
    session->Print(app->help());
    return kExitUsage;
  }
  try {
    app->parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app->exit(help);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "editctl: %s\n", UsageText(*app, error).c_str());
    return kExitUsage;
  }
  const absl::StatusOr<int> result = session->command();
  if (result.ok()) return *result;
  std::fflush(stdout);
  std::string message(result.status().message());
  if (message.empty()) message = result.status().ToString();
  std::fprintf(stderr, "editctl: %s\n", message.c_str());
  if (const std::string next = NextOf(result.status()); !next.empty()) std::fprintf(stderr, "next: %s\n", next.c_str());
  return kExitFailed;
}

}  // namespace
}  // namespace editd::client

int main(int argc, char** argv) {
  CLI::App app("", "editctl");
  editd::client::Session session;
  int status = editd::client::Run(argc, argv, &app, &session);
  // A full disk behind standard output must not pass for success.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::perror("editctl: standard output");
    status = editd::client::kExitFailed;
  }
  // Without an end for the session: gRPC's tidying up takes milliseconds, and there is nothing left to lose.
  ::_exit(status);
}
