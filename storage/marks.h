// Marks: what the store needs, and why, as of one moment.
//
// Roots are versions: those that refs point at, those that a ref left within the reflog's window, inputs and outputs of
// unfinished jobs, and young ones. A root keeps its manifest, so its tensors, so their packs, and its files. An
// ancestor is not kept by its descendants: what is shared is shared by tensors, and the lineage stays as a tombstone.
// Jobs keep assets: an unfinished one its files; a finished one its files as long as the version that it made lives (so
// that it can be made again), and what it exported for the grace period, in which the client fetches it; exported
// measurements as long as a version lives that they are of. Datasets keep theirs as long as they have a name. A job
// that can be tried again keeps its checkpoint for a week.
//
// A StoreView is taken on the core thread. It and the marks made of it may then be used on any one thread, while the
// store goes on: what is in memory was copied, and the catalogue is read in a snapshot.
#ifndef EDITD_STORAGE_MARKS_H_
#define EDITD_STORAGE_MARKS_H_

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "storage/parts.h"

namespace editd::storage {

struct StoreView {
  static absl::StatusOr<StoreView> Take(const Parts& parts);

  std::unique_ptr<Catalogue::Snapshot> snapshot;
  const Catalogue* catalogue = nullptr;
  const Jobs* jobs = nullptr;
  const Layout* layout = nullptr;
  std::vector<editd::v1::Ref> refs;
  std::vector<editd::v1::RefMove> moves;
  std::vector<editd::v1::Dataset> datasets;
  std::vector<Lineage::Node> versions;
  std::unordered_map<Id, editd::v1::PackRow> packs;
  std::unordered_map<Id, Assets::Entry> assets;
  absl::Time now;
  absl::Duration reflog_window;
};

class Marks {
 public:
  // `view` is not owned and must outlive this. `stopped` ends the work with CANCELLED; it is asked often.
  Marks(const StoreView& view, absl::Duration grace, std::function<bool()> stopped = nullptr);

  absl::Status MarkVersions();
  absl::Status MarkContent();

  // From now on the version, in hex, is alive.
  void Keep(const std::string& version, std::string reason);
  bool Alive(const Id& version) const { return reasons_.contains(version); }
  const std::vector<std::string>& Reasons(const Id& version) const { return reasons_.at(version); }
  bool HasTensor(const Id& id) const { return tensors_.contains(id); }
  bool HasAsset(const Id& id) const { return assets_.contains(id); }
  bool KeepsFiles(const editd::v1::Job& job) const;
  // A measurement stays as long as a version that it is of.
  bool KeepsExport(const editd::v1::Job& job, const editd::v1::FileEntry& file) const;
  // Why the job's checkpoint may go; empty: it is needed, or may be.
  std::string WhyNoCheckpoint(const editd::v1::Job& job) const;
  // Of a live version.
  absl::StatusOr<editd::v1::ManifestRow> Manifest(const Id& version) const;
  // Unix seconds: what was made before may go.
  int64_t before() const { return before_; }
  absl::Status CheckStop() const;

 private:
  bool IsActiveOrYoung(const editd::v1::Job& job) const { return IsActive(job) || job.ended().seconds() >= before_; }
  void KeepAsset(const editd::v1::FileEntry& file);

  const StoreView& view_;
  const int64_t before_;
  const std::function<bool()> stopped_;
  std::unordered_map<Id, std::vector<std::string>> reasons_;
  std::unordered_set<Id> tensors_, assets_;
};

}  // namespace editd::storage

#endif  // EDITD_STORAGE_MARKS_H_
