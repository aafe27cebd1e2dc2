// eval: what was measured of versions, and how two compare, without a run. The plugin's page:
// plugins/evaluate/METRICS.md.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <numbers>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "client/commands/commands.h"
#include "client/format.h"
#include "client/measured.h"
#include "client/message_json.h"
#include "client/outcome.h"
#include "client/paired.h"
#include "client/table.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

using Json = nlohmann::json;

constexpr size_t kShown = 10;  // Documents or questions that changed most.

// A job that measured a version, and which of its inputs that is.
struct Measured {
  v1::Job job;
  int input = 0;
};

// What a job measured with: data and settings, whatever the models.
std::string WithOf(const v1::Job& job) { return StrCat(job.spec().plugin(), "\n", job.canonical_params().value()); }

bool IsMeasured(const v1::FileEntry& file) { return IsMeasuredFile(file.name()); }

// Jobs that measured one of these versions, newest first.
absl::StatusOr<std::vector<v1::Job>> MeasuringJobs(Connection* connection, const std::vector<std::string>& versions) {
  std::map<uint64_t, v1::Job> jobs;
  v1::ListMeasurementsRequest request;
  request.mutable_versions()->Assign(versions.begin(), versions.end());
  request.set_with_jobs(true);
  ASSIGN_OR_RETURN(v1::ListMeasurementsResponse response, connection->ListMeasurements(request));
  for (v1::Measurement& measurement : *response.mutable_measurements()) {
    v1::Job* const job = measurement.mutable_details();
    if (std::any_of(job->exported().begin(), job->exported().end(), IsMeasured)) jobs[job->id()] = std::move(*job);
  }
  std::vector<v1::Job> out;
  for (auto job = jobs.rbegin(); job != jobs.rend(); ++job) out.push_back(std::move(job->second));
  return out;
}

std::optional<int> InputOf(const v1::Job& job, const std::string& version) {
  for (int i = 0; i < job.input_versions_size(); ++i) {
    if (job.input_versions(i) == version) return i;
  }
  return std::nullopt;
}

absl::StatusOr<std::string> VersionOf(Connection* connection, const std::string& name) {
  const auto response = connection->GetVersion(name);
  if (!response.ok()) return WithNext(response.status(), "editctl models");
  return response->version().id();
}

absl::StatusOr<Json> ResultOf(Session* session, const v1::Job& job) {
  session->TryLoadTypes(job.spec().plugin());
  Json json = Json::parse(ToJson(job.result(), session->types()), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::DataLossError(StrCat("job ", job.id(), ": its result cannot be read"));
  return json;
}

double NumberOf(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number() ? found->get<double>() : 0;
}

// A whole number, which prints with all its digits.
uint64_t CountOf(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

std::string TextOf(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

// A part of a result; an empty object if it has none of that name.
Json PartOf(const Json& of, const char* name) { return of.value(name, Json::object()); }

// What the parts of a result read, each name once.
std::string DataText(const Json& result) {
  std::string text;
  std::set<std::string> told;
  for (const Json& part : {result, PartOf(PartOf(result, "multiple_choice"), "questions"),
                           PartOf(PartOf(result, "generated_answers"), "questions")}) {
    for (const Json& data : part.value("data", Json::array())) {
      const std::string path = TextOf(data, "path");
      if (told.insert(path).second) StrAppend(&text, text.empty() ? "" : ", ", path);
    }
  }
  return text;
}

// How texts are scored; without texts, how questions are.
std::string SettingsText(const Json& result) {
  if (!result.contains("settings")) {
    const Json choice = PartOf(result, "multiple_choice"), answers = PartOf(result, "generated_answers");
    const std::string compute = TextOf(choice.empty() ? answers : choice, "compute");
    const bool letters = TextOf(choice, "continuation") == "CONTINUATION_LETTER";
    return StrCat(EnumWord(compute, "COMPUTE_TYPE_"), letters ? ", letters" : "");
  }
  const Json settings = PartOf(result, "settings");
  std::string text = EnumWord(TextOf(settings, "convention"), "CONVENTION_");
  StrAppend(&text, " ", CountOf(settings, "context"), "/", CountOf(settings, "stride"), " ",
            EnumWord(TextOf(settings, "compute"), "COMPUTE_TYPE_"));
  if (CountOf(settings, "max_tokens") > 0) StrAppend(&text, ", ", CountOf(settings, "max_tokens"), " tokens");
  return text;
}

// --- compare --------------------------------------------------------------------------------------------------------

// A file of a job; nothing if it has none of that name.
absl::StatusOr<std::optional<MeasuredFile>> Fetch(const v1::Job& job, std::string_view name, Transfer* transfer) {
  const auto file = std::find_if(job.exported().begin(), job.exported().end(),
                                 [&](const v1::FileEntry& entry) { return entry.name() == name; });
  if (file == job.exported().end()) return std::optional<MeasuredFile>();
  ASSIGN_OR_RETURN(const UniqueFd fd, transfer->GetAsset(file->asset()));
  ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::Map(fd.get(), 0, file->size(), file->name()));
  auto parsed = ParseMeasured(mapped.view());
  if (!parsed.ok()) return Annotate(parsed.status(), StrCat("job ", job.id(), ": ", name));
  return *std::move(parsed);
}

// What is compared.
struct Sides {
  std::string names[2], versions[2];
  Measured measured[2];

  size_t input(int side) const { return static_cast<size_t>(measured[side].input); }
};

std::string CutsOf(const MeasuredFile& file, size_t input) {
  const Json& models = file.head["models"];
  return input < models.size() ? TextOf(models[input], "cuts") : "";
}

// The newest data and settings that both were measured with, or those of job `with`, which may be null.
absl::Status FindCommon(const std::vector<v1::Job>& jobs, const std::string versions[2], const std::string names[2],
                        const v1::Job* with, Measured out[2], size_t* others) {
  std::map<std::string, const v1::Job*> newest[2];
  std::set<std::string> common;
  std::string best;
  for (const v1::Job& job : jobs) {
    for (int side = 0; side < 2; ++side) {
      if (InputOf(job, versions[side]).has_value()) newest[side].emplace(WithOf(job), &job);
    }
  }
  uint64_t latest = 0;
  for (const auto& [key, job] : newest[0]) {
    const auto other = newest[1].find(key);
    if (other == newest[1].end()) continue;
    common.insert(key);
    if (std::max(job->id(), other->second->id()) > latest) {
      latest = std::max(job->id(), other->second->id());
      best = key;
    }
  }
  if (with != nullptr) {
    best = WithOf(*with);
    if (!common.contains(best)) {
      return absl::NotFoundError(StrCat(names[newest[0].contains(best) ? 1 : 0], " was not measured as job ",
                                        with->id(), " measured; evaluate it with the same data and settings first"));
    }
  }
  if (common.empty()) {
    return absl::NotFoundError(StrCat(names[0], " and ", names[1],
                                      " were not measured on the same data with the same settings; evaluate both with "
                                      "one spec first"));
  }
  *others = common.size() - 1;
  // A job that measured both cut their windows at the same bytes.
  const auto both = std::find_if(jobs.begin(), jobs.end(), [&](const v1::Job& job) {
    return WithOf(job) == best && InputOf(job, versions[0]).has_value() && InputOf(job, versions[1]).has_value();
  });
  for (int side = 0; side < 2; ++side) {
    const v1::Job& job = both != jobs.end() ? *both : *newest[side].at(best);
    out[side] = {job, *InputOf(job, versions[side])};
  }
  return absl::OkStatus();
}

Json DifferenceJson(const PairedDifference& paired) {
  return {{"difference", paired.difference},
          {"error", paired.error},
          {"low", paired.low},
          {"high", paired.high},
          {"p", paired.p}};
}

// Mean probability of tokens outside the allowed scripts; nothing if a measurement did not look at that.
std::optional<PairedDifference> CompareLeak(const Sides& sides, const MeasuredFile files[2]) {
  std::vector<DocumentPair> pairs;
  for (size_t d = 0; d < files[0].lines.size(); ++d) {
    DocumentPair& pair = pairs.emplace_back();
    for (int side = 0; side < 2; ++side) {
      const Json& line = files[side].lines[d];
      if (!line.contains("outside")) return std::nullopt;
      pair.sum[side] = EntryOf(line, "outside", sides.input(side));
      pair.of[side] = EntryOf(line, "tokens", sides.input(side));
    }
  }
  return ComparePaired(pairs);
}

absl::Status CompareDocuments(Session* session, const Sides& sides, const MeasuredFile files[2], const Json& result,
                              Json* out) {
  const std::vector<Json>& documents = files[0].lines;
  if (documents.size() != files[1].lines.size()) {
    return absl::FailedPreconditionError(
        "the two measurements have different documents; with max_tokens each model's "
        "tokens end the data elsewhere: measure both without it");
  }
  std::vector<DocumentPair> pairs;
  std::vector<size_t> order;
  for (size_t d = 0; d < documents.size(); ++d) {
    DocumentPair& pair = pairs.emplace_back();
    for (int side = 0; side < 2; ++side) {
      pair.sum[side] = EntryOf(files[side].lines[d], "nll", sides.input(side));
      pair.of[side] = EntryOf(files[side].lines[d], "scored", sides.input(side));
    }
    order.push_back(d);
  }
  const PairedDifference paired = ComparePaired(pairs, std::numbers::ln2);
  const std::optional<PairedDifference> leak = CompareLeak(sides, files);
  // Those that changed most: by how far the difference would be another without them.
  const auto change = [&](size_t d) { return std::abs(pairs[d].sum[1] - pairs[d].sum[0]); };
  std::stable_sort(order.begin(), order.end(), [&](size_t x, size_t y) { return change(x) > change(y); });
  order.resize(std::min(order.size(), kShown));
  const auto bits = [&](size_t d, int side) {
    return pairs[d].of[side] > 0 ? pairs[d].sum[side] / pairs[d].of[side] / std::numbers::ln2 : 0;
  };
  const bool same_cuts = CutsOf(files[0], sides.input(0)) == CutsOf(files[1], sides.input(1));

  if (session->json) {
    *out = {{"documents", documents.size()}, {"same_windows", same_cuts}, {"most_changed", Json::array()}};
    out->update(DifferenceJson(paired));
    if (leak.has_value()) {
      (*out)["script_leak"] = DifferenceJson(*leak);
      (*out)["script_leak"].update({{"a", leak->value[0]}, {"b", leak->value[1]}});
    }
    for (int side = 0; side < 2; ++side) {
      (*out)[side == 0 ? "a" : "b"] = {{"version", sides.versions[side]},
                                       {"job", sides.measured[side].job.id()},
                                       {"bits_per_byte", paired.value[side]}};
    }
    for (size_t d : order) {
      (*out)["most_changed"].push_back({{"file", documents[d]["file"]},
                                        {"line", documents[d]["line"]},
                                        {"bytes", documents[d]["bytes"]},
                                        {"a", bits(d, 0)},
                                        {"b", bits(d, 1)}});
    }
    return absl::OkStatus();
  }
  const std::string &a = sides.names[0], &b = sides.names[1];
  session->Print(
      StrCat(DataText(result), ", ", Plural(documents.size(), "document"), ", ", SettingsText(result), "\n\n"));
  Table table({{""}, {"VERSION"}, {"JOB", Table::Align::kRight}, {"BITS/BYTE", Table::Align::kRight}});
  for (int side = 0; side < 2; ++side) {
    table.Row({sides.names[side], ShortId(sides.versions[side]), StrCat(sides.measured[side].job.id()),
               absl::StrFormat("%.5f", paired.value[side])});
  }
  session->Print(table.ToString(session->width()));
  std::string line = absl::StrFormat("\n%s - %s: %+.5f bits a byte", b, a, paired.difference);
  if (documents.size() > 1) {
    absl::StrAppendFormat(&line, " (95 %%: %+.5f to %+.5f), p = %.3g", paired.low, paired.high, paired.p);
  } else {
    StrAppend(&line, "; one document gives no error: JSON lines have many");
  }
  session->Print(line + "\n");
  if (leak.has_value()) {
    std::string scripts;
    for (const Json& script : PartOf(result, "script_leak").value("allowed_script", Json::array())) {
      StrAppend(&scripts, scripts.empty() ? "" : ", ", script.get<std::string>());
    }
    line = absl::StrFormat("script leak beyond %s: %s %.4g, %s %.4g, %s - %s: %+.4g", scripts, a, leak->value[0], b,
                           leak->value[1], b, a, leak->difference);
    if (documents.size() > 1) {
      absl::StrAppendFormat(&line, " (95 %%: %+.4g to %+.4g), p = %.3g", leak->low, leak->high, leak->p);
    }
    session->Print(line + "\n");
  }
  if (!same_cuts) session->Print("The windows were cut at other places: part of the difference may be context.\n");
  Table most({{"CHANGED MOST"},
              {"BYTES", Table::Align::kRight},
              {a, Table::Align::kRight},
              {b, Table::Align::kRight},
              {"CHANGE", Table::Align::kRight}});
  for (size_t d : order) {
    const uint64_t line_number = CountOf(documents[d], "line");
    most.Row({StrCat(TextOf(documents[d], "file"), line_number > 0 ? StrCat(":", line_number) : ""),
              StrCat(CountOf(documents[d], "bytes")), absl::StrFormat("%.4f", bits(d, 0)),
              absl::StrFormat("%.4f", bits(d, 1)), absl::StrFormat("%+.4f", bits(d, 1) - bits(d, 0))});
  }
  session->Print("\n" + most.ToString(session->width()));
  return absl::OkStatus();
}

// `what`: "multiple choice".
absl::Status CompareAnswers(Session* session, const Sides& sides, const MeasuredFile files[2], const char* what,
                            Json* out) {
  const size_t input[2] = {sides.input(0), sides.input(1)};
  ASSIGN_OR_RETURN(const std::vector<QuestionDifference> metrics, CompareQuestions(files, input));
  const std::vector<Json>& questions = files[0].lines;
  if (session->json) {
    Json of = {{"what", what}, {"questions", questions.size()}, {"metrics", Json::array()}};
    for (const QuestionDifference& metric : metrics) {
      const PairedDifference& paired = metric.paired;
      Json entry = {{"metric", metric.metric},
                    {"a", paired.value[0]},
                    {"b", paired.value[1]},
                    {"changed", metric.changed.size()}};
      entry.update(DifferenceJson(paired));
      of["metrics"].push_back(std::move(entry));
    }
    (*out)["questions"].push_back(std::move(of));
    return absl::OkStatus();
  }
  session->Print(StrCat(what, ", ", Plural(questions.size(), "question"), "\n\n"));
  Table table({{""},
               {sides.names[0], Table::Align::kRight},
               {sides.names[1], Table::Align::kRight},
               {"CHANGE", Table::Align::kRight},
               {"95 %", Table::Align::kRight},
               {"P", Table::Align::kRight},
               {"QUESTIONS", Table::Align::kRight}});
  for (const QuestionDifference& metric : metrics) {
    const PairedDifference& paired = metric.paired;
    table.Row({metric.metric, absl::StrFormat("%.4f", paired.value[0]), absl::StrFormat("%.4f", paired.value[1]),
               absl::StrFormat("%+.4f", paired.difference), absl::StrFormat("%+.4f to %+.4f", paired.low, paired.high),
               absl::StrFormat("%.3g", paired.p), StrCat(metric.changed.size(), " changed")});
  }
  session->Print(table.ToString(session->width()));
  if (metrics.empty() || metrics[0].changed.empty()) return absl::OkStatus();
  std::string line = StrCat("\nchanged in ", metrics[0].metric, ":");
  for (size_t i = 0; i < std::min(kShown, metrics[0].changed.size()); ++i) {
    const Json& question = questions[metrics[0].changed[i]];
    StrAppend(&line, i == 0 ? " " : ", ", TextOf(question, "file"), ":", CountOf(question, "line"));
  }
  session->Print(StrCat(line, metrics[0].changed.size() > kShown ? ", ..." : "", "\n"));
  return absl::OkStatus();
}

absl::StatusOr<int> RunCompare(Session* session, const std::string& a, const std::string& b, uint64_t with) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  Sides sides = {{a, b}, {}, {}};
  for (int side = 0; side < 2; ++side) {
    ASSIGN_OR_RETURN(sides.versions[side], VersionOf(connection, sides.names[side]));
  }
  ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, MeasuringJobs(connection, {sides.versions[0], sides.versions[1]}));
  v1::Job of;
  if (with > 0) {
    // It may have been answered from another job's result: its data and settings count.
    ASSIGN_OR_RETURN(v1::GetJobResponse response, connection->GetJob(with));
    of = std::move(*response.mutable_job());
    if (std::none_of(of.exported().begin(), of.exported().end(), IsMeasured)) {
      return WithNext(absl::NotFoundError(StrCat("job ", with, " measured nothing")),
                      StrCat("editctl eval history ", a));
    }
  }
  size_t others = 0;
  const absl::Status found =
      FindCommon(jobs, sides.versions, sides.names, with > 0 ? &of : nullptr, sides.measured, &others);
  if (!found.ok()) return WithNext(found, StrCat("editctl eval history ", a));
  ASSIGN_OR_RETURN(Transfer * transfer, session->ConnectTransfer());
  // Both files of that name; the second is there if the first is.
  const auto fetch = [&](const char* name, MeasuredFile files[2]) -> absl::StatusOr<bool> {
    for (int side = 0; side < 2; ++side) {
      ASSIGN_OR_RETURN(std::optional<MeasuredFile> file, Fetch(sides.measured[side].job, name, transfer));
      if (!file.has_value()) return false;
      files[side] = *std::move(file);
    }
    return true;
  };
  ASSIGN_OR_RETURN(const Json result, ResultOf(session, sides.measured[1].job));
  const bool same_plugin = sides.measured[0].job.plugin_hash() == sides.measured[1].job.plugin_hash();
  Json out = Json::object();
  bool any = false;
  MeasuredFile files[2];
  ASSIGN_OR_RETURN(const bool documents, fetch(kMeasuredDocuments, files));
  if (documents) {
    RETURN_IF_ERROR(CompareDocuments(session, sides, files, result, &out));
    any = true;
  }
  for (const auto& [name, what] : kMeasuredQuestions) {
    ASSIGN_OR_RETURN(const bool questions, fetch(name, files));
    if (!questions) continue;
    if (any && !session->json) session->Print("\n");
    RETURN_IF_ERROR(CompareAnswers(session, sides, files, what, &out));
    any = true;
  }
  if (session->json) {
    out["same_plugin"] = same_plugin;
    session->Print(out.dump() + "\n");
    return kExitOk;
  }
  if (!same_plugin) session->Print("They were measured by different builds of the plugin.\n");
  if (others > 0) {
    session->Note(StrCat("the two have ", Plural(others, "other measurement"), " in common; --with JOB takes one\n"));
  }
  return kExitOk;
}

// --- history, show --------------------------------------------------------------------------------------------------

// What a job measured of one of its inputs; empty objects where it did not.
struct MeasuredParts {
  Json perplexity, leak, choice, answers;
};

MeasuredParts PartsOf(const Json& result, size_t input) {
  const auto entry = [&](const Json& of, const char* list) {
    const Json all = of.value(list, Json::array());
    return input < all.size() ? all[input] : Json::object();
  };
  return {entry(result, "perplexity"), entry(PartOf(result, "script_leak"), "scores"),
          entry(PartOf(result, "multiple_choice"), "scores"), entry(PartOf(result, "generated_answers"), "scores")};
}

// "0.5714 ±0.1373"; nothing if it was not measured.
std::string ShareText(const Json& scores, const char* key) {
  if (!scores.contains(key)) return "";
  const Json share = PartOf(scores, key);
  return absl::StrFormat("%.4f ±%.4f", NumberOf(share, "value"), NumberOf(share, "error"));
}

Table WithoutEmptyColumns(const std::vector<Table::Column>& columns,
                          const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> kept;
  std::vector<Table::Column> used;
  for (size_t c = 0; c < columns.size(); ++c) {
    if (std::all_of(rows.begin(), rows.end(), [&](const auto& row) { return row[c].empty(); })) continue;
    kept.push_back(c);
    used.push_back(columns[c]);
  }
  Table table(used);
  for (const std::vector<std::string>& row : rows) {
    std::vector<std::string> cells;
    for (size_t c : kept) cells.push_back(row[c]);
    table.Row(std::move(cells));
  }
  return table;
}

absl::StatusOr<int> RunHistory(Session* session, const std::string& name) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  const auto lineage = connection->GetLineage(name);
  if (!lineage.ok()) return WithNext(lineage.status(), "editctl models");
  std::vector<std::string> versions;
  for (const v1::Version& version : lineage->versions()) versions.push_back(version.id());
  ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, MeasuringJobs(connection, versions));
  const std::vector<Table::Column> columns = {{"VERSION"},
                                              {"MADE BY"},
                                              {"JOB", Table::Align::kRight},
                                              {"BITS/BYTE", Table::Align::kRight},
                                              {"±", Table::Align::kRight},
                                              {"PERPLEXITY", Table::Align::kRight},
                                              {"LEAK", Table::Align::kRight},
                                              {"ACC", Table::Align::kRight},
                                              {"ACC_NORM", Table::Align::kRight},
                                              {"ANSWERS", Table::Align::kRight},
                                              {"DATA"},
                                              {"SETTINGS"}};
  std::vector<std::vector<std::string>> rows;
  for (auto version = lineage->versions().rbegin(); version != lineage->versions().rend(); ++version) {
    for (auto job = jobs.rbegin(); job != jobs.rend(); ++job) {
      const std::optional<int> input = InputOf(*job, version->id());
      if (!input.has_value()) continue;
      ASSIGN_OR_RETURN(const Json result, ResultOf(session, *job));
      const MeasuredParts of = PartsOf(result, static_cast<size_t>(*input));
      if (session->json) {
        Json line = {{"version", version->id()},
                     {"plugin", version->recipe().plugin()},
                     {"job", job->id()},
                     {"data", result.value("data", Json::array())},
                     {"settings", PartOf(result, "settings")}};
        for (const auto& [name, part] :
             {std::pair("perplexity", &of.perplexity), std::pair("script_leak", &of.leak),
              std::pair("multiple_choice", &of.choice), std::pair("generated_answers", &of.answers)}) {
          if (!part->empty()) line[name] = *part;
        }
        session->Print(line.dump() + "\n");
        continue;
      }
      const auto number = [](const Json& part, const char* key, int digits) {
        return part.empty() ? "" : absl::StrFormat("%.*f", digits, NumberOf(part, key));
      };
      rows.push_back({ShortId(version->id()), version->recipe().plugin(), StrCat(job->id()),
                      number(of.perplexity, "bits_per_byte", 5), number(of.perplexity, "bits_per_byte_error", 5),
                      number(of.perplexity, "perplexity", 4),
                      NumberOf(of.leak, "positions") > 0
                          ? absl::StrFormat("%.4g", NumberOf(PartOf(of.leak, "mass"), "value"))
                          : "",
                      ShareText(of.choice, "acc"), ShareText(of.choice, "acc_norm"), ShareText(of.answers, "accuracy"),
                      DataText(result), SettingsText(result)});
    }
  }
  if (session->json) return kExitOk;
  if (rows.empty()) {
    session->Note(
        StrCat("neither ", name, " nor what it was made of was measured; editctl init evaluate has a spec\n"));
    return kExitOk;
  }
  session->Print(WithoutEmptyColumns(columns, rows).ToString(session->width()));
  return kExitOk;
}

// `each`: what was measured of each document or question, as it is stored, instead of the result.
absl::StatusOr<int> RunShowEvaluation(Session* session, const std::string& name, bool each) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  v1::Job job;
  uint64_t id = 0;
  if (absl::SimpleAtoi(name, &id)) {
    ASSIGN_OR_RETURN(const v1::GetJobResponse response, connection->GetJob(id));
    job = response.job();
  } else {
    ASSIGN_OR_RETURN(const std::string version, VersionOf(connection, name));
    ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, MeasuringJobs(connection, {version}));
    const auto found = std::find_if(jobs.begin(), jobs.end(),
                                    [&](const v1::Job& other) { return InputOf(other, version).has_value(); });
    if (found == jobs.end()) {
      return WithNext(absl::NotFoundError(StrCat(name, " was not measured yet")), "editctl init evaluate");
    }
    job = *found;
  }
  if (each) {
    ASSIGN_OR_RETURN(Transfer * transfer, session->ConnectTransfer());
    bool any = false;
    for (const v1::FileEntry& file : job.exported()) {
      if (!IsMeasuredFile(file.name())) continue;
      ASSIGN_OR_RETURN(const UniqueFd fd, transfer->GetAsset(file.asset()));
      ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::Map(fd.get(), 0, file.size(), file.name()));
      session->Print(std::string(mapped.view()));
      any = true;
    }
    if (!any) return absl::NotFoundError(StrCat("job ", job.id(), " measured no documents or questions"));
    return kExitOk;
  }
  session->TryLoadTypes(job.spec().plugin());
  if (session->json) {
    session->Print(OutcomeJson(job, *session->types()) + "\n");
    return kExitOk;
  }
  const Outcome outcome = DescribeOutcome(job, *session->types());
  session->Print(StrCat(outcome.summary, "\n", outcome.result));
  return kExitOk;
}

}  // namespace

void AddEvalCommands(CLI::App* app, Session* session) {
  CLI::App* const eval = AddCommand(app, "eval", "What was measured of versions, and how two compare, without a run",
                                    kModels, "editctl eval compare smol smol-envi");
  eval->require_subcommand(1);
  {
    auto a = std::make_shared<std::string>();
    auto b = std::make_shared<std::string>();
    auto with = std::make_shared<uint64_t>(0);
    CLI::App* const command = eval->add_subcommand("compare", "The difference of two versions on the same documents");
    command->add_option("a", *a, "A version")->type_name("REF")->required();
    command->add_option("b", *b, "The other")->type_name("REF")->required();
    command->add_option("--with", *with, "Data and settings of this job, not the newest")->type_name("JOB");
    command->callback([=] { session->command = [=] { return RunCompare(session, *a, *b, *with); }; });
  }
  {
    auto name = std::make_shared<std::string>();
    CLI::App* const command = eval->add_subcommand("history", "Measurements of a version and of what it was made of");
    command->add_option("ref", *name, "A version")->type_name("REF")->required();
    command->callback([=] { session->command = [=] { return RunHistory(session, *name); }; });
  }
  {
    auto name = std::make_shared<std::string>();
    CLI::App* const command = eval->add_subcommand("show", "All numbers of a measurement");
    auto each = std::make_shared<bool>(false);
    command->add_option("what", *name, "A version (its newest measurement) or a job")->type_name("REF")->required();
    command->add_flag("--each", *each, "Each document and question, as JSON lines");
    command->callback([=] { session->command = [=] { return RunShowEvaluation(session, *name, *each); }; });
  }
}

}  // namespace editd::client
