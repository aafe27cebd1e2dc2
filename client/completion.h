// Completion: what may come next on a command line.
//
// The shell asks `editctl __complete WORD...`, the last word being the one at the cursor. Commands and options come
// from the app itself, so that they can't be forgotten; refs, jobs and plugins from the daemon, if one runs.
#ifndef EDITD_CLIENT_COMPLETION_H_
#define EDITD_CLIENT_COMPLETION_H_

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}  // namespace CLI

namespace editd::client {

// The names of a kind: "REF", "JOB", "PLUGIN".
using NameSource = std::function<std::vector<std::string>(const std::string& kind)>;

// The candidates that begin with the last word, sorted. ":files" or ":dirs" alone: the shell offers files or folders.
std::vector<std::string> Complete(const CLI::App& app, const std::vector<std::string>& words, const NameSource& names);

// The value that the words give an option, e.g. "--state-dir"; empty if none.
std::string OptionValue(const std::vector<std::string>& words, const std::string& option);

// For bash: `source <(editctl completion bash)`.
std::string BashCompletion();

}  // namespace editd::client

#endif  // EDITD_CLIENT_COMPLETION_H_
