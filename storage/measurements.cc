#include "storage/measurements.h"

#include <algorithm>
#include <set>

#include "editd/v1/catalogue.pb.h"
#include "storage/base/strings.h"
#include "storage/base/tree_hash.h"
#include "storage/jobs.h"

namespace editd::storage {
namespace {

constexpr int kJobsOfABatch = 1000;

}  // namespace

std::vector<Measurement> MeasurementsOf(const editd::v1::Job& job) {
  std::vector<Measurement> out;
  const bool measures =
      job.state() == editd::v1::JOB_STATE_SUCCEEDED && !job.from_recipe() && job.output_version().empty() &&
      std::any_of(job.exported().begin(), job.exported().end(),
                  [](const editd::v1::FileEntry& file) { return file.name().starts_with(kMeasured); });
  if (!measures) return out;
  const Id data = Sha256::Of(StrCat(job.spec().plugin(), "\n", job.canonical_params().value()));
  std::set<std::string_view> seen;
  for (int i = 0; i < job.input_versions_size(); ++i) {
    const absl::StatusOr<Id> version = Id::FromHex(job.input_versions(i));
    if (!version.ok() || !seen.insert(job.input_versions(i)).second) continue;
    out.push_back({*version, data, job.id(), static_cast<uint32_t>(i)});
  }
  return out;
}

std::string MeasurementKey(const Measurement& measurement) {
  return StrCat(measurement.version.view(), measurement.data.view(), BigEndian(measurement.job));
}

void PutMeasurements(const editd::v1::Job& job, Catalogue::Batch* batch) {
  for (const Measurement& measurement : MeasurementsOf(job)) {
    editd::v1::MeasurementRow row;
    row.set_input(measurement.input);
    batch->Put(Table::kMeasurements, MeasurementKey(measurement), row);
  }
}

absl::StatusOr<std::vector<Measurement>> ReadMeasurements(const Catalogue& catalogue, const Id& version) {
  std::vector<Measurement> out;
  const auto row = [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
    editd::v1::MeasurementRow parsed;
    RETURN_IF_ERROR(ParseRow(Table::kMeasurements, key, value, &parsed));
    if (key.size() != 2 * Id::kBytes + 8) return absl::DataLossError("a key of table measurements is no such key");
    ASSIGN_OR_RETURN(const Id data, Id::FromBytes(key.substr(Id::kBytes, Id::kBytes)));
    out.push_back({version, data, FromBigEndian(key.substr(2 * Id::kBytes)), parsed.input()});
    return true;
  };
  RETURN_IF_ERROR(catalogue.Scan(Table::kMeasurements, version.view(), version.view(), row));
  std::sort(out.begin(), out.end(), [](const Measurement& a, const Measurement& b) { return a.job < b.job; });
  return out;
}

absl::Status IndexMeasurements(Catalogue* catalogue) {
  Catalogue::Batch batch;
  int jobs = 0;
  const auto flush = [&]() -> absl::Status {
    if (batch.empty()) return absl::OkStatus();
    const absl::Status status = catalogue->Write(batch, Catalogue::Durability::kSynced);
    batch = Catalogue::Batch();
    return status;
  };
  const auto row = [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
    editd::v1::Job job;
    RETURN_IF_ERROR(ParseRow(Table::kJobs, key, value, &job));
    PutMeasurements(job, &batch);
    if (++jobs % kJobsOfABatch == 0) RETURN_IF_ERROR(flush());
    return true;
  };
  RETURN_IF_ERROR(catalogue->Scan(Table::kJobs, "", "", row));
  return flush();
}

}  // namespace editd::storage
