// Jobs and their events, as rows. What they mean is the daemon's matter.
//
// Thread-compatible.
#ifndef EDITD_STORAGE_JOBS_H_
#define EDITD_STORAGE_JOBS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "editd/v1/job.pb.h"
#include "storage/catalogue.h"

namespace editd::storage {

// True while the job may still run: its inputs and files must stay.
bool IsActive(const editd::v1::Job& job);

class Jobs {
 public:
  explicit Jobs(Catalogue* catalogue) : catalogue_(catalogue) {}  // Not owned; must outlive this.
  absl::Status Load();

  uint64_t next_id() const { return last_id_ + 1; }
  // Adds the rows to `batch`. Call Added when it is written.
  void Put(const editd::v1::Job& job, std::span<const editd::v1::Event> events, Catalogue::Batch* batch) const;
  void Added(const editd::v1::Job& job) { last_id_ = std::max(last_id_, job.id()); }

  absl::StatusOr<editd::v1::Job> Get(uint64_t id) const;
  using JobFunction = std::function<absl::Status(const editd::v1::Job&)>;
  absl::Status ForEach(const JobFunction& job, const Catalogue::Snapshot* snapshot = nullptr) const;
  std::optional<uint64_t> FindRequest(std::string_view request_id) const;
  absl::StatusOr<std::vector<editd::v1::Event>> ReadEvents(uint64_t job, uint64_t from_seq, size_t limit) const;
  uint64_t LastEventSeq(uint64_t job) const;

 private:
  Catalogue* const catalogue_;
  uint64_t last_id_ = 0;
};

}  // namespace editd::storage

#endif  // EDITD_STORAGE_JOBS_H_
