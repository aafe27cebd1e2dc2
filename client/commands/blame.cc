// blame: which edits and which inputs made a tensor, back to where its bytes came into the store.
#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <set>

#include "absl/strings/str_join.h"
#include "client/commands/commands.h"
#include "client/format.h"
#include "client/merge_record.h"
#include "client/message_json.h"
#include "client/table.h"
#include "storage/base/file.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

class Blame {
 public:
  explicit Blame(Session* session) : session_(session) {}

  // Tells of one tensor and then, a step further in, of those that it was made from.
  absl::Status Tell(const std::string& version_name, const std::string& tensor_name, size_t depth,
                    const MergedFrom* as) {
    ASSIGN_OR_RETURN(const v1::Version* version, Get(version_name));
    const v1::Tensor* tensor = Find(*version, tensor_name);
    if (tensor == nullptr) return NoTensor(*version, tensor_name);
    if (!tensor->since().empty() && tensor->since() != version->id()) {  // Unchanged from there to here.
      const auto since = Get(tensor->since());
      if (since.ok() && Find(**since, tensor_name) != nullptr) {
        version = *since;
        tensor = Find(*version, tensor_name);
      }
    }
    Step step{*version, *tensor, depth, as, !told_.emplace(version->id(), tensor_name).second, std::nullopt};
    for (const v1::FileEntry& file : version->files()) {
      if (file.name() != kMergeRecordFile || version->recipe().plugin() != "merge") continue;
      ASSIGN_OR_RETURN(step.record, Record(file, tensor_name));
    }
    if (!step.record.has_value()) {
      step.record = MergeRecord();
      RETURN_IF_ERROR(FromParents(*version, *tensor, &*step.record));
    }
    Print(step);
    if (step.told) return absl::OkStatus();
    for (const MergedFrom& from : step.record->from) {
      if (from.tensor.empty()) continue;
      RETURN_IF_ERROR(Tell(from.version, from.tensor, depth + 1, &from));
    }
    return absl::OkStatus();
  }

 private:
  struct Step {
    const v1::Version& version;
    const v1::Tensor& tensor;
    size_t depth;
    const MergedFrom* as;  // How the step before took it.
    bool told;             // All that is further in was told before.
    std::optional<MergeRecord> record;
  };

  absl::StatusOr<const v1::Version*> Get(const std::string& name) {
    const auto found = versions_.find(name);
    if (found != versions_.end()) return found->second.get();
    ASSIGN_OR_RETURN(Connection * connection, session_->Connect());
    const auto response = connection->GetVersion(name);
    if (!response.ok()) return WithNext(response.status(), "editctl models");
    return versions_.emplace(name, std::make_unique<v1::Version>(response->version())).first->second.get();
  }

  static const v1::Tensor* Find(const v1::Version& version, const std::string& name) {
    for (const v1::Tensor& tensor : version.tensors()) {
      if (tensor.name() == name) return &tensor;
    }
    return nullptr;
  }

  static absl::Status NoTensor(const v1::Version& version, const std::string& name) {
    if (version.tombstone()) {
      return absl::NotFoundError(StrCat("version ", ShortId(version.id()), ": gc took its tensors"));
    }
    std::vector<std::string> names;
    for (const v1::Tensor& tensor : version.tensors()) names.push_back(tensor.name());
    return WithNext(absl::NotFoundError(StrCat("version ", ShortId(version.id()), " has no tensor \"", Printable(name),
                                               "\"", DidYouMean(name, names))),
                    StrCat("editctl show ", ShortId(version.id()), " --tensors"));
  }

  absl::StatusOr<MergeRecord> Record(const v1::FileEntry& file, const std::string& tensor) {
    ASSIGN_OR_RETURN(Transfer * transfer, session_->ConnectTransfer());
    ASSIGN_OR_RETURN(const UniqueFd fd, transfer->GetAsset(file.asset()));
    ASSIGN_OR_RETURN(const MappedFile content, MappedFile::Map(fd.get(), 0, file.size(), file.name()));
    return ReadMergeRecord(content.view(), tensor);
  }

  // Without a record: a parent's tensor with these bytes is what it is; else the parents' tensors of this name went
  // into it, and the parents that have none were read beside them.
  absl::Status FromParents(const v1::Version& version, const v1::Tensor& tensor, MergeRecord* record) {
    for (const v1::Parent& parent : version.parents()) {
      MergedFrom from;
      from.input = parent.role();
      from.version = parent.version();
      const auto input = Get(parent.version());
      const v1::Tensor* const before = input.ok() ? Find(**input, tensor.name()) : nullptr;
      if (before != nullptr) from.tensor = tensor.name();
      if (before != nullptr && before->id() == tensor.id()) {
        record->same = true;
        record->from = {from};
        return absl::OkStatus();
      }
      record->from.push_back(std::move(from));
    }
    return absl::OkStatus();
  }

  void Print(const Step& step) {
    const v1::Version& version = step.version;
    const v1::Recipe& recipe = version.recipe();
    const MergeRecord& record = *step.record;
    if (session_->json) return PrintLine(step);
    std::string text(2 * step.depth, ' ');
    if (step.as != nullptr) {
      if (!step.as->input.empty()) StrAppend(&text, Printable(step.as->input), " ");
      if (step.as->base) text += "as the base ";
      if (step.as->weight.has_value()) StrAppend(&text, "with weight ", FormatNumber(*step.as->weight), " ");
    }
    StrAppend(&text, session_->Colour("33", ShortId(version.id())), " ", session_->Colour("1", step.tensor.name()),
              "  ", step.tensor.dtype(), " [", absl::StrJoin(step.tensor.shape(), ", "), "]");
    if (!version.refs().empty()) StrAppend(&text, "  ", session_->Colour("32", absl::StrJoin(version.refs(), ", ")));
    if (step.told) {
      session_->Print(text + "  (see above)\n");
      return;
    }
    const std::string made = StrCat(recipe.plugin(), record.method.empty() ? "" : StrCat(" ", record.method),
                                    version.job() > 0 ? StrCat(", job ", version.job()) : "");
    StrAppend(&text, "\n", std::string(2 * step.depth + 2, ' '));
    if (record.from.empty()) {
      StrAppend(&text, "came by ", made);
    } else if (record.same) {
      StrAppend(&text, "as it is in its input, by ", made);
    } else {
      StrAppend(&text, "made by ", made, ", from");
    }
    for (const MergedFrom& from : record.from) {
      if (!from.tensor.empty()) continue;
      StrAppend(&text, "\n", std::string(2 * step.depth + 2, ' '), from.input.empty() ? "" : from.input + " ",
                ShortId(from.version), ", which has no such tensor");
    }
    session_->Print(text + "\n");
  }

  void PrintLine(const Step& step) {
    std::string from;
    for (const MergedFrom& input : step.record->from) {
      StrAppend(&from, from.empty() ? "" : ",", "{\"input\":", JsonString(input.input),
                ",\"version\":", JsonString(input.version),
                ",\"tensor\":", input.tensor.empty() ? "null" : JsonString(input.tensor),
                ",\"base\":", input.base ? "true" : "false",
                ",\"weight\":", input.weight.has_value() ? JsonNumber(*input.weight) : "null", "}");
    }
    session_->Print(StrCat("{\"depth\":", step.depth, ",\"version\":", JsonString(step.version.id()),
                           ",\"tensor\":", JsonString(step.tensor.name()), ",\"id\":", JsonString(step.tensor.id()),
                           ",\"plugin\":", JsonString(step.version.recipe().plugin()),
                           ",\"method\":", step.record->method.empty() ? "null" : JsonString(step.record->method),
                           ",\"job\":", step.version.job(), ",\"same\":", step.record->same ? "true" : "false",
                           ",\"from\":[", from, "]}\n"));
  }

  Session* const session_;
  std::map<std::string, std::unique_ptr<v1::Version>> versions_;  // By the name that was asked for.
  std::set<std::pair<std::string, std::string>> told_;
};

}  // namespace

void AddBlameCommand(CLI::App* app, Session* session) {
  auto ref = std::make_shared<std::string>();
  auto tensor = std::make_shared<std::string>();
  CLI::App* const command = AddCommand(app, "blame", "Tell which edits and inputs made a tensor", kModels,
                                       "editctl blame smol-merged model.layers.0.mlp.up_proj.weight");
  command->add_option("ref", *ref, "A version")->type_name("REF")->required();
  command->add_option("tensor", *tensor, "The name of one of its tensors")->type_name("TENSOR")->required();
  command->callback([=] {
    session->command = [=]() -> absl::StatusOr<int> {
      RETURN_IF_ERROR(Blame(session).Tell(*ref, *tensor, 0, nullptr));
      return kExitOk;
    };
  });
}

}  // namespace editd::client
