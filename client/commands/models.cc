// models, show, descendants, tag, reflog.
#include <CLI/CLI.hpp>
#include <map>
#include <memory>

#include "absl/strings/str_join.h"
#include "client/commands/commands.h"
#include "client/format.h"
#include "client/table.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

absl::Status NoSuchModel(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsInvalidArgument(status) ? WithNext(status, "editctl models") : status;
}

std::string MadeBy(const v1::Version& version) {
  std::string text = version.recipe().plugin();
  if (version.job() > 0) StrAppend(&text, text.empty() ? "" : " ", "job ", version.job());
  return text;
}

std::string Size(uint64_t bytes) { return FormatBytes(static_cast<double>(bytes)); }

absl::StatusOr<int> RunModels(Session* session) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  ASSIGN_OR_RETURN(const v1::ListModelsResponse response, connection->ListModels());
  if (session->json) {
    for (const v1::Model& model : response.models()) {
      session->TryLoadTypes(model.version().recipe().plugin());
      session->PrintJson(model);
    }
    return kExitOk;
  }
  Table table({{"REF"},
               {"VERSION"},
               {"PARAMETERS", Table::Align::kRight},
               {"SIZE", Table::Align::kRight},
               {"NEW", Table::Align::kRight},
               {"MADE BY"},
               {"MOVED"}});
  for (const v1::Model& model : response.models()) {
    const v1::Version& version = model.version();
    table.Row({model.ref().name(), ShortId(model.ref().version()),
               FormatCount(static_cast<double>(version.parameter_count())), Size(version.logical_bytes()),
               Size(version.new_bytes()), MadeBy(version), FormatTime(model.ref().moved())});
  }
  if (table.empty()) {
    session->Note("there is no model yet; editctl import FILE --as NAME brings one in\n");
  } else {
    session->Print(table.ToString(session->width()));
  }
  return kExitOk;
}

std::string ShapeText(const google::protobuf::RepeatedField<int64_t>& shape) {
  return StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// Counts and bytes by element type: "BF16 272 tensors 269.1 MB".
std::string TypesText(const v1::Version& version) {
  std::map<std::string, std::pair<uint64_t, uint64_t>> types;
  for (const v1::Tensor& tensor : version.tensors()) {
    ++types[tensor.dtype()].first;
    types[tensor.dtype()].second += tensor.size();
  }
  std::string text;
  for (const auto& [name, count] : types) {
    StrAppend(&text, text.empty() ? "" : ", ", name, " ", Plural(count.first, "tensor"), " ", Size(count.second));
  }
  return text;
}

absl::StatusOr<int> RunShow(Session* session, const std::string& name, bool tensors) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  const auto response = connection->GetVersion(name);
  if (!response.ok()) return NoSuchModel(response.status());
  const v1::Version& version = response->version();
  if (session->json) {
    session->TryLoadTypes(version.recipe().plugin());
    session->PrintJson(version);
    return kExitOk;
  }
  Table facts({{""}, {""}});
  facts.Row({"version", version.id()});
  if (!version.refs().empty()) facts.Row({"refs", absl::StrJoin(version.refs(), ", ")});
  for (const v1::Parent& parent : version.parents()) {
    facts.Row(
        {"parent", StrCat(ShortId(parent.version()), parent.role().empty() ? "" : StrCat(" (", parent.role(), ")"))});
  }
  if (!version.recipe().plugin().empty()) {
    facts.Row({"made by", StrCat(version.recipe().plugin(), " ", version.recipe().plugin_version(), ", plugin file ",
                                 ShortId(version.recipe().plugin_hash()))});
  }
  facts.Row({"created", StrCat(FormatTime(version.created()), " by ", version.user(),
                               version.job() > 0 ? StrCat(", job ", version.job()) : "")});
  facts.Row({"parameters", FormatCount(static_cast<double>(version.parameter_count()))});
  facts.Row({"size", StrCat(Size(version.logical_bytes()), ", of it new ", Size(version.new_bytes()))});
  facts.Row({"tensors", version.tensors().empty() ? Plural(version.tensor_count(), "tensor") : TypesText(version)});
  if (version.tombstone()) facts.Row({"gone", "gc took its bytes; only the lineage is left"});
  std::map<std::string, std::string> attributes(version.attributes().begin(), version.attributes().end());
  for (const auto& [key, value] : attributes) facts.Row({key, value});
  session->Print(facts.ToString(session->width()));
  if (!version.files().empty()) {
    Table files({{"FILE"}, {"SIZE", Table::Align::kRight}, {"ASSET"}});
    for (const v1::FileEntry& file : version.files())
      files.Row({file.name(), Size(file.size()), ShortId(file.asset())});
    session->Print("\n" + files.ToString(session->width()));
  }
  if (tensors) {
    Table list({{"TENSOR"}, {"TYPE"}, {"SHAPE"}, {"SIZE", Table::Align::kRight}, {"ID"}, {"SINCE"}});
    for (const v1::Tensor& tensor : version.tensors()) {
      list.Row({tensor.name(), tensor.dtype(), ShapeText(tensor.shape()), Size(tensor.size()), ShortId(tensor.id()),
                ShortId(tensor.since())});
    }
    session->Print("\n" + list.ToString(session->width()));
  } else if (!version.tensors().empty()) {
    session->Note(StrCat("\neditctl show ", name, " --tensors lists them\n"));
  }
  return kExitOk;
}

absl::StatusOr<int> RunDescendants(Session* session, const std::string& name) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  const auto response = connection->ListDescendants(name);
  if (!response.ok()) return NoSuchModel(response.status());
  Table table({{"VERSION"},
               {"REFS"},
               {"MADE BY"},
               {"FROM"},
               {"PARAMETERS", Table::Align::kRight},
               {"NEW", Table::Align::kRight},
               {"CREATED"}});
  for (const v1::Version& version : response->versions()) {
    if (session->json) {
      session->TryLoadTypes(version.recipe().plugin());
      session->PrintJson(version);
      continue;
    }
    std::string parents;
    for (const v1::Parent& parent : version.parents()) {
      StrAppend(&parents, parents.empty() ? "" : ", ", ShortId(parent.version()));
    }
    table.Row({ShortId(version.id()), absl::StrJoin(version.refs(), ", "), MadeBy(version), parents,
               FormatCount(static_cast<double>(version.parameter_count())), Size(version.new_bytes()),
               FormatTime(version.created())});
  }
  if (session->json) return kExitOk;
  if (table.empty()) {
    session->Note(StrCat("nothing was made from ", name, "\n"));
  } else {
    session->Print(table.ToString(session->width()));
  }
  return kExitOk;
}

struct TagOptions {
  std::string name;
  std::string target;
  std::string expect;
  std::string message;
  bool remove = false;
};

absl::StatusOr<int> RunTag(Session* session, const TagOptions& options) {
  if (options.target.empty() != options.remove) {
    return absl::InvalidArgumentError("tag takes a NAME and a TARGET, or a NAME and --delete");
  }
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  v1::MoveRefRequest request;
  request.set_name(options.name);
  request.set_to(options.target);
  request.set_message(options.message);
  request.set_any_expected(options.expect.empty());
  if (!options.expect.empty() && options.expect != "none") {
    const auto expected = connection->GetVersion(options.expect);
    if (!expected.ok()) return NoSuchModel(expected.status());
    request.set_expected(expected->version().id());
  }
  const auto response = connection->MoveRef(request);
  if (!response.ok()) {
    return absl::IsAborted(response.status()) ? WithNext(response.status(), StrCat("editctl reflog ", options.name))
                                              : NoSuchModel(response.status());
  }
  if (session->json) {
    session->PrintJson(response->ref());
  } else if (options.remove) {
    session->Print(StrCat(options.name, " is deleted; editctl reflog ", options.name, " tells where it pointed\n"));
  } else {
    session->Print(StrCat(response->ref().name(), " is ", ShortId(response->ref().version()), " (v",
                          response->ref().generation(), ")\n"));
  }
  return kExitOk;
}

absl::StatusOr<int> RunReflog(Session* session, const std::string& name) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  const auto response = connection->GetReflog(name);
  if (!response.ok()) return NoSuchModel(response.status());
  Table table({{"TIME"}, {"REF"}, {"FROM"}, {"TO"}, {"BY"}, {"MESSAGE"}});
  for (const v1::RefMove& move : response->moves()) {
    if (session->json) {
      session->PrintJson(move);
      continue;
    }
    table.Row({FormatTime(move.time()), StrCat(move.name(), "@v", move.generation()),
               move.from().empty() ? "-" : ShortId(move.from()), move.to().empty() ? "deleted" : ShortId(move.to()),
               move.job() > 0 ? StrCat(move.user(), ", job ", move.job()) : move.user(), move.message()});
  }
  if (!session->json && !table.empty()) session->Print(table.ToString(session->width()));
  if (!session->json && table.empty()) session->Note("no ref has moved yet\n");
  return kExitOk;
}

}  // namespace

void AddModelCommands(CLI::App* app, Session* session) {
  {
    CLI::App* const command =
        AddCommand(app, "models", "List the refs and what they point at", kModels, "editctl models");
    command->callback([=] { session->command = [=] { return RunModels(session); }; });
  }
  {
    auto name = std::make_shared<std::string>();
    auto tensors = std::make_shared<bool>(false);
    CLI::App* const command =
        AddCommand(app, "show", "Show a version: facts, files, tensors", kModels, "editctl show smol-envi --tensors");
    command->add_option("ref", *name, "A ref, NAME@TAG, NAME@vN, or the beginning of a version's id")
        ->type_name("REF")
        ->required();
    command->add_flag("-t,--tensors", *tensors, "List the tensors, too");
    command->callback([=] { session->command = [=] { return RunShow(session, *name, *tensors); }; });
  }
  {
    auto name = std::make_shared<std::string>();
    CLI::App* const command =
        AddCommand(app, "descendants", "List the versions made from this one", kModels, "editctl descendants smol");
    command->add_option("ref", *name, "A version")->type_name("REF")->required();
    command->callback([=] { session->command = [=] { return RunDescendants(session, *name); }; });
  }
  {
    auto options = std::make_shared<TagOptions>();
    CLI::App* const command = AddCommand(app, "tag", "Create, move or delete a ref", kModels,
                                         "editctl tag smol@good smol@v3\n  editctl tag smol@good --delete");
    command->add_option("name", options->name, "The ref, e.g. smol@good")->type_name("REF")->required();
    command->add_option("target", options->target, "Where it shall point")->type_name("REF");
    command->add_flag("-d,--delete", options->remove, "Delete it; the versions stay until gc");
    command->add_option("--expect", options->expect, "Only if it points there now; none: only if it does not exist")
        ->type_name("REF");
    command->add_option("-m,--message", options->message, "For the log of moves")->type_name("TEXT");
    command->callback([=] { session->command = [=] { return RunTag(session, *options); }; });
  }
  {
    auto name = std::make_shared<std::string>();
    CLI::App* const command =
        AddCommand(app, "reflog", "List the moves of a ref, newest first; of all refs without a name", kModels,
                   "editctl reflog smol");
    command->add_option("ref", *name, "A ref")->type_name("REF");
    command->callback([=] { session->command = [=] { return RunReflog(session, *name); }; });
  }
}

}  // namespace editd::client
