// diff: what differs between two versions, tensor by tensor and file by file.
#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <set>

#include "absl/strings/str_join.h"
#include "client/commands/commands.h"
#include "client/file_diff.h"
#include "client/format.h"
#include "client/message_json.h"
#include "client/table.h"
#include "client/tensor_diff.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

using Kind = TensorChange::Kind;

constexpr size_t kShownKeys = 40;

std::string TypeAndShape(const v1::Tensor& tensor) {
  return StrCat(tensor.dtype(), " [", absl::StrJoin(tensor.shape(), ", "), "]");
}

const char* Word(Kind kind) {
  switch (kind) {
    case Kind::kChanged:
      return "changed";
    case Kind::kReshaped:
      return "reshaped";
    case Kind::kAdded:
      return "added";
    case Kind::kRemoved:
      return "removed";
    case Kind::kMoved:
      return "moved";
  }
  return "";
}

double Relative(const Norms& norms) { return norms.base > 0 ? norms.difference / norms.base : 0; }

std::string Percent(double share) { return StrCat(FormatNumber(share * 100).substr(0, 7), " %"); }

std::string What(const TensorChange& change) {
  switch (change.kind) {
    case Kind::kChanged: {
      std::string text = TypeAndShape(*change.b);
      if (change.a->dtype() != change.b->dtype()) text = StrCat(change.a->dtype(), " -> ", text);
      if (change.norms.has_value()) {
        StrAppend(&text, "  norm of difference ", FormatNumber(change.norms->difference), " (",
                  Percent(Relative(*change.norms)), "), largest ", FormatNumber(change.norms->max_abs));
      }
      return text;
    }
    case Kind::kReshaped:
      return StrCat(TypeAndShape(*change.a), " -> ", TypeAndShape(*change.b));
    case Kind::kAdded:
      return TypeAndShape(*change.b);
    case Kind::kRemoved:
      return TypeAndShape(*change.a);
    case Kind::kMoved:
      return StrCat("was ", change.a->name());
  }
  return "";
}

std::string TensorLine(const TensorChange& change) {
  std::string json = StrCat("{\"kind\":\"", Word(change.kind),
                            "\",\"tensor\":", JsonString((change.b != nullptr ? change.b : change.a)->name()));
  for (const auto& [key, tensor] : {std::pair{"a", change.a}, std::pair{"b", change.b}}) {
    if (tensor != nullptr) StrAppend(&json, ",\"", key, "\":", ToJson(*tensor, nullptr));
  }
  if (change.norms.has_value()) {
    StrAppend(&json, ",\"norm\":", JsonNumber(change.norms->difference),
              ",\"relative\":", JsonNumber(Relative(*change.norms)), ",\"max_abs\":", JsonNumber(change.norms->max_abs),
              ",\"elements_changed\":", change.norms->changed);
  }
  return json + "}\n";
}

void PrintTensors(Session* session, const TensorDiff& diff) {
  std::map<Kind, uint64_t> counts;
  for (const TensorChange& change : diff.changes) ++counts[change.kind];
  if (session->json) {
    for (const TensorChange& change : diff.changes) session->Print(TensorLine(change));
    std::string summary = StrCat("{\"kind\":\"tensors\",\"same\":", diff.same);
    for (const Kind kind : {Kind::kChanged, Kind::kReshaped, Kind::kAdded, Kind::kRemoved, Kind::kMoved}) {
      StrAppend(&summary, ",\"", Word(kind), "\":", counts[kind]);
    }
    session->Print(summary + "}\n");
    return;
  }
  std::string summary = StrCat("tensors: ", diff.same, " same");
  for (const auto& [kind, count] : counts) StrAppend(&summary, ", ", count, " ", Word(kind));
  session->Print(summary + "\n");
  Table table({{""}, {""}, {""}});
  for (const TensorChange& change : diff.changes) {
    table.Row({StrCat("  ", Word(change.kind)), (change.b != nullptr ? change.b : change.a)->name(), What(change)});
  }
  session->Print(table.ToString(session->width()));
}

std::string KeyText(const std::string& value) { return value.empty() ? "not there" : FitWidth(Printable(value), 60); }

void PrintKeys(Session* session, const std::string& file, const std::vector<KeyChange>& keys) {
  size_t shown = 0;
  for (const KeyChange& key : keys) {
    if (session->json) {
      session->Print(StrCat("{\"kind\":\"key\",\"file\":", JsonString(file), ",\"key\":", JsonString(key.key),
                            ",\"a\":", key.a.empty() ? "null" : key.a, ",\"b\":", key.b.empty() ? "null" : key.b,
                            "}\n"));
    } else if (++shown <= kShownKeys) {
      session->Print(StrCat("  ", Printable(key.key), "  ", KeyText(key.a), " -> ", KeyText(key.b), "\n"));
    }
  }
  if (shown > kShownKeys) session->Print(StrCat("  and ", shown - kShownKeys, " more; --json has them all\n"));
}

std::string Samples(const std::vector<std::string>& samples, uint64_t count) {
  if (samples.empty()) return "";
  std::string text;
  for (const std::string& sample : samples) StrAppend(&text, text.empty() ? "" : " ", JsonString(sample));
  return StrCat(": ", text, count > samples.size() ? " ..." : "");
}

void PrintTokenizer(Session* session, const TokenizerDiff& diff) {
  if (session->json) {
    std::string json =
        StrCat("{\"kind\":\"tokenizer\",\"tokens_a\":", diff.tokens_a, ",\"tokens_b\":", diff.tokens_b,
               ",\"merges_a\":", diff.merges_a, ",\"merges_b\":", diff.merges_b, ",\"added\":", diff.added,
               ",\"removed\":", diff.removed, ",\"renumbered\":", diff.renumbered, "}\n");
    session->Print(json);
  } else {
    session->Print(StrCat("  tokens  ", diff.tokens_a, " -> ", diff.tokens_b, ", merges ", diff.merges_a, " -> ",
                          diff.merges_b, ", ", diff.renumbered, " tokens under another id\n"));
    if (diff.added > 0) {
      session->Print(StrCat("  added   ", diff.added, Samples(diff.added_samples, diff.added), "\n"));
    }
    if (diff.removed > 0) {
      session->Print(StrCat("  removed ", diff.removed, Samples(diff.removed_samples, diff.removed), "\n"));
    }
  }
  PrintKeys(session, "tokenizer.json", diff.settings);
}

// The content of a file of a version.
absl::StatusOr<MappedFile> MapAsset(Session* session, const v1::FileEntry& file) {
  ASSIGN_OR_RETURN(Transfer * transfer, session->ConnectTransfer());
  ASSIGN_OR_RETURN(const UniqueFd fd, transfer->GetAsset(file.asset()));
  return MappedFile::Map(fd.get(), 0, file.size(), file.name());
}

absl::Status PrintFile(Session* session, const v1::FileEntry& a, const v1::FileEntry& b) {
  const std::string& name = b.name();
  const std::string sizes =
      StrCat(FormatBytes(static_cast<double>(a.size())), " -> ", FormatBytes(static_cast<double>(b.size())));
  if (session->json) {
    session->Print(StrCat("{\"kind\":\"file_changed\",\"file\":", JsonString(name), ",\"a\":", ToJson(a, nullptr),
                          ",\"b\":", ToJson(b, nullptr), "}\n"));
  } else {
    session->Print(StrCat(Printable(name), ": ", sizes, "\n"));
  }
  if (!name.ends_with(".json")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const MappedFile from, MapAsset(session, a));
  ASSIGN_OR_RETURN(const MappedFile to, MapAsset(session, b));
  if (name == "tokenizer.json") {
    const auto diff = CompareTokenizers(from.view(), to.view());
    if (diff.ok()) PrintTokenizer(session, *diff);
  } else {
    const auto keys = CompareJson(name, from.view(), to.view());
    if (keys.ok()) PrintKeys(session, name, *keys);
  }
  return absl::OkStatus();
}

absl::Status PrintFiles(Session* session, const v1::Version& a, const v1::Version& b) {
  std::map<std::string, std::pair<const v1::FileEntry*, const v1::FileEntry*>> files;
  for (const v1::FileEntry& file : a.files()) files[file.name()].first = &file;
  for (const v1::FileEntry& file : b.files()) files[file.name()].second = &file;
  for (const auto& [name, sides] : files) {
    const auto& [before, after] = sides;
    if (before != nullptr && after != nullptr) {
      if (before->asset() != after->asset()) RETURN_IF_ERROR(PrintFile(session, *before, *after));
      continue;
    }
    const char* const word = before == nullptr ? "added" : "removed";
    if (session->json) {
      session->Print(StrCat("{\"kind\":\"file_", word, "\",\"file\":", JsonString(name), "}\n"));
    } else {
      session->Print(StrCat(Printable(name), ": ", word, "\n"));
    }
  }
  return absl::OkStatus();
}

void PrintAttributes(Session* session, const v1::Version& a, const v1::Version& b) {
  std::set<std::string> keys;
  for (const auto& [key, value] : a.attributes()) keys.insert(key);
  for (const auto& [key, value] : b.attributes()) keys.insert(key);
  std::vector<KeyChange> changes;
  const auto value_of = [](const v1::Version& version, const std::string& key) {
    const auto found = version.attributes().find(key);
    return found == version.attributes().end() ? "" : JsonString(found->second);
  };
  for (const std::string& key : keys) {
    if (value_of(a, key) != value_of(b, key)) changes.push_back({key, value_of(a, key), value_of(b, key)});
  }
  if (changes.empty()) return;
  if (!session->json) session->Print("attributes:\n");
  PrintKeys(session, "", changes);
}

absl::StatusOr<int> RunDiff(Session* session, const std::string& a_name, const std::string& b_name, bool norms) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  const auto a = connection->GetVersion(a_name);
  if (!a.ok()) return WithNext(a.status(), "editctl models");
  const auto b = connection->GetVersion(b_name);
  if (!b.ok()) return WithNext(b.status(), "editctl models");
  if (a->version().content() == b->version().content() && !session->json) {
    session->Print(StrCat(a_name, " and ", b_name, " have the same content\n"));
    return kExitOk;
  }
  TensorDiff diff = CompareTensors(a->version(), b->version());
  if (norms) {
    ASSIGN_OR_RETURN(Transfer * transfer, session->ConnectTransfer());
    RETURN_IF_ERROR(ComputeNorms(transfer, &diff));
  }
  PrintTensors(session, diff);
  PrintAttributes(session, a->version(), b->version());
  RETURN_IF_ERROR(PrintFiles(session, a->version(), b->version()));
  return kExitOk;
}

}  // namespace

void AddDiffCommand(CLI::App* app, Session* session) {
  auto a = std::make_shared<std::string>();
  auto b = std::make_shared<std::string>();
  auto no_norms = std::make_shared<bool>(false);
  CLI::App* const command =
      AddCommand(app, "diff", "Tell what differs between two versions: tensors, config, tokenizer", kModels,
                 "editctl diff smol smol-envi");
  command->add_option("a", *a, "A version")->type_name("REF")->required();
  command->add_option("b", *b, "Another")->type_name("REF")->required();
  command->add_flag("--no-norms", *no_norms, "Do not read tensors; only tell which changed");
  command->callback([=] { session->command = [=] { return RunDiff(session, *a, *b, !*no_norms); }; });
}

}  // namespace editd::client
