// eval: what was measured of versions, and how two compare, without a run. The plugin's page:
// plugins/evaluate/METRICS.md.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

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

// `of`: a result, or the part of one that read files.
std::string DataText(const Json& of) {
  std::string text;
  for (const Json& data : of.value("data", Json::array())) {
    StrAppend(&text, text.empty() ? "" : ", ", TextOf(data, "path"));
  }
  return text;
}

std::string SettingsText(const Json& result) {
  const Json settings = result.value("settings", Json::object());
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
  for (int side = 0; side < 2; ++side) {
    const v1::Job& job = *newest[side].at(best);
    out[side] = {job, *InputOf(job, versions[side])};
  }
  return absl::OkStatus();
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
      pair.nll[side] = EntryOf(files[side].lines[d], "nll", sides.input(side));
      pair.bytes[side] = EntryOf(files[side].lines[d], "scored", sides.input(side));
    }
    order.push_back(d);
  }
  const PairedDifference paired = ComparePaired(pairs);
  // Those that changed most: by how far the difference would be another without them.
  const auto change = [&](size_t d) { return std::abs(pairs[d].nll[1] - pairs[d].nll[0]); };
  std::stable_sort(order.begin(), order.end(), [&](size_t x, size_t y) { return change(x) > change(y); });
  order.resize(std::min(order.size(), kShown));
  const auto bits = [&](size_t d, int side) {
    return pairs[d].bytes[side] > 0 ? pairs[d].nll[side] / pairs[d].bytes[side] / std::log(2.0) : 0;
  };
  const bool same_cuts = CutsOf(files[0], sides.input(0)) == CutsOf(files[1], sides.input(1));

  if (session->json) {
    *out = {{"documents", documents.size()}, {"difference", paired.difference},
            {"error", paired.error},         {"low", paired.low},
            {"high", paired.high},           {"p", paired.p},
            {"same_windows", same_cuts},     {"most_changed", Json::array()}};
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
      of["metrics"].push_back({{"metric", metric.metric},
                               {"a", paired.value[0]},
                               {"b", paired.value[1]},
                               {"difference", paired.difference},
                               {"error", paired.error},
                               {"low", paired.low},
                               {"high", paired.high},
                               {"p", paired.p},
                               {"changed", metric.changed.size()}});
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

absl::StatusOr<int> RunHistory(Session* session, const std::string& name) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  const auto lineage = connection->GetLineage(name);
  if (!lineage.ok()) return WithNext(lineage.status(), "editctl models");
  std::vector<std::string> versions;
  for (const v1::Version& version : lineage->versions()) versions.push_back(version.id());
  ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, MeasuringJobs(connection, versions));
  Table table({{"VERSION"},
               {"MADE BY"},
               {"JOB", Table::Align::kRight},
               {"BITS/BYTE", Table::Align::kRight},
               {"±", Table::Align::kRight},
               {"PERPLEXITY", Table::Align::kRight},
               {"DATA"},
               {"SETTINGS"}});
  for (auto version = lineage->versions().rbegin(); version != lineage->versions().rend(); ++version) {
    for (auto job = jobs.rbegin(); job != jobs.rend(); ++job) {
      const std::optional<int> input = InputOf(*job, version->id());
      if (!input.has_value()) continue;
      ASSIGN_OR_RETURN(const Json result, ResultOf(session, *job));
      const Json all = result.value("perplexity", Json::array());
      if (static_cast<size_t>(*input) >= all.size()) continue;
      const Json& of = all[static_cast<size_t>(*input)];
      if (session->json) {
        session->Print(Json({{"version", version->id()},
                             {"plugin", version->recipe().plugin()},
                             {"job", job->id()},
                             {"perplexity", of},
                             {"data", result.value("data", Json::array())},
                             {"settings", result.value("settings", Json::object())}})
                           .dump() +
                       "\n");
        continue;
      }
      table.Row({ShortId(version->id()), version->recipe().plugin(), StrCat(job->id()),
                 absl::StrFormat("%.5f", NumberOf(of, "bits_per_byte")),
                 absl::StrFormat("%.5f", NumberOf(of, "bits_per_byte_error")),
                 absl::StrFormat("%.4f", NumberOf(of, "perplexity")), DataText(result), SettingsText(result)});
    }
  }
  if (session->json) return kExitOk;
  if (table.empty() && !jobs.empty()) {
    session->Note(StrCat("only questions were asked, no perplexity was measured; next: editctl eval show ",
                         jobs.front().id(), "\n"));
  } else if (table.empty()) {
    session->Note(
        StrCat("neither ", name, " nor what it was made of was measured; editctl init evaluate has a spec\n"));
  } else {
    session->Print(table.ToString(session->width()));
  }
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
