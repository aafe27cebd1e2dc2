// The commands of editctl, a group a file. Each adds its subcommands to the app; a callback sets what is to be run.
//
// An argument's type name ("REF", "JOB", "PLUGIN", "DATASET", "FILE", "DIR") is shown in the help and tells completion
// what to offer (client/completion.h).
#ifndef EDITD_CLIENT_COMMANDS_COMMANDS_H_
#define EDITD_CLIENT_COMMANDS_COMMANDS_H_

#include <functional>
#include <string>

#include "client/session.h"

namespace CLI {
class App;
}  // namespace CLI

namespace editd::client {

void AddSubmitCommands(CLI::App* app, Session* session);      // submit, validate, import, export
void AddJobCommands(CLI::App* app, Session* session);         // watch, logs, cancel, retry, why, queue
void AddModelCommands(CLI::App* app, Session* session);       // models, show, descendants, tag, reflog
void AddMergeCommand(CLI::App* app, Session* session);        // merge
void AddBlameCommand(CLI::App* app, Session* session);        // blame
void AddLogCommand(CLI::App* app, Session* session);          // log
void AddDiffCommand(CLI::App* app, Session* session);         // diff
void AddEvalCommands(CLI::App* app, Session* session);        // eval compare, eval history, eval show
void AddDatasetCommands(CLI::App* app, Session* session);     // dataset add, list, show, rm
void AddTokenizeCommand(CLI::App* app, Session* session);     // tokenize
void AddPluginCommands(CLI::App* app, Session* session);      // plugins, init
void AddStoreCommands(CLI::App* app, Session* session);       // gc, why-alive, verify
void AddDaemonCommands(CLI::App* app, Session* session);      // daemon start, stop, status
void AddCompletionCommands(CLI::App* app, Session* session);  // completion, version, __complete

// All of them, and the global options.
void AddAllCommands(CLI::App* app, Session* session);

// A subcommand with a group and an example for its help text.
CLI::App* AddCommand(CLI::App* app, const std::string& name, const std::string& description, const std::string& group,
                     const std::string& example);

inline constexpr char kJobs[] = "Jobs";
inline constexpr char kModels[] = "Models";
inline constexpr char kStore[] = "Store and daemon";

}  // namespace editd::client

#endif  // EDITD_CLIENT_COMMANDS_COMMANDS_H_
