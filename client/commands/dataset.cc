// dataset: texts under a name, for specs ("dataset:NAME") and people.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "client/commands/commands.h"
#include "client/format.h"
#include "client/spec_paths.h"
#include "client/table.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

using Json = nlohmann::json;

constexpr int kShownFiles = 20;

// The first line that is not blank.
std::string_view FirstLine(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find('\n', begin) - begin);
}

// The field of the file's first line that holds the text; empty: the file is a text. `wanted` is what the user named.
absl::StatusOr<std::string> FieldOf(const std::string& path, const std::string& wanted) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const std::string_view line = FirstLine(file.view());
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    if (wanted.empty()) return std::string();
    return absl::InvalidArgumentError(StrCat(path, ": its first line is no JSON object, so it has no field \"", wanted,
                                             "\"; leave --field out for a text"));
  }
  const std::string field = wanted.empty() ? "text" : wanted;
  const auto found = json.find(field);
  if (found != json.end() && found->is_string()) return field;
  std::string fields;
  for (const auto& [name, value] : json.items()) {
    if (value.is_string()) StrAppend(&fields, fields.empty() ? "" : ", ", name);
  }
  return absl::InvalidArgumentError(StrCat(path, ": line 1 has no string \"", field, "\"",
                                           fields.empty() ? "" : StrCat("; it has ", fields),
                                           "; name the field with the text: --field NAME"));
}

absl::StatusOr<int> RunAdd(Session* session, const std::string& name, const std::string& path,
                           const std::string& field) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  ASSIGN_OR_RETURN(Transfer * transfer, session->ConnectTransfer());
  // A leading "./" tells a file of such a name from a dataset.
  const std::string opened = path.starts_with(kDatasetPrefix) ? StrCat("./", path) : path;
  const auto files = PutFiles({{"dataset", opened, v1::PATH_KIND_FILE_OR_DIRECTORY}}, "", transfer,
                              [](const std::string&, uint64_t) {});
  if (!files.ok()) return files.status();
  v1::Dataset dataset;
  dataset.set_name(name);
  dataset.set_path(path);
  *dataset.mutable_entries() = files->front().entries();
  std::string first;
  for (const v1::FileEntry& entry : dataset.entries()) {
    const std::string file = entry.name().empty() ? opened : StrCat(opened, "/", entry.name());
    ASSIGN_OR_RETURN(const std::string found, FieldOf(file, field));
    if (first.empty()) {
      first = file;
      dataset.set_field(found);
    } else if (found.empty() != dataset.field().empty()) {
      return absl::InvalidArgumentError(StrCat(found.empty() ? file : first, " is a text, ",
                                               found.empty() ? first : file,
                                               " has JSON lines; add each kind as a dataset of its own"));
    }
  }
  const auto added = connection->AddDataset(dataset);
  if (absl::IsAlreadyExists(added.status())) return WithNext(added.status(), StrCat("editctl dataset rm ", name));
  if (!added.ok()) return added.status();
  if (session->json) {
    session->PrintJson(added->dataset());
    return kExitOk;
  }
  session->Print(StrCat("dataset ", name, ": ", Plural(static_cast<uint64_t>(dataset.entries_size()), "file"), ", ",
                        FormatBytes(static_cast<double>(added->dataset().bytes())),
                        dataset.field().empty() ? "" : StrCat(", JSON lines with \"", dataset.field(), "\""), "\n"));
  session->Note(StrCat("use it in a spec in place of a path: data { path: \"dataset:", name, "\" }\n"));
  return kExitOk;
}

absl::StatusOr<int> RunList(Session* session) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  ASSIGN_OR_RETURN(const v1::ListDatasetsResponse response, connection->ListDatasets());
  Table table({{"NAME"},
               {"FORM"},
               {"FILES", Table::Align::kRight},
               {"SIZE", Table::Align::kRight},
               {"ADDED"},
               {"USER"},
               {"FROM"}});
  for (const v1::Dataset& dataset : response.datasets()) {
    if (session->json) session->PrintJson(dataset);
    table.Row({dataset.name(), dataset.field().empty() ? "text" : StrCat("JSON lines, ", dataset.field()),
               StrCat(dataset.entries_size()), FormatBytes(static_cast<double>(dataset.bytes())),
               FormatTime(dataset.added()), dataset.user(), dataset.path()});
  }
  if (session->json) return kExitOk;
  if (table.empty()) {
    session->Note("there are no datasets yet; editctl dataset add NAME PATH makes one\n");
  } else {
    session->Print(table.ToString(session->width()));
  }
  return kExitOk;
}

absl::StatusOr<int> RunShow(Session* session, const std::string& name) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  const auto response = connection->GetDataset(name);
  if (!response.ok()) return WithNext(response.status(), "editctl dataset list");
  const v1::Dataset& dataset = response->dataset();
  if (session->json) {
    session->PrintJson(dataset);
    return kExitOk;
  }
  Table facts({{""}, {""}});
  facts.Row({"name", dataset.name()});
  facts.Row({"from", dataset.path()});
  facts.Row(
      {"form", dataset.field().empty() ? "text" : StrCat("JSON lines, the text is in \"", dataset.field(), "\"")});
  facts.Row({"content", dataset.content()});
  facts.Row({"size", FormatBytes(static_cast<double>(dataset.bytes()))});
  facts.Row({"added", StrCat(FormatTime(dataset.added()), " by ", dataset.user())});
  session->Print(facts.ToString(0));
  if (dataset.entries_size() == 1 && dataset.entries(0).name().empty()) return kExitOk;
  Table files({{"FILE"}, {"SIZE", Table::Align::kRight}, {"ASSET"}});
  for (int i = 0; i < std::min(kShownFiles, dataset.entries_size()); ++i) {
    const v1::FileEntry& entry = dataset.entries(i);
    files.Row({entry.name(), FormatBytes(static_cast<double>(entry.size())), ShortId(entry.asset())});
  }
  session->Print(files.ToString(session->width()));
  if (dataset.entries_size() > kShownFiles) {
    session->Print(StrCat("and ", dataset.entries_size() - kShownFiles, " more; --json has all\n"));
  }
  return kExitOk;
}

absl::StatusOr<int> RunRemove(Session* session, const std::string& name) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  const auto response = connection->RemoveDataset(name);
  if (!response.ok()) return WithNext(response.status(), "editctl dataset list");
  if (session->json) {
    session->PrintJson(response->dataset());
  } else {
    session->Print(StrCat("dataset ", name, " is removed; jobs that used it know its content all the same\n"));
  }
  return kExitOk;
}

}  // namespace

void AddDatasetCommands(CLI::App* app, Session* session) {
  CLI::App* const dataset = AddCommand(app, "dataset", "Texts under a name, which specs use as \"dataset:NAME\"",
                                       kModels, "editctl dataset add heldout/vi vi.jsonl --field content");
  dataset->require_subcommand(1);
  auto name = std::make_shared<std::string>();
  {
    auto path = std::make_shared<std::string>();
    auto field = std::make_shared<std::string>();
    CLI::App* const command =
        dataset->add_subcommand("add", "Put a text, JSON lines or a folder of them into the store");
    command->footer("Example:\n  editctl dataset add heldout/vi vi.jsonl --field content");
    command->add_option("name", *name, "What it shall be called; by the rules of refs")->type_name("NAME")->required();
    command->add_option("path", *path, "The file or folder")->type_name("FILE")->required();
    command->add_option("--field", *field, "JSON lines: the field with the text (else \"text\")")->type_name("FIELD");
    command->callback([=] { session->command = [=] { return RunAdd(session, *name, *path, *field); }; });
  }
  {
    CLI::App* const command = dataset->add_subcommand("list", "The datasets");
    command->footer("Example:\n  editctl dataset list --json");
    command->callback([=] { session->command = [=] { return RunList(session); }; });
  }
  {
    CLI::App* const command = dataset->add_subcommand("show", "One dataset: its content, and its files");
    command->footer("Example:\n  editctl dataset show heldout/vi");
    command->add_option("name", *name, "The dataset")->type_name("DATASET")->required();
    command->callback([=] { session->command = [=] { return RunShow(session, *name); }; });
  }
  {
    CLI::App* const command =
        dataset->add_subcommand("rm", "Remove the name; the content goes with gc once no job needs it");
    command->footer("Example:\n  editctl dataset rm heldout/vi");
    command->add_option("name", *name, "The dataset")->type_name("DATASET")->required();
    command->callback([=] { session->command = [=] { return RunRemove(session, *name); }; });
  }
}

}  // namespace editd::client
