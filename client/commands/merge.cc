// merge: mergekit's YAML as a job.
#include <CLI/CLI.hpp>
#include <memory>

#include "client/commands/commands.h"
#include "client/mergekit/config.h"
#include "client/spec_file.h"
#include "client/submission.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

struct MergeOptions {
  std::string file;
  std::vector<std::string> refs;
  std::string ref;
  uint64_t seed = 0;
  bool dry_run = false;
  bool wait = false;
  bool force = false;
};

absl::StatusOr<int> RunMerge(Session* session, const MergeOptions& options) {
  MergekitOptions mergekit;
  mergekit.output_ref = options.ref;
  mergekit.seed = options.seed;
  for (const std::string& pair : options.refs) {
    const size_t equals = pair.rfind('=');  // A path may have one, a ref has none.
    if (equals == std::string::npos || equals == 0 || equals + 1 == pair.size()) {
      return absl::InvalidArgumentError(StrCat("--ref ", pair, ": is not NAME_IN_FILE=REF"));
    }
    const std::string name = pair.substr(0, equals);
    if (!mergekit.refs.emplace(name, pair.substr(equals + 1)).second) {
      return absl::InvalidArgumentError(StrCat("--ref ", pair, ": \"", name, "\" has a ref already"));
    }
  }
  const std::string name = options.file == "-" ? "standard input" : options.file;
  ASSIGN_OR_RETURN(const std::string yaml, ReadSpecFile(options.file));
  ASSIGN_OR_RETURN(const MergekitSpec spec, SpecOfMergekitYaml(yaml, name, mergekit));
  for (const std::string& note : spec.notes) session->Note(StrCat(name, ": ", note, "\n"));
  if (options.dry_run && !session->json) {
    session->Print(spec.text);
    return kExitOk;
  }
  ASSIGN_OR_RETURN(v1::SubmitRequest request, PrepareSubmission(session, spec.text, name, ""));
  if (options.dry_run) {
    session->PrintJson(request.spec());
    return kExitOk;
  }
  request.set_force(options.force);
  const auto job = SubmitJob(session, request, options.wait);
  if (!job.ok())
    return WithNext(job.status(), StrCat("editctl merge ", options.file, " --as ", options.ref, " --dry-run"));
  return options.wait ? WaitForJob(session, job->id()) : absl::StatusOr<int>(kExitOk);
}

}  // namespace

void AddMergeCommand(CLI::App* app, Session* session) {
  auto options = std::make_shared<MergeOptions>();
  CLI::App* const command =
      AddCommand(app, "merge", "Merge models as a mergekit YAML file says", kModels,
                 "editctl merge ties.yml --ref org/base=smol --ref org/math=smol-math --as smol-merged --wait");
  command->add_option("file", options->file, "The YAML file; - is standard input")->type_name("FILE")->required();
  command->add_option("--ref", options->refs, "The ref of a model that the file names; else its name is the ref")
      ->type_name("NAME=REF")
      ->allow_extra_args(false);
  command->add_option("--as", options->ref, "The ref that shall point at the result")->type_name("REF")->required();
  command->add_option("--seed", options->seed, "Of methods that drop at random; 0 unless given")->type_name("N");
  command->add_flag("--dry-run", options->dry_run, "Only print the job spec that the file means");
  command->add_flag("-w,--wait", options->wait,
                    "Show the job's progress until it has ended; its success is the exit status");
  command->add_flag("--force", options->force, "Run even if the same merge was made before, and compare");
  command->callback([=] { session->command = [=] { return RunMerge(session, *options); }; });
}

}  // namespace editd::client
