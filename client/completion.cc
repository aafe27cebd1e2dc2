#include "client/completion.h"

#include <CLI/CLI.hpp>
#include <algorithm>

namespace editd::client {
namespace {

// "WHEN" of "WHEN:{auto,always,never}".
std::string KindOf(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type.substr(0, type.find(':'));
}

// "auto", "always", "never" of the same.
std::vector<std::string> ChoicesOf(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{');
  const size_t close = type.find('}');
  std::vector<std::string> choices;
  if (open == std::string::npos || close == std::string::npos) return choices;
  std::string list = type.substr(open + 1, close - open - 1);
  for (size_t comma; (comma = list.find(',')) != std::string::npos; list = list.substr(comma + 1)) {
    choices.push_back(list.substr(0, comma));
  }
  choices.push_back(list);
  return choices;
}

bool TakesValue(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

// The option that a word names, in the app or in those above it.
const CLI::Option* FindOption(const CLI::App* app, const std::string& word) {
  for (; app != nullptr; app = app->get_parent()) {
    if (const CLI::Option* const option = app->get_option_no_throw(word); option != nullptr) return option;
  }
  return nullptr;
}

const CLI::App* FindCommand(const CLI::App& app, const std::string& word) {
  for (const CLI::App* command : app.get_subcommands(std::function<bool(const CLI::App*)>())) {
    if (command->get_name() == word) return command;
  }
  return nullptr;
}

std::vector<std::string> Values(const CLI::Option& option, const NameSource& names) {
  const std::string kind = KindOf(option);
  if (kind == "FILE") return {":files"};
  if (kind == "DIR") return {":dirs"};
  std::vector<std::string> choices = ChoicesOf(option);
  return choices.empty() ? names(kind) : choices;
}

std::vector<std::string> OptionNames(const CLI::App* app) {
  std::vector<std::string> names;
  for (; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* option : app->get_options()) {
      if (option->get_positional() && option->get_lnames().empty()) continue;
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

}  // namespace

std::string OptionValue(const std::vector<std::string>& words, const std::string& option) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == option && i + 1 < words.size()) return words[i + 1];
    if (words[i].starts_with(option + "=")) return words[i].substr(option.size() + 1);
  }
  return "";
}

std::vector<std::string> Complete(const CLI::App& app, const std::vector<std::string>& words, const NameSource& names) {
  const CLI::App* current = &app;
  const CLI::Option* pending = nullptr;  // An option that waits for its value.
  size_t positionals = 0;
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    if (pending != nullptr) {
      pending = nullptr;
    } else if (words[i].starts_with('-') && words[i] != "-") {
      const CLI::Option* const option = FindOption(current, words[i]);
      if (option != nullptr && TakesValue(*option)) pending = option;
    } else if (const CLI::App* const command = FindCommand(*current, words[i]); command != nullptr) {
      current = command;
      positionals = 0;
    } else {
      ++positionals;
    }
  }
  const std::string last = words.empty() ? "" : words.back();
  std::vector<std::string> candidates;
  if (pending != nullptr) {
    candidates = Values(*pending, names);
  } else if (last.starts_with('-') && last != "-") {
    candidates = OptionNames(current);
  } else {
    for (const CLI::App* command : current->get_subcommands(std::function<bool(const CLI::App*)>())) {
      candidates.push_back(command->get_name());
    }
    size_t place = 0;
    for (const CLI::Option* option : current->get_options()) {
      if (option->get_positional() && place++ == positionals) candidates = Values(*option, names);
    }
  }
  if (candidates.size() == 1 && candidates[0].starts_with(':')) return candidates;
  std::erase_if(candidates, [&last](const std::string& name) { return !name.starts_with(last); });
  std::sort(candidates.begin(), candidates.end());
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
  return candidates;
}

std::string BashCompletion() {
  // Words are cut at blanks, not at bash's COMP_WORDBREAKS: "smol@v3" is one word. What readline has already behind the
  // last break is taken off the candidates again.
  return R"(# bash completion for editctl: source <(editctl completion bash)
_editctl() {
  local line=${COMP_LINE:0:COMP_POINT} current kept candidate
  local -a words candidates
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  current=${words[-1]}
  mapfile -t candidates < <("${words[0]}" __complete "${words[@]:1}" 2> /dev/null)
  COMPREPLY=()
  case ${candidates[0]} in
    :files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
    :dirs) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
  esac
  kept=${current%"${current##*[@:=]}"}
  for candidate in "${candidates[@]}"; do COMPREPLY+=("${candidate#"$kept"}"); done
}
complete -F _editctl editctl
)";
}

}  // namespace editd::client
