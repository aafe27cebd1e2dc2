#include "storage/jobs.h"

#include "storage/base/strings.h"
#include "storage/measurements.h"

namespace editd::storage {

bool IsActive(const editd::v1::Job& job) {
  switch (job.state()) {
    case editd::v1::JOB_STATE_PENDING:
    case editd::v1::JOB_STATE_STARTING:
    case editd::v1::JOB_STATE_RUNNING:
    case editd::v1::JOB_STATE_COMMITTING:
      return true;
    default:
      return false;
  }
}

absl::Status Jobs::Load() {
  ASSIGN_OR_RETURN(const std::optional<std::string> last, catalogue_->LastKey(Table::kJobs, ""));
  if (last.has_value()) last_id_ = FromBigEndian(*last);
  return absl::OkStatus();
}

void Jobs::Put(const editd::v1::Job& job, std::span<const editd::v1::Event> events, Catalogue::Batch* batch) const {
  const std::string id = BigEndian(job.id());
  batch->Put(Table::kJobs, id, job);
  PutMeasurements(job, batch);
  if (!job.request_id().empty()) batch->PutBytes(Table::kRequests, job.request_id(), id);
  for (const editd::v1::Event& event : events) {
    batch->Put(Table::kEvents, BigEndian(event.job()) + BigEndian(event.seq()), event);
  }
}

absl::StatusOr<editd::v1::Job> Jobs::Get(uint64_t id) const {
  editd::v1::Job job;
  ASSIGN_OR_RETURN(const bool found, catalogue_->Get(Table::kJobs, BigEndian(id), &job));
  if (!found)
    return absl::NotFoundError(StrCat("no job ", id, last_id_ == 0 ? "" : StrCat("; the last is ", last_id_)));
  return job;
}

absl::Status Jobs::ForEach(const JobFunction& function, const Catalogue::Snapshot* snapshot) const {
  const auto row = [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
    editd::v1::Job job;
    RETURN_IF_ERROR(ParseRow(Table::kJobs, key, value, &job));
    RETURN_IF_ERROR(function(job));
    return true;
  };
  return catalogue_->Scan(Table::kJobs, "", "", row, snapshot);
}

std::optional<uint64_t> Jobs::FindRequest(std::string_view request_id) const {
  const absl::StatusOr<std::optional<std::string>> id = catalogue_->GetBytes(Table::kRequests, request_id);
  if (!id.ok() || !id->has_value()) return std::nullopt;
  return FromBigEndian(**id);
}

absl::StatusOr<std::vector<editd::v1::Event>> Jobs::ReadEvents(uint64_t job, uint64_t from_seq, size_t limit) const {
  std::vector<editd::v1::Event> events;
  const std::string prefix = BigEndian(job);
  if (limit == 0) return events;
  RETURN_IF_ERROR(catalogue_->Scan(Table::kEvents, prefix, prefix + BigEndian(from_seq),
                                   [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
                                     RETURN_IF_ERROR(ParseRow(Table::kEvents, key, value, &events.emplace_back()));
                                     return events.size() < limit;
                                   }));
  return events;
}

uint64_t Jobs::LastEventSeq(uint64_t job) const {
  const absl::StatusOr<std::optional<std::string>> key = catalogue_->LastKey(Table::kEvents, BigEndian(job));
  if (!key.ok() || !key->has_value()) return 0;
  return FromBigEndian(std::string_view(**key).substr(8));
}

}  // namespace editd::storage
