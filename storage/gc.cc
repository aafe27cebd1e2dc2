// Garbage collection: mark and sweep, beside the store's other work.
//
// What may go is found on any thread, in a view of the store as it was at the start (marks.h). Meanwhile the store goes
// on, so it notes what is touched: versions that a ref or a job points at or that are published, assets that a job or a
// dataset names (Parts::touched). The sweep then runs on the core thread in short steps, each one batch, and leaves
// alone what was touched, and what a touched version needs. So nothing that was needed at the start or has been needed
// since goes; what became garbage meanwhile waits for the next collection.
//
// Order: versions become tombstones, then packs go (only as a whole) that no version uses, then assets with their
// trees, orphans, checkpoints. A crash between two steps leaves less garbage, and nothing wrong. Rows go first; a file
// is moved into incoming/ in the step that takes its row, and removed there later by whoever asked, since that may take
// long. A start empties incoming/.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "storage/base/strings.h"
#include "storage/marks.h"
#include "storage/measurements.h"

namespace editd::storage {
namespace {

constexpr size_t kRowsOfAStep = 1000;  // Some milliseconds.
constexpr size_t kFilesOfAStep = 200;

class Collection : public GarbageCollection {
 public:
  Collection(Parts* parts, const GarbageOptions& options, StoreView view)
      : parts_(*parts), options_(options), view_(std::move(view)) {
    parts_.touched = &touched_;
  }
  ~Collection() override {
    parts_.touched = nullptr;
    RemoveFiles();
  }

  absl::Status Find(const std::function<bool()>& stopped) override {
    marks_.emplace(view_, options_.grace, stopped);
    RETURN_IF_ERROR(marks_->MarkVersions());
    RETURN_IF_ERROR(marks_->MarkContent());
    for (const Lineage::Node& node : view_.versions) {
      if (!node.present || node.tombstone || marks_->Alive(node.id)) continue;
      versions_.push_back(node.id);
      items_.push_back(
          {GarbageKind::kVersion, node.id.Hex(), 0, "no ref points at it, no job needs it; its lineage stays"});
    }
    RETURN_IF_ERROR(FindPacks());
    for (const auto& [id, asset] : view_.assets) {
      if (marks_->HasAsset(id) || asset.touched >= marks_->before()) continue;
      assets_.push_back(id);
      items_.push_back({GarbageKind::kAsset, id.Hex(), asset.size, "no version and no job needs it"});
    }
    if (!assets_.empty()) RETURN_IF_ERROR(FindTrees());
    RETURN_IF_ERROR(FindOrphanFiles());
    RETURN_IF_ERROR(view_.layout->ForEachCheckpoint([this](uint64_t id, uint64_t bytes) {
      const absl::StatusOr<editd::v1::Job> job = view_.jobs->Get(id);
      const std::string reason = job.ok() ? marks_->WhyNoCheckpoint(*job) : "there is no such job";
      if (reason.empty()) return;
      checkpoints_.push_back(id);
      items_.push_back({GarbageKind::kCheckpoint, StrCat(id), bytes, reason});
    }));
    view_.snapshot.reset();
    return absl::OkStatus();
  }

  absl::StatusOr<bool> Sweep() override {
    RETURN_IF_ERROR(NoteTouched());
    if (next_ < versions_.size()) {
      RETURN_IF_ERROR(SweepVersions());
    } else if (next_ < versions_.size() + packs_.size()) {
      RETURN_IF_ERROR(SweepPacks());
    } else if (!assets_.empty()) {
      RETURN_IF_ERROR(SweepAssets());
    } else if (!orphans_.empty()) {
      SweepOrphans();
    } else {
      for (const uint64_t id : checkpoints_) {
        const absl::StatusOr<editd::v1::Job> job = parts_.jobs->Get(id);
        if (job.ok() && marks_->WhyNoCheckpoint(*job).empty()) {
          Stays(GarbageKind::kCheckpoint, StrCat(id));  // It is tried again, or has been meanwhile.
        } else {
          Discard(parts_.layout->CheckpointPath(id));
        }
      }
      checkpoints_.clear();
      return true;
    }
    return false;
  }

  void RemoveFiles() override {
    for (const std::string& path : discarded_) ::unlink(path.c_str());
    discarded_.clear();
  }

  std::vector<GarbageItem> Items() const override {
    std::vector<GarbageItem> items;
    for (const GarbageItem& item : items_) {
      if (!kept_.contains({item.kind, item.id})) items.push_back(item);
    }
    return items;
  }

 private:
  struct Orphan {
    bool pack;
    Id id;
    std::string below;  // The state directory.
  };

  absl::Status FindPacks() {
    struct Use {
      uint64_t live_bytes = 0, live = 0;
      std::vector<Id> rows;
    };
    std::unordered_map<Id, Use> uses;
    RETURN_IF_ERROR(view_.catalogue->Scan(
        Table::kTensors, "", "",
        [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
          editd::v1::TensorRow row;
          RETURN_IF_ERROR(ParseRow(Table::kTensors, key, value, &row));
          ASSIGN_OR_RETURN(const Id id, Id::FromBytes(key));
          ASSIGN_OR_RETURN(const Id pack, Id::FromBytes(row.pack()));
          Use& use = uses[pack];
          use.rows.push_back(id);
          if (!marks_->HasTensor(id)) return true;
          use.live_bytes += row.size();
          ++use.live;
          return true;
        },
        view_.snapshot.get()));
    for (const auto& [id, pack] : view_.packs) {
      RETURN_IF_ERROR(marks_->CheckStop());
      Use& use = uses[id];
      if (use.live == pack.tensor_count() || pack.created() >= marks_->before()) continue;
      if (use.live > 0) {
        const uint64_t dead = pack.data_size() - std::min(pack.data_size(), use.live_bytes);
        items_.push_back({GarbageKind::kPack, id.Hex(), dead,
                          StrCat("only ", use.live, " of its ", pack.tensor_count(), " tensors are used; it stays"),
                          true});
        continue;
      }
      packs_.emplace_back(id, std::move(use.rows));
      items_.push_back({GarbageKind::kPack, id.Hex(), pack.file_size(), "no version uses a tensor of it"});
    }
    return absl::OkStatus();
  }

  // A tree is of no use when a file of it is gone.
  absl::Status FindTrees() {
    const std::unordered_set<Id> candidates(assets_.begin(), assets_.end());
    return view_.catalogue->Scan(
        Table::kTrees, "", "",
        [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
          editd::v1::TreeRow row;
          RETURN_IF_ERROR(ParseRow(Table::kTrees, key, value, &row));
          for (const editd::v1::FileEntry& entry : row.entries()) {
            const Id asset = Id::FromHex(entry.asset()).value_or(Id{});
            if (candidates.contains(asset)) trees_.emplace(asset, std::string(key));
          }
          return true;
        },
        view_.snapshot.get());
  }

  absl::Status FindOrphanFiles() {
    return view_.layout->ForEachFile(
        [&](bool pack, const Id& id, const std::string& path, uint64_t bytes, int64_t time) -> absl::Status {
          RETURN_IF_ERROR(marks_->CheckStop());
          const bool named = pack ? view_.packs.contains(id) : view_.assets.contains(id);
          if (named || time >= marks_->before()) return absl::OkStatus();
          orphans_.push_back({pack, id, path.substr(view_.layout->directory().size() + 1)});
          items_.push_back({GarbageKind::kOrphan, orphans_.back().below, bytes, "no record names it"});
          return absl::OkStatus();
        });
  }

  // --- on the core thread -------------------------------------------------------------------------------------------

  // What a version that was touched since the last step uses, stays; so does what its jobs keep for it (marks.h).
  absl::Status NoteTouched() {
    for (const Id& id : touched_.versions) {
      marks_->Keep(id.Hex(), "it is used again");
      RETURN_IF_ERROR(KeepFilesOfJobs(id));
      editd::v1::ManifestRow manifest;
      ASSIGN_OR_RETURN(const bool found, parts_.catalogue->Get(Table::kManifests, id.view(), &manifest));
      if (!found) continue;
      for (const editd::v1::ManifestTensor& tensor : manifest.tensors()) {
        editd::v1::TensorRow row;
        ASSIGN_OR_RETURN(const bool known, parts_.catalogue->Get(Table::kTensors, tensor.id(), &row));
        if (!known) continue;
        ASSIGN_OR_RETURN(const Id pack, Id::FromBytes(row.pack()));
        kept_packs_.insert(pack);
      }
      for (const editd::v1::FileEntry& file : manifest.files()) parts_.Touch(file);
    }
    touched_.versions.clear();
    return absl::OkStatus();
  }

  // What the version was made from, and what was measured of it.
  absl::Status KeepFilesOfJobs(const Id& id) {
    const absl::StatusOr<editd::v1::Version> version = ReadVersion(parts_, id);
    if (absl::IsNotFound(version.status())) return absl::OkStatus();  // Of a job that made none.
    RETURN_IF_ERROR(version.status());
    if (const absl::StatusOr<editd::v1::Job> maker = parts_.jobs->Get(version->job()); maker.ok()) {
      for (const editd::v1::FileBinding& binding : maker->files()) {
        for (const editd::v1::FileEntry& file : binding.entries()) parts_.Touch(file);
      }
    }
    ASSIGN_OR_RETURN(const std::vector<Measurement> measurements, ReadMeasurements(*parts_.catalogue, id));
    for (const Measurement& measurement : measurements) {
      ASSIGN_OR_RETURN(const editd::v1::Job job, parts_.jobs->Get(measurement.job));
      for (const editd::v1::FileEntry& file : job.exported()) parts_.Touch(file);
    }
    return absl::OkStatus();
  }

  absl::Status SweepVersions() {
    Catalogue::Batch batch;
    std::vector<std::pair<Id, editd::v1::LineageRow>> tombstones;
    for (size_t rows = 0; rows < kRowsOfAStep && next_ < versions_.size(); rows += 3, ++next_) {
      const Id& id = versions_[next_];
      if (marks_->Alive(id)) {
        Stays(GarbageKind::kVersion, id.Hex());
        continue;
      }
      ASSIGN_OR_RETURN(editd::v1::Version version, ReadVersion(parts_, id));
      version.set_tombstone(true);
      batch.Put(Table::kVersions, id.view(), version);
      batch.Delete(Table::kManifests, id.view());
      editd::v1::LineageRow row;
      ASSIGN_OR_RETURN(const bool found, parts_.catalogue->Get(Table::kLineage, id.view(), &row));
      if (!found) return absl::DataLossError(StrCat("version ", id.Hex(), " has no row in table lineage"));
      row.set_tombstone(true);
      batch.Put(Table::kLineage, id.view(), row);
      tombstones.emplace_back(id, std::move(row));
      const absl::StatusOr<Id> recipe = Id::FromHex(version.recipe().id());
      if (!recipe.ok()) continue;
      ASSIGN_OR_RETURN(const std::optional<std::string> made,
                       parts_.catalogue->GetBytes(Table::kRecipes, recipe->view()));
      if (made == std::string(id.view())) batch.Delete(Table::kRecipes, recipe->view());
    }
    if (batch.empty()) return absl::OkStatus();
    RETURN_IF_ERROR(parts_.catalogue->Write(batch, Catalogue::Durability::kSynced));
    for (const auto& [id, row] : tombstones) parts_.lineage.Put(id, row);
    return absl::OkStatus();
  }

  absl::Status SweepPacks() {
    Catalogue::Batch batch;
    std::vector<Id> swept;
    for (size_t rows = 0; rows < kRowsOfAStep && next_ < versions_.size() + packs_.size(); ++next_) {
      const auto& [id, tensors] = packs_[next_ - versions_.size()];
      if (kept_packs_.contains(id)) {
        Stays(GarbageKind::kPack, id.Hex());
        continue;
      }
      batch.Delete(Table::kPacks, id.view());
      for (const Id& tensor : tensors) batch.Delete(Table::kTensors, tensor.view());
      rows += 1 + tensors.size();
      swept.push_back(id);
    }
    if (batch.empty()) return absl::OkStatus();
    RETURN_IF_ERROR(parts_.catalogue->Write(batch, Catalogue::Durability::kSynced));
    for (const Id& id : swept) {
      parts_.packs.erase(id);
      Discard(parts_.layout->PackPath(id));
    }
    return absl::OkStatus();
  }

  absl::Status SweepAssets() {
    std::vector<Id> step;
    while (step.size() < kFilesOfAStep && !assets_.empty()) {
      step.push_back(assets_.back());
      assets_.pop_back();
      if (!touched_.assets.contains(step.back())) continue;
      Stays(GarbageKind::kAsset, step.back().Hex());
      step.pop_back();
    }
    ASSIGN_OR_RETURN(const std::vector<Id> removed,
                     parts_.assets->Remove(step, marks_->before(), [this](const std::string& path) { Discard(path); }));
    // What was put again meanwhile stays.
    const std::unordered_set<Id> gone(removed.begin(), removed.end());
    for (const Id& id : step) {
      if (!gone.contains(id)) Stays(GarbageKind::kAsset, id.Hex());
    }
    // In the same step: a tree that is put again later stays.
    Catalogue::Batch batch;
    for (const Id& asset : removed) {
      const auto [begin, end] = trees_.equal_range(asset);
      for (auto tree = begin; tree != end; ++tree) batch.Delete(Table::kTrees, tree->second);
    }
    return batch.empty() ? absl::OkStatus() : parts_.catalogue->Write(batch, Catalogue::Durability::kBuffered);
  }

  void SweepOrphans() {
    for (size_t files = 0; files < kFilesOfAStep && !orphans_.empty(); ++files) {
      const Orphan orphan = std::move(orphans_.back());
      orphans_.pop_back();
      const std::string path = StrCat(parts_.layout->directory(), "/", orphan.below);
      const auto discard = [this](const std::string& file) { Discard(file); };
      // Another thread may put the same asset at this moment.
      const bool named =
          orphan.pack ? parts_.packs.contains(orphan.id) : !parts_.assets->RemoveUnknown(orphan.id, path, discard);
      if (named) {
        Stays(GarbageKind::kOrphan, orphan.below);
      } else if (orphan.pack) {
        Discard(path);
      }
    }
  }

  // If it fails, the file is an orphan from now on.
  void Discard(const std::string& path) {
    std::string to = parts_.layout->NewIncomingPath();
    if (::rename(path.c_str(), to.c_str()) == 0) discarded_.push_back(std::move(to));
  }
  void Stays(GarbageKind kind, const std::string& id) { kept_.emplace(kind, id); }

  Parts& parts_;  // Only on the core thread.
  const GarbageOptions options_;
  StoreView view_;
  std::optional<Marks> marks_;
  std::vector<GarbageItem> items_;
  std::vector<Id> versions_;
  std::vector<std::pair<Id, std::vector<Id>>> packs_;  // With their tensors.
  std::vector<Id> assets_;
  std::multimap<Id, std::string> trees_;  // By an asset in it: the tree's key.
  std::vector<Orphan> orphans_;
  std::vector<uint64_t> checkpoints_;

  // Of the sweep.
  Touched touched_;
  std::unordered_set<Id> kept_packs_;
  std::set<std::pair<GarbageKind, std::string>> kept_;  // That were found, and stay after all.
  size_t next_ = 0;                                     // In versions_, then packs_.
  std::vector<std::string> discarded_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<GarbageCollection>> MakeCollection(Parts* parts, const GarbageOptions& options) {
  if (parts->touched != nullptr) {
    return absl::FailedPreconditionError("garbage is being collected already; wait until that has ended");
  }
  ASSIGN_OR_RETURN(StoreView view, StoreView::Take(*parts));
  return std::make_unique<Collection>(parts, options, std::move(view));
}

absl::StatusOr<std::vector<GarbageItem>> FindOrphans(const Parts& parts, absl::Duration grace) {
  std::vector<GarbageItem> orphans;
  const int64_t before = parts.Now() - absl::ToInt64Seconds(grace) + (grace == absl::ZeroDuration() ? 1 : 0);
  RETURN_IF_ERROR(parts.layout->ForEachFile(
      [&](bool pack, const Id& id, const std::string& path, uint64_t bytes, int64_t time) -> absl::Status {
        const bool named = pack ? parts.packs.contains(id) : parts.assets->Find(id).has_value();
        if (named || time >= before) return absl::OkStatus();
        const std::string below = path.substr(parts.layout->directory().size() + 1);
        orphans.push_back({GarbageKind::kOrphan, below, bytes, "no record names it"});
        return absl::OkStatus();
      }));
  return orphans;
}

}  // namespace editd::storage
