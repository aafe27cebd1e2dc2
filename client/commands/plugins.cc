// plugins, init.
#include <CLI/CLI.hpp>
#include <memory>

#include "client/commands/commands.h"
#include "client/format.h"
#include "client/table.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

absl::StatusOr<int> RunPlugins(Session* session) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  ASSIGN_OR_RETURN(const v1::ListPluginsResponse response, connection->ListPlugins());
  Table table({{"PLUGIN"}, {"VERSION"}, {"FILE"}, {"READS", Table::Align::kRight}, {"MAKES"}, {""}});
  for (const v1::Plugin& plugin : response.plugins()) {
    if (session->json) {
      session->PrintJson(plugin);
      continue;
    }
    const std::string reads = plugin.min_inputs() == plugin.max_inputs()
                                  ? StrCat(plugin.min_inputs())
                                  : StrCat(plugin.min_inputs(), "-", plugin.max_inputs());
    table.Row({plugin.name(), plugin.version(), ShortId(plugin.hash()), reads,
               plugin.makes_version() ? "a version" : "",
               plugin.problem().empty() ? plugin.summary() : "can't be run: " + plugin.problem()});
  }
  if (!session->json) session->Print(table.ToString(session->width()));
  return kExitOk;
}

absl::StatusOr<int> RunInit(Session* session, const std::string& name, const std::string& file, bool overwrite) {
  ASSIGN_OR_RETURN(const v1::Plugin plugin, session->GetPlugin(name));
  if (session->json) {
    session->PrintJson(plugin);
    return kExitOk;
  }
  std::string example = plugin.example();
  if (example.empty()) {
    example = StrCat("# proto-file: editd/v1/job.proto\n# proto-message: editd.v1.JobSpec\nplugin: \"", name,
                     "\"\nparams { [type.googleapis.com/", plugin.spec_type(), "] { } }\n");
  }
  if (!example.ends_with('\n')) example += '\n';
  if (file.empty() || file == "-") {
    session->Print(example);
    return kExitOk;
  }
  if (!overwrite && ReadWholeFile(file).ok()) {
    return absl::AlreadyExistsError(StrCat(file, ": is there already; give another name, or --overwrite"));
  }
  RETURN_IF_ERROR(WriteFileAtomically(file, example));
  session->Note(StrCat("next: edit ", file, ", then editctl validate ", file, "\n"));
  return kExitOk;
}

}  // namespace

void AddPluginCommands(CLI::App* app, Session* session) {
  {
    CLI::App* const command =
        AddCommand(app, "plugins", "List the edits that the daemon can run", kJobs, "editctl plugins");
    command->callback([=] { session->command = [=] { return RunPlugins(session); }; });
  }
  {
    auto name = std::make_shared<std::string>();
    auto file = std::make_shared<std::string>();
    auto overwrite = std::make_shared<bool>(false);
    CLI::App* const command =
        AddCommand(app, "init", "Write a plugin's commented example of a spec", kJobs, "editctl init trim -o trim.pb");
    command->add_option("plugin", *name, "The plugin")->type_name("PLUGIN")->required();
    command->add_option("-o,--output", *file, "Where to; else standard output")->type_name("FILE");
    command->add_flag("--overwrite", *overwrite, "Even if the file is there");
    command->callback([=] { session->command = [=] { return RunInit(session, *name, *file, *overwrite); }; });
  }
}

}  // namespace editd::client
