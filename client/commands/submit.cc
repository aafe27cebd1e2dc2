// submit, validate, import, export.
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>

#include "absl/strings/escaping.h"
#include "client/commands/commands.h"
#include "client/fetch.h"
#include "client/format.h"
#include "client/message_json.h"
#include "client/submission.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

struct SubmitOptions {
  std::string file;
  bool wait = false;
  bool force = false;
  std::string request_id;
};

absl::StatusOr<int> RunSubmit(Session* session, const SubmitOptions& options) {
  ASSIGN_OR_RETURN(v1::SubmitRequest request, PrepareSubmission(session, options.file));
  request.set_force(options.force);
  request.set_request_id(options.request_id);
  const auto job = SubmitJob(session, request, options.wait);
  if (!job.ok()) return Annotate(job.status(), options.file == "-" ? "standard input" : options.file);
  return options.wait ? WaitForJob(session, job->id()) : absl::StatusOr<int>(kExitOk);
}

absl::StatusOr<int> RunValidate(Session* session, const std::string& file) {
  const std::string name = file == "-" ? "standard input" : file;
  ASSIGN_OR_RETURN(const v1::SubmitRequest prepared, PrepareSubmission(session, file));
  v1::ValidateRequest request;
  *request.mutable_spec() = prepared.spec();
  *request.mutable_files() = prepared.files();
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  ASSIGN_OR_RETURN(const v1::ValidateResponse response, connection->Validate(request));
  if (session->json) {
    session->PrintJson(response);
    return response.findings().empty() ? kExitOk : kExitFailed;
  }
  if (!response.findings().empty()) {
    std::string all;
    for (const std::string& finding : response.findings()) {
      StrAppend(&all, all.empty() ? "" : "\n", name, ": ", finding);
    }
    return absl::InvalidArgumentError(all);
  }
  const v1::Job& job = response.job();
  session->Print(StrCat(name, ": good\n"));
  for (int i = 0; i < job.input_versions_size() && i < job.spec().input_size(); ++i) {
    session->Print(StrCat("  reads   ", job.spec().input(i).model(), " = ", ShortId(job.input_versions(i)), "\n"));
  }
  for (const v1::FileBinding& binding : job.files()) {
    uint64_t bytes = 0;
    for (const v1::FileEntry& entry : binding.entries()) bytes += entry.size();
    session->Print(StrCat("  reads   ", binding.path(), ", ", FormatBytes(static_cast<double>(bytes)), "\n"));
  }
  if (!job.spec().output().ref().empty()) session->Print(StrCat("  makes   ", job.spec().output().ref(), "\n"));
  for (const std::string& note : response.notes()) session->Print(StrCat("  note    ", note, "\n"));
  session->Print(StrCat("  needs   ", FormatBytes(static_cast<double>(job.estimate_memory_bytes())), " of memory, ",
                        FormatBytes(static_cast<double>(job.estimate_disk_bytes())), " of disk\n"));
  session->Note(StrCat("next: editctl submit ", file, " --wait\n"));
  return kExitOk;
}

struct ImportOptions {
  std::string source;
  std::string ref;
  std::string store_as;
  bool wait = true;
  bool force = false;
};

absl::StatusOr<int> RunImport(Session* session, const ImportOptions& options) {
  ASSIGN_OR_RETURN(const v1::Plugin plugin, session->GetPlugin("import"));
  std::string store_as;
  if (!options.store_as.empty()) {
    store_as = options.store_as;
    for (char& c : store_as) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    store_as = StrCat("store_as: STORE_AS_", store_as);
  }
  const std::string spec =
      StrCat("plugin: \"import\" output { ref: \"", absl::CEscape(options.ref), "\" } params { [type.googleapis.com/",
             plugin.spec_type(), "] { source: \"", absl::CEscape(options.source), "\" ", store_as, " } }");
  struct stat info;
  if (::stat(options.source.c_str(), &info) != 0) return ErrnoStatus(errno, options.source);
  ASSIGN_OR_RETURN(v1::SubmitRequest request, PrepareSubmission(session, spec, "import", ""));
  request.set_force(options.force);
  ASSIGN_OR_RETURN(const v1::Job job, SubmitJob(session, request, options.wait));
  return options.wait ? WaitForJob(session, job.id()) : absl::StatusOr<int>(kExitOk);
}

struct ExportOptions {
  std::string ref;
  std::string folder;
  bool overwrite = false;
  uint64_t max_shard = 0;
};

absl::StatusOr<int> RunExport(Session* session, const ExportOptions& options) {
  std::error_code error;
  if (!options.overwrite && std::filesystem::exists(options.folder, error) &&
      !std::filesystem::is_empty(options.folder, error)) {
    return absl::AlreadyExistsError(
        StrCat(options.folder, ": is not empty; give another folder, or --overwrite to replace files in it"));
  }
  ASSIGN_OR_RETURN(const v1::Plugin plugin, session->GetPlugin("export"));
  const std::string shard = options.max_shard > 0 ? StrCat("max_shard_bytes: ", options.max_shard) : "";
  const std::string spec = StrCat("plugin: \"export\" input { model: \"", absl::CEscape(options.ref),
                                  "\" } params { [type.googleapis.com/", plugin.spec_type(), "] { ", shard, " } }");
  ASSIGN_OR_RETURN(const v1::SubmitRequest request, PrepareSubmission(session, spec, "export", ""));
  const auto job = SubmitJob(session, request, true);
  if (!job.ok()) return WithNext(job.status(), "editctl models");
  const auto ended = FollowJob(session, job->id(), 1);
  if (absl::IsCancelled(ended.status())) return kExitInterrupted;
  if (!ended.ok()) return ended.status();
  if (ended->state() != v1::JOB_STATE_SUCCEEDED) return TellOutcome(session, *ended);
  ASSIGN_OR_RETURN(Transfer * transfer, session->ConnectTransfer());
  ASSIGN_OR_RETURN(const uint64_t bytes, FetchFiles(*ended, options.folder, transfer));
  if (session->json) return TellOutcome(session, *ended);
  for (const v1::FileEntry& file : ended->exported()) {
    if (session->quiet) break;
    session->Print(StrCat("  ", file.name(), "  ", FormatBytes(static_cast<double>(file.size())), "\n"));
  }
  session->Print(session->Colour("32", StrCat(options.ref, " is in ", options.folder, ": ",
                                              Plural(static_cast<uint64_t>(ended->exported_size()), "file"), ", ",
                                              FormatBytes(static_cast<double>(bytes)))) +
                 "\n");
  return kExitOk;
}

}  // namespace

void AddSubmitCommands(CLI::App* app, Session* session) {
  {
    auto options = std::make_shared<SubmitOptions>();
    CLI::App* const command = AddCommand(app, "submit", "Submit a job spec (text, binary or JSON)", kJobs,
                                         "editctl submit trim.pb --wait\n  generate-spec | editctl submit - --json");
    command->add_option("file", options->file, "The spec; - is standard input")->type_name("FILE")->required();
    command->add_flag("-w,--wait", options->wait,
                      "Show the job's progress until it has ended; its success is the exit status");
    command->add_flag("--force", options->force, "Run even if the same edit was made before, and compare");
    command->add_option("--request-id", options->request_id, "A second submit with the same id returns the same job")
        ->type_name("ID");
    command->callback([=] { session->command = [=] { return RunSubmit(session, *options); }; });
  }
  {
    auto file = std::make_shared<std::string>();
    CLI::App* const command =
        AddCommand(app, "validate", "Check a job spec without submitting it", kJobs, "editctl validate trim.pb");
    command->add_option("file", *file, "The spec; - is standard input")->type_name("FILE")->required();
    command->callback([=] { session->command = [=] { return RunValidate(session, *file); }; });
  }
  {
    auto options = std::make_shared<ImportOptions>();
    CLI::App* const command =
        AddCommand(app, "import", "Bring a model into the store: a GGUF file, a Hugging Face folder or a PEFT adapter",
                   kModels, "editctl import smollm2-135m-instruct-q8_0.gguf --as smol --store-as bf16");
    command
        ->add_option("source", options->source,
                     "A GGUF file, or a folder with config.json (or adapter_config.json) and safetensors")
        ->type_name("FILE")
        ->required();
    command->add_option("--as", options->ref, "The ref that shall point at it")->type_name("REF")->required();
    command->add_option("--store-as", options->store_as, "f32, bf16 or f16; else as it is, quantised as f32")
        ->type_name("TYPE")
        ->check(CLI::IsMember({"f32", "bf16", "f16"}, CLI::ignore_case));
    command->add_flag("--wait,!--no-wait", options->wait, "Wait until it is there (the default)");
    command->add_flag("--force", options->force, "Run even if the same import was made before, and compare");
    command->callback([=] { session->command = [=] { return RunImport(session, *options); }; });
  }
  {
    auto options = std::make_shared<ExportOptions>();
    CLI::App* const command = AddCommand(app, "export", "Write a version as a Hugging Face folder", kModels,
                                         "editctl export smol-envi ./smol-envi");
    command->add_option("ref", options->ref, "What to export")->type_name("REF")->required();
    command->add_option("dir", options->folder, "A new or an empty folder")->type_name("DIR")->required();
    command->add_flag("--overwrite", options->overwrite, "Replace files in a folder that is not empty");
    command->add_option("--max-shard", options->max_shard, "Largest safetensors file; else 5 GB")
        ->type_name("SIZE")
        ->transform(CLI::AsSizeValue(true));
    command->callback([=] { session->command = [=] { return RunExport(session, *options); }; });
  }
}

}  // namespace editd::client
