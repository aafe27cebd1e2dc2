#include <CLI/CLI.hpp>

#include "client/commands/chat.h"
#include "storage/base/strings.h"

namespace editd::client {

CLI::App* AddCommand(CLI::App* app, const std::string& name, const std::string& description, const std::string& group,
                     const std::string& example) {
  CLI::App* const command = app->add_subcommand(name, description);
  command->group(group);
  command->footer("Example:\n  " + example);
  return command;
}

void AddAllCommands(CLI::App* app, Session* session) {
  app->description("editctl: edits language models through the daemon editd");
  app->footer(
      "Example:\n"
      "  editctl daemon start\n"
      "  editctl import smol.gguf --as smol\n"
      "  editctl init trim -o trim.pb && editctl submit trim.pb --wait\n"
      "  editctl log smol-envi\n\n"
      "editctl COMMAND --help tells more. Exit status: 0 good, 1 the command or its job failed, 2 wrong usage, 130 "
      "Ctrl-C.");
  app->require_subcommand(1);
  app->fallthrough();
  app->get_formatter()->column_width(34);
  app->add_option("--state-dir", session->state_dir,
                  "The daemon's state directory (else EDITD_STATE_DIR, or the default)")
      ->type_name("DIR");
  app->add_option("--socket", session->socket, "The daemon's socket, if it is not in its usual place")
      ->type_name("FILE");
  app->add_flag("--json", session->json, "For scripts: one JSON object a line, with the proto's field names");
  app->add_flag("-q,--quiet", session->quiet, "Only results and errors");
  app->add_option("--colour,--color", session->colour, "auto, always or never")
      ->type_name("WHEN")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  AddSubmitCommands(app, session);
  AddJobCommands(app, session);
  AddModelCommands(app, session);
  AddMergeCommand(app, session);
  AddBlameCommand(app, session);
  AddLogCommand(app, session);
  AddDiffCommand(app, session);
  AddChatCommand(app, session);
  AddEvalCommands(app, session);
  AddDatasetCommands(app, session);
  AddTokenizeCommand(app, session);
  AddPluginCommands(app, session);
  AddStoreCommands(app, session);
  AddDaemonCommands(app, session);
  AddCompletionCommands(app, session);
}

}  // namespace editd::client
