#include "storage/marks.h"

#include <algorithm>

#include "storage/base/strings.h"
#include "storage/measurements.h"
#include "storage/times.h"

namespace editd::storage {
namespace {

std::string Printed(absl::Time time) { return absl::FormatTime("%Y-%m-%d %H:%M", time, absl::LocalTimeZone()); }

}  // namespace

absl::StatusOr<StoreView> StoreView::Take(const Parts& parts) {
  StoreView view;
  ASSIGN_OR_RETURN(view.snapshot, parts.catalogue->TakeSnapshot());
  view.catalogue = parts.catalogue.get();
  view.jobs = parts.jobs.get();
  view.layout = parts.layout.get();
  view.refs = parts.refs->List();
  ASSIGN_OR_RETURN(view.moves, parts.refs->Log(""));
  view.datasets = parts.datasets->List();
  view.versions.assign(parts.lineage.nodes().begin(), parts.lineage.nodes().end());
  view.packs = parts.packs;
  view.assets = parts.assets->List();
  view.now = parts.options.now();
  view.reflog_window = parts.options.reflog_window;
  return view;
}

Marks::Marks(const StoreView& view, absl::Duration grace, std::function<bool()> stopped)
    : view_(view),
      before_(absl::ToUnixSeconds(view.now) - absl::ToInt64Seconds(grace) + (grace == absl::ZeroDuration() ? 1 : 0)),
      stopped_(std::move(stopped)) {}

absl::Status Marks::CheckStop() const {
  return stopped_ != nullptr && stopped_() ? absl::CancelledError("the collection was stopped") : absl::OkStatus();
}

absl::Status Marks::MarkVersions() {
  for (const editd::v1::Ref& ref : view_.refs) Keep(ref.version(), StrCat("ref ", ref.name()));
  const absl::Time window = view_.now - view_.reflog_window;
  for (const editd::v1::RefMove& move : view_.moves) {
    if (move.from().empty() || ToTime(move.time()) < window) continue;
    Keep(move.from(), StrCat("ref ", move.name(), " pointed at it until ", Printed(ToTime(move.time())),
                             ", and that can be undone until ", Printed(ToTime(move.time()) + view_.reflog_window)));
  }
  RETURN_IF_ERROR(view_.jobs->ForEach(
      [this](const editd::v1::Job& job) {
        if (!IsActive(job)) return CheckStop();
        for (const std::string& input : job.input_versions()) Keep(input, StrCat("job ", job.id(), " reads it"));
        Keep(job.output_version(), StrCat("job ", job.id(), " made it"));
        return absl::OkStatus();
      },
      view_.snapshot.get()));
  for (const Lineage::Node& node : view_.versions) {
    if (node.present && !node.tombstone && node.created >= before_) {
      reasons_[node.id].push_back(
          StrCat("it was made at ", Printed(absl::FromUnixSeconds(node.created)), ", so it is young"));
    }
  }
  return absl::OkStatus();
}

absl::Status Marks::MarkContent() {
  for (const Lineage::Node& node : view_.versions) {
    if (!node.present || node.tombstone || !Alive(node.id)) continue;
    RETURN_IF_ERROR(CheckStop());
    ASSIGN_OR_RETURN(const editd::v1::ManifestRow manifest, Manifest(node.id));
    for (const editd::v1::ManifestTensor& tensor : manifest.tensors()) {
      ASSIGN_OR_RETURN(const Id id, Id::FromBytes(tensor.id()));
      tensors_.insert(id);
    }
    for (const editd::v1::FileEntry& file : manifest.files()) KeepAsset(file);
  }
  for (const editd::v1::Dataset& dataset : view_.datasets) {
    for (const editd::v1::FileEntry& file : dataset.entries()) KeepAsset(file);
  }
  return view_.jobs->ForEach(
      [this](const editd::v1::Job& job) {
        if (KeepsFiles(job)) {
          for (const editd::v1::FileBinding& binding : job.files()) {
            for (const editd::v1::FileEntry& file : binding.entries()) KeepAsset(file);
          }
        }
        for (const editd::v1::FileEntry& file : job.exported()) {
          if (KeepsExport(job, file)) KeepAsset(file);
        }
        return CheckStop();
      },
      view_.snapshot.get());
}

absl::StatusOr<editd::v1::ManifestRow> Marks::Manifest(const Id& version) const {
  editd::v1::ManifestRow manifest;
  ASSIGN_OR_RETURN(const bool found,
                   view_.catalogue->Get(Table::kManifests, version.view(), &manifest, view_.snapshot.get()));
  if (!found) return absl::DataLossError(StrCat("version ", version.Hex(), " has no row in table manifests"));
  return manifest;
}

bool Marks::KeepsFiles(const editd::v1::Job& job) const {
  const absl::StatusOr<Id> output = Id::FromHex(job.output_version());
  return IsActiveOrYoung(job) || (output.ok() && Alive(*output));
}

bool Marks::KeepsExport(const editd::v1::Job& job, const editd::v1::FileEntry& file) const {
  if (IsActiveOrYoung(job)) return true;
  return file.name().starts_with(kMeasured) &&
         std::any_of(job.input_versions().begin(), job.input_versions().end(), [this](const std::string& input) {
           const absl::StatusOr<Id> version = Id::FromHex(input);
           return version.ok() && Alive(*version);
         });
}

std::string Marks::WhyNoCheckpoint(const editd::v1::Job& job) const {
  if (job.state() == editd::v1::JOB_STATE_SUCCEEDED) return "its job succeeded";
  if (IsActiveOrYoung(job)) return "";
  if (ToTime(job.ended()) < view_.now - view_.reflog_window) return "its job ended long ago";
  for (const std::string& input : job.input_versions()) {
    const absl::StatusOr<Id> version = Id::FromHex(input);
    if (version.ok() && !Alive(*version)) return "its job cannot be tried again: a version that it reads is gone";
  }
  return "";
}

void Marks::Keep(const std::string& version, std::string reason) {
  const absl::StatusOr<Id> id = Id::FromHex(version);
  if (id.ok()) reasons_[*id].push_back(std::move(reason));
}

void Marks::KeepAsset(const editd::v1::FileEntry& file) {
  const absl::StatusOr<Id> id = Id::FromHex(file.asset());
  if (id.ok()) assets_.insert(*id);
}

}  // namespace editd::storage
