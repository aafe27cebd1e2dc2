// log: the edits from the base to a version.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/commands/commands.h"
#include "client/format.h"
#include "client/table.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

std::string Size(uint64_t bytes) { return FormatBytes(static_cast<double>(bytes)); }

// "vocab.rows 49152 -> 24576", for what differs from the first parent.
std::string Changes(const v1::Version& version, const v1::Version* parent) {
  if (parent == nullptr) return "";
  std::map<std::string, std::string> keys(version.attributes().begin(), version.attributes().end());
  std::string text;
  for (const auto& [key, value] : keys) {
    const auto before = parent->attributes().find(key);
    if (before == parent->attributes().end() || before->second == value) continue;
    StrAppend(&text, text.empty() ? "" : ", ", key, " ", before->second, " -> ", value);
  }
  return text;
}

void PrintStep(Session* session, const v1::Version& version, const v1::Version* parent) {
  const v1::Recipe& recipe = version.recipe();
  std::string title = StrCat(session->Colour("33", ShortId(version.id())), "  ", session->Colour("1", recipe.plugin()),
                             " ", recipe.plugin_version());
  if (!version.refs().empty()) StrAppend(&title, "  ", session->Colour("32", absl::StrJoin(version.refs(), ", ")));
  if (version.tombstone()) StrAppend(&title, "  (bytes gone)");
  session->Print(title + "\n");
  Table facts({{""}, {""}});
  for (const v1::Parent& from : version.parents()) {
    facts.Row({"  from", StrCat(ShortId(from.version()), from.role().empty() ? "" : StrCat(" as ", from.role()))});
  }
  std::string made = FormatTime(version.created());
  if (!version.user().empty()) StrAppend(&made, " by ", version.user());
  if (version.job() > 0) StrAppend(&made, ", job ", version.job());
  facts.Row({"  made", made});
  if (!recipe.plugin_hash().empty()) facts.Row({"  plugin", ShortId(recipe.plugin_hash())});
  facts.Row({"  size", StrCat(FormatCount(static_cast<double>(version.parameter_count())), " parameters, ",
                              Size(version.logical_bytes()), ", new ", Size(version.new_bytes()))});
  if (const std::string changes = Changes(version, parent); !changes.empty()) facts.Row({"  changed", changes});
  if (recipe.seed() != 0) facts.Row({"  seed", StrCat(recipe.seed())});
  bool first = true;
  for (const absl::string_view line : absl::StrSplit(recipe.params_text(), '\n', absl::SkipWhitespace())) {
    facts.Row({first ? "  params" : "", std::string(line)});
    first = false;
  }
  session->Print(facts.ToString(session->width()) + "\n");
}

absl::StatusOr<int> RunLog(Session* session, const std::string& name) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  const auto response = connection->GetLineage(name);
  if (!response.ok()) {
    return absl::IsNotFound(response.status()) ? WithNext(response.status(), "editctl models") : response.status();
  }
  // Nearest first as it comes; told from the base on.
  std::vector<const v1::Version*> steps;
  std::map<std::string, const v1::Version*> by_id;
  for (const v1::Version& version : response->versions()) {
    steps.push_back(&version);
    by_id[version.id()] = &version;
  }
  std::reverse(steps.begin(), steps.end());
  for (const v1::Version* step : steps) {
    if (session->json) {
      session->TryLoadTypes(step->recipe().plugin());
      session->PrintJson(*step);
      continue;
    }
    const auto parent = step->parents().empty() ? by_id.end() : by_id.find(step->parents(0).version());
    PrintStep(session, *step, parent == by_id.end() ? nullptr : parent->second);
  }
  return kExitOk;
}

}  // namespace

void AddLogCommand(CLI::App* app, Session* session) {
  auto name = std::make_shared<std::string>();
  CLI::App* const command =
      AddCommand(app, "log", "Tell the edits from the base to a version", kModels, "editctl log smol-envi");
  command->add_option("ref", *name, "A version")->type_name("REF")->required();
  command->callback([=] { session->command = [=] { return RunLog(session, *name); }; });
}

}  // namespace editd::client
