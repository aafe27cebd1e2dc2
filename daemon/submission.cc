#include "daemon/submission.h"

#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "daemon/job_input.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

constexpr size_t kMaxSpecBytes = 1 << 20;
constexpr size_t kMaxRequestId = 128;
constexpr int kMaxLabels = 64;

// What can be said of a spec without the store or the plugin.
void CheckShape(const v1::JobSpec& spec, std::vector<std::string>* findings) {
  if (spec.ByteSizeLong() > kMaxSpecBytes) {
    findings->push_back(StrCat("spec: it has ", spec.ByteSizeLong(), " bytes; ", kMaxSpecBytes,
                               " is most; put long lists into a file that the spec names"));
  }
  FindUnknownFields(spec, "", findings);
  if (spec.plugin().empty()) findings->push_back("plugin: it is not set; editctl plugins lists those that there are");
  if (spec.labels_size() > kMaxLabels) findings->push_back(StrCat("labels: at most ", kMaxLabels, " are kept"));
}

void CheckPlugin(const v1::JobSpec& spec, const v1::Plugin& plugin, std::vector<std::string>* findings) {
  const uint32_t inputs = static_cast<uint32_t>(spec.input_size());
  if (inputs < plugin.min_inputs() || inputs > plugin.max_inputs()) {
    const std::string range = plugin.min_inputs() == plugin.max_inputs()
                                  ? StrCat(plugin.min_inputs())
                                  : StrCat(plugin.min_inputs(), " to ", plugin.max_inputs());
    findings->push_back(StrCat("input: plugin \"", plugin.name(), "\" reads ", range,
                               range == "1" ? " model" : " models", ", the spec names ", inputs));
  }
  const std::string& ref = spec.output().ref();
  if (plugin.makes_version() && ref.empty()) {
    findings->push_back(StrCat("output.ref: plugin \"", plugin.name(), "\" makes a version; give it a name"));
  } else if (!plugin.makes_version() && !ref.empty()) {
    findings->push_back(StrCat("output.ref: plugin \"", plugin.name(), "\" makes no version; leave output out"));
  } else if (!ref.empty()) {
    const absl::Status status = storage::Store::CheckRefName(ref);
    if (!status.ok()) findings->push_back(StrCat("output.ref: ", status.message()));
  }
}

}  // namespace

Submission::Submission(const Config& config, CoreThread* core, storage::Store* store, Jobs* jobs, Plugins* plugins,
                       Checker* checker)
    : config_(config), core_(core), store_(store), jobs_(jobs), plugins_(plugins), checker_(checker) {}

absl::StatusOr<v1::Job> Submission::Submit(const v1::SubmitRequest& request, const Peer& peer) {
  if (request.request_id().size() > kMaxRequestId) {
    return absl::InvalidArgumentError(StrCat("request_id: at most ", kMaxRequestId, " bytes"));
  }
  if (!request.request_id().empty()) {
    const auto earlier = core_->Call([&]() -> std::optional<v1::Job> {
      const v1::Job* const job = jobs_->FindRequest(request.request_id());
      return job == nullptr ? std::nullopt : std::make_optional(*job);
    });
    if (earlier.has_value()) return *earlier;
  }
  ASSIGN_OR_RETURN(Draft draft, Prepare(request.spec(), {request.files().begin(), request.files().end()}, peer));
  if (!draft.findings.empty()) return absl::InvalidArgumentError(absl::StrJoin(draft.findings, "\n"));
  draft.job.set_request_id(request.request_id());
  draft.job.set_force(request.force());
  return core_->Call([&] { return jobs_->Admit(std::move(draft.job)); });
}

absl::StatusOr<v1::ValidateResponse> Submission::Validate(const v1::ValidateRequest& request, const Peer& peer) {
  ASSIGN_OR_RETURN(Draft draft, Prepare(request.spec(), {request.files().begin(), request.files().end()}, peer));
  v1::ValidateResponse response;
  response.mutable_findings()->Assign(draft.findings.begin(), draft.findings.end());
  response.mutable_notes()->Assign(draft.notes.begin(), draft.notes.end());
  *response.mutable_job() = std::move(draft.job);
  return response;
}

absl::StatusOr<Submission::Draft> Submission::Prepare(const v1::JobSpec& spec,
                                                      const std::vector<v1::FileBinding>& files, const Peer& peer) {
  Draft draft;
  v1::Job& job = draft.job;
  *job.mutable_spec() = spec;
  job.set_user(peer.user);
  job.set_uid(peer.uid);
  v1::Limits* const limits = job.mutable_spec()->mutable_limits();
  if (limits->time_seconds() == 0) {
    limits->set_time_seconds(static_cast<uint32_t>(std::max<int64_t>(1, absl::ToInt64Seconds(config_.default_time))));
  }
  if (limits->memory_bytes() == 0) limits->set_memory_bytes(config_.default_memory);
  if (limits->threads() == 0) limits->set_threads(config_.default_threads);
  if (limits->max_attempts() == 0) limits->set_max_attempts(config_.default_max_attempts);

  CheckShape(spec, &draft.findings);
  if (!draft.findings.empty()) return draft;
  plugins_->Scan();
  const absl::StatusOr<KnownPlugin> known = plugins_->Find(spec.plugin());
  if (!known.ok()) {
    draft.findings.emplace_back(known.status().message());
    return draft;
  }
  job.set_plugin_hash(known->plugin.hash());
  job.set_plugin_version(known->plugin.version());
  CheckPlugin(spec, known->plugin, &draft.findings);

  CanonicalParams canonical = known->types->Canonical(
      spec.params(), files, ContentName,
      [this](const std::string& name) { return core_->Call([&] { return store_->FindDataset(name); }); });
  draft.findings.insert(draft.findings.end(), canonical.findings.begin(), canonical.findings.end());
  *job.mutable_canonical_params() = std::move(canonical.params);
  for (v1::FileBinding& binding : canonical.files) *job.add_files() = std::move(binding);

  v1::CheckRequest check;
  check.set_plugin_path(known->plugin.path());
  check.set_plugin_hash(known->plugin.hash());
  core_->Call([&] { Resolve(known->plugin, &draft); });
  if (!draft.findings.empty()) return draft;
  auto described = DescribeInputs(job, *store_, 0);
  if (!described.ok()) {
    draft.findings.push_back(StrCat("input: ", described.status().message()));
    return draft;
  }
  *check.mutable_input() = std::move(described->message);

  ASSIGN_OR_RETURN(const v1::CheckReply reply, checker_->Check(known->plugin.name(), check));
  draft.findings.assign(reply.findings().begin(), reply.findings().end());
  draft.notes.assign(reply.notes().begin(), reply.notes().end());
  job.set_estimate_memory_bytes(reply.memory_bytes());
  job.set_estimate_disk_bytes(reply.disk_bytes());
  return draft;
}

void Submission::Resolve(const v1::Plugin& plugin, Draft* draft) {
  v1::Job& job = draft->job;
  std::vector<std::pair<std::string, Id>> inputs;
  for (int i = 0; i < job.spec().input_size(); ++i) {
    const auto version = store_->Resolve(job.spec().input(i).model());
    if (!version.ok()) {
      draft->findings.push_back(StrCat("input[", i, "].model: ", version.status().message()));
      continue;
    }
    job.add_input_versions(version->Hex());
    inputs.emplace_back(job.spec().input(i).name(), *version);
  }
  CheckFiles(draft);
  if (!draft->findings.empty()) return;
  const auto hash = Id::FromHex(plugin.hash());
  if (!hash.ok()) {
    draft->findings.emplace_back(hash.status().message());
    return;
  }
  job.set_recipe(
      storage::Store::RecipeId(plugin.name(), *hash, job.canonical_params().value(), inputs, job.spec().seed()).Hex());
}

// The contents behind the spec's paths are in the store, and of folders the names too.
void Submission::CheckFiles(Draft* draft) {
  for (const v1::FileBinding& binding : draft->job.files()) {
    for (const v1::FileEntry& entry : binding.entries()) {
      const auto id = Id::FromHex(entry.asset());
      if (!id.ok() || !store_->HasAsset(*id)) {
        draft->findings.push_back(StrCat("files: the content of \"", binding.path(), "\" ", entry.name(),
                                         " is not in the store; submit with editctl, which puts it there"));
        return;
      }
    }
    if (binding.entries_size() == 1 && binding.entries(0).name().empty()) continue;
    const auto tree = store_->PutTree({binding.entries().begin(), binding.entries().end()});
    if (!tree.ok()) draft->findings.push_back(StrCat("files: \"", binding.path(), "\": ", tree.status().message()));
  }
}

}  // namespace editd::daemon
