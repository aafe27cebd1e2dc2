// Garbage collection: mark and sweep.
//
// Roots are versions: those that refs point at, those that a ref left within the reflog's window, inputs and outputs of
// unfinished jobs, and young ones. A root keeps its manifest, so its tensors, so their packs, and its files. An
// ancestor is not kept by its descendants: what is shared is shared by tensors, and the lineage stays as a tombstone.
// Jobs keep assets: an unfinished one its files; a finished one its files as long as the version that it made lives (so
// that it can be made again), and what it exported for the grace period, in which the client fetches it; exported
// measurements as long as a version lives that they are of. Datasets keep theirs as long as they have a name. A job
// that can be tried again keeps its checkpoint for a week. A pack goes only as a whole. Rows go first, in one batch,
// then the files.
#include <unistd.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "storage/base/strings.h"
#include "storage/measurements.h"
#include "storage/parts.h"
#include "storage/times.h"

namespace editd::storage {
namespace {

std::string Printed(absl::Time time) { return absl::FormatTime("%Y-%m-%d %H:%M", time, absl::LocalTimeZone()); }

class Marks {
 public:
  Marks(const Parts& parts, absl::Duration grace)
      : parts_(parts), before_(parts.Now() - absl::ToInt64Seconds(grace) + (grace == absl::ZeroDuration() ? 1 : 0)) {}

  absl::Status MarkVersions() {
    for (const editd::v1::Ref& ref : parts_.refs->List()) Keep(ref.version(), StrCat("ref ", ref.name()));
    ASSIGN_OR_RETURN(const std::vector<editd::v1::RefMove> moves, parts_.refs->Log(""));
    const absl::Time window = parts_.options.now() - parts_.options.reflog_window;
    for (const editd::v1::RefMove& move : moves) {
      if (move.from().empty() || ToTime(move.time()) < window) continue;
      Keep(move.from(),
           StrCat("ref ", move.name(), " pointed at it until ", Printed(ToTime(move.time())),
                  ", and that can be undone until ", Printed(ToTime(move.time()) + parts_.options.reflog_window)));
    }
    RETURN_IF_ERROR(parts_.jobs->ForEach([this](const editd::v1::Job& job) {
      if (!IsActive(job)) return absl::OkStatus();
      for (const std::string& input : job.input_versions()) Keep(input, StrCat("job ", job.id(), " reads it"));
      Keep(job.output_version(), StrCat("job ", job.id(), " made it"));
      return absl::OkStatus();
    }));
    for (const Lineage::Node& node : parts_.lineage.nodes()) {
      if (node.present && !node.tombstone && node.created >= before_) {
        reasons_[node.id].push_back(
            StrCat("it was made at ", Printed(absl::FromUnixSeconds(node.created)), ", so it is young"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status MarkContent() {
    for (const Lineage::Node& node : parts_.lineage.nodes()) {
      if (!node.present || node.tombstone || !Alive(node.id)) continue;
      ASSIGN_OR_RETURN(const editd::v1::ManifestRow manifest, ReadManifest(parts_, node.id));
      for (const editd::v1::ManifestTensor& tensor : manifest.tensors()) {
        ASSIGN_OR_RETURN(const Id id, Id::FromBytes(tensor.id()));
        tensors_.insert(id);
      }
      for (const editd::v1::FileEntry& file : manifest.files()) KeepAsset(file);
    }
    for (const editd::v1::Dataset& dataset : parts_.datasets->List()) {
      for (const editd::v1::FileEntry& file : dataset.entries()) KeepAsset(file);
    }
    return parts_.jobs->ForEach([this](const editd::v1::Job& job) {
      if (KeepsFiles(job)) {
        for (const editd::v1::FileBinding& binding : job.files()) {
          for (const editd::v1::FileEntry& file : binding.entries()) KeepAsset(file);
        }
      }
      for (const editd::v1::FileEntry& file : job.exported()) {
        if (KeepsExport(job, file)) KeepAsset(file);
      }
      return absl::OkStatus();
    });
  }

  bool KeepsFiles(const editd::v1::Job& job) const {
    const absl::StatusOr<Id> output = Id::FromHex(job.output_version());
    return IsActiveOrYoung(job) || (output.ok() && Alive(*output));
  }
  // A measurement stays as long as a version that it is of.
  bool KeepsExport(const editd::v1::Job& job, const editd::v1::FileEntry& file) const {
    if (IsActiveOrYoung(job)) return true;
    return file.name().starts_with(kMeasured) &&
           std::any_of(job.input_versions().begin(), job.input_versions().end(), [this](const std::string& input) {
             const absl::StatusOr<Id> version = Id::FromHex(input);
             return version.ok() && Alive(*version);
           });
  }

  // Why the job's checkpoint may go; empty: it is needed, or may be.
  std::string WhyNoCheckpoint(const editd::v1::Job& job) const {
    if (job.state() == editd::v1::JOB_STATE_SUCCEEDED) return "its job succeeded";
    if (IsActiveOrYoung(job)) return "";
    if (ToTime(job.ended()) < parts_.options.now() - parts_.options.reflog_window) return "its job ended long ago";
    for (const std::string& input : job.input_versions()) {
      const absl::StatusOr<Id> version = Id::FromHex(input);
      if (version.ok() && !Alive(*version)) return "its job cannot be tried again: a version that it reads is gone";
    }
    return "";
  }
  bool Alive(const Id& version) const { return reasons_.contains(version); }
  const std::vector<std::string>& Reasons(const Id& version) const { return reasons_.at(version); }
  bool HasTensor(const Id& id) const { return tensors_.contains(id); }
  bool HasAsset(const Id& id) const { return assets_.contains(id); }
  // Unix seconds: what was made before may go.
  int64_t before() const { return before_; }

 private:
  bool IsActiveOrYoung(const editd::v1::Job& job) const { return IsActive(job) || job.ended().seconds() >= before_; }
  void Keep(const std::string& version, std::string reason) {
    const absl::StatusOr<Id> id = Id::FromHex(version);
    if (id.ok()) reasons_[*id].push_back(std::move(reason));
  }
  void KeepAsset(const editd::v1::FileEntry& file) {
    const absl::StatusOr<Id> id = Id::FromHex(file.asset());
    if (id.ok()) assets_.insert(*id);
  }

  const Parts& parts_;
  const int64_t before_;
  std::unordered_map<Id, std::vector<std::string>> reasons_;
  std::unordered_set<Id> tensors_, assets_;
};

class Collector {
 public:
  Collector(Parts* parts, const GarbageOptions& options)
      : parts_(*parts), options_(options), marks_(*parts, options.grace) {}

  absl::StatusOr<std::vector<GarbageItem>> Run() {
    RETURN_IF_ERROR(marks_.MarkVersions());
    RETURN_IF_ERROR(marks_.MarkContent());
    RETURN_IF_ERROR(FindVersions());
    RETURN_IF_ERROR(FindPacks());
    FindAssets();
    ASSIGN_OR_RETURN(std::vector<GarbageItem> orphans, FindOrphans(parts_, options_.grace));
    RETURN_IF_ERROR(FindCheckpoints());
    if (!options_.dry_run) RETURN_IF_ERROR(Sweep(orphans));
    items_.insert(items_.end(), orphans.begin(), orphans.end());
    return items_;
  }

 private:
  absl::Status FindVersions() {
    for (const Lineage::Node& node : parts_.lineage.nodes()) {
      if (!node.present || node.tombstone || marks_.Alive(node.id)) continue;
      versions_.push_back(node.id);
      items_.push_back(
          {GarbageKind::kVersion, node.id.Hex(), 0, "no ref points at it, no job needs it; its lineage stays"});
      ASSIGN_OR_RETURN(editd::v1::Version version, ReadVersion(parts_, node.id));
      version.set_tombstone(true);
      batch_.Put(Table::kVersions, node.id.view(), version);
      batch_.Delete(Table::kManifests, node.id.view());
      editd::v1::LineageRow row;
      ASSIGN_OR_RETURN(const bool found, parts_.catalogue->Get(Table::kLineage, node.id.view(), &row));
      if (!found) return absl::DataLossError(StrCat("version ", node.id.Hex(), " has no row in table lineage"));
      row.set_tombstone(true);
      batch_.Put(Table::kLineage, node.id.view(), row);
      tombstones_.push_back(std::move(row));
      const absl::StatusOr<Id> recipe = Id::FromHex(version.recipe().id());
      if (!recipe.ok()) continue;
      ASSIGN_OR_RETURN(const std::optional<std::string> made,
                       parts_.catalogue->GetBytes(Table::kRecipes, recipe->view()));
      if (made == std::string(node.id.view())) batch_.Delete(Table::kRecipes, recipe->view());
    }
    return absl::OkStatus();
  }

  absl::Status FindPacks() {
    struct Use {
      uint64_t live_bytes = 0, live = 0;
      std::vector<Id> rows;
    };
    std::unordered_map<Id, Use> uses;
    RETURN_IF_ERROR(parts_.catalogue->Scan(Table::kTensors, "", "",
                                           [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
                                             editd::v1::TensorRow row;
                                             RETURN_IF_ERROR(ParseRow(Table::kTensors, key, value, &row));
                                             ASSIGN_OR_RETURN(const Id id, Id::FromBytes(key));
                                             ASSIGN_OR_RETURN(const Id pack, Id::FromBytes(row.pack()));
                                             Use& use = uses[pack];
                                             use.rows.push_back(id);
                                             if (!marks_.HasTensor(id)) return true;
                                             use.live_bytes += row.size();
                                             ++use.live;
                                             return true;
                                           }));
    for (const auto& [id, pack] : parts_.packs) {
      const Use& use = uses[id];
      if (use.live == pack.tensor_count() || pack.created() >= marks_.before()) continue;
      if (use.live > 0) {
        const uint64_t dead = pack.data_size() - std::min(pack.data_size(), use.live_bytes);
        items_.push_back({GarbageKind::kPack, id.Hex(), dead,
                          StrCat("only ", use.live, " of its ", pack.tensor_count(), " tensors are used; it stays"),
                          true});
        continue;
      }
      packs_.push_back(id);
      items_.push_back({GarbageKind::kPack, id.Hex(), pack.file_size(), "no version uses a tensor of it"});
      batch_.Delete(Table::kPacks, id.view());
      for (const Id& tensor : use.rows) batch_.Delete(Table::kTensors, tensor.view());
    }
    return absl::OkStatus();
  }

  void FindAssets() {
    for (const auto& [id, asset] : parts_.assets->List()) {
      if (marks_.HasAsset(id) || asset.touched >= marks_.before()) continue;
      assets_.push_back(id);
      items_.push_back({GarbageKind::kAsset, id.Hex(), asset.size, "no version and no job needs it"});
    }
  }

  absl::Status FindCheckpoints() {
    return parts_.layout->ForEachCheckpoint([this](uint64_t id, uint64_t bytes, int64_t) {
      const absl::StatusOr<editd::v1::Job> job = parts_.jobs->Get(id);
      const std::string reason = job.ok() ? marks_.WhyNoCheckpoint(*job) : "there is no such job";
      if (reason.empty()) return;
      checkpoints_.push_back(id);
      items_.push_back({GarbageKind::kCheckpoint, StrCat(id), bytes, reason});
    });
  }

  absl::Status Sweep(const std::vector<GarbageItem>& orphans) {
    for (const uint64_t job : checkpoints_) ::unlink(parts_.layout->CheckpointPath(job).c_str());
    if (!batch_.empty()) RETURN_IF_ERROR(parts_.catalogue->Write(batch_, Catalogue::Durability::kSynced));
    for (size_t i = 0; i < versions_.size(); ++i) parts_.lineage.Put(versions_[i], tombstones_[i]);
    for (const Id& id : packs_) {
      parts_.packs.erase(id);
      ::unlink(parts_.layout->PackPath(id).c_str());  // If it fails, the file is an orphan from now on.
    }
    ASSIGN_OR_RETURN(const std::vector<Id> removed, parts_.assets->Remove(assets_, marks_.before()));
    // What was put again meanwhile stays.
    const std::unordered_set<Id> gone(removed.begin(), removed.end());
    std::erase_if(items_, [&](const GarbageItem& item) {
      return item.kind == GarbageKind::kAsset && !gone.contains(Id::FromHex(item.id).value_or(Id{}));
    });
    RETURN_IF_ERROR(DropTrees(gone));
    for (const GarbageItem& orphan : orphans) ::unlink(StrCat(parts_.layout->directory(), "/", orphan.id).c_str());
    return absl::OkStatus();
  }

  // A tree is of no use when a file of it is gone.
  absl::Status DropTrees(const std::unordered_set<Id>& gone) {
    if (gone.empty()) return absl::OkStatus();
    Catalogue::Batch batch;
    RETURN_IF_ERROR(parts_.catalogue->Scan(Table::kTrees, "", "",
                                           [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
                                             editd::v1::TreeRow row;
                                             RETURN_IF_ERROR(ParseRow(Table::kTrees, key, value, &row));
                                             for (const editd::v1::FileEntry& entry : row.entries()) {
                                               if (gone.contains(Id::FromHex(entry.asset()).value_or(Id{}))) {
                                                 batch.Delete(Table::kTrees, key);
                                                 break;
                                               }
                                             }
                                             return true;
                                           }));
    return batch.empty() ? absl::OkStatus() : parts_.catalogue->Write(batch, Catalogue::Durability::kBuffered);
  }

  Parts& parts_;
  const GarbageOptions options_;
  Marks marks_;
  Catalogue::Batch batch_;
  std::vector<GarbageItem> items_;
  std::vector<Id> versions_, packs_, assets_;
  std::vector<uint64_t> checkpoints_;
  std::vector<editd::v1::LineageRow> tombstones_;  // As versions_.
};

std::string Short(const Id& id) { return id.Hex().substr(0, 12); }

// One line for each reason of each live version whose manifest `use` recognises (it returns what to say of the use).
absl::Status ThroughVersions(const Parts& parts, const Marks& marks,
                             const std::function<absl::StatusOr<std::string>(const editd::v1::ManifestRow&)>& use,
                             std::vector<std::string>* reasons) {
  for (const Lineage::Node& node : parts.lineage.nodes()) {
    if (!node.present || node.tombstone || !marks.Alive(node.id)) continue;
    ASSIGN_OR_RETURN(const editd::v1::ManifestRow manifest, ReadManifest(parts, node.id));
    ASSIGN_OR_RETURN(const std::string what, use(manifest));
    if (what.empty()) continue;
    for (const std::string& reason : marks.Reasons(node.id)) {
      reasons->push_back(StrCat(reason, " -> version ", Short(node.id), " -> ", what));
    }
  }
  return absl::OkStatus();
}

absl::Status ExplainPack(const Parts& parts, const Marks& marks, const Id& pack, std::vector<std::string>* reasons) {
  const auto use = [&](const editd::v1::ManifestRow& manifest) -> absl::StatusOr<std::string> {
    std::string first;
    size_t count = 0;
    for (const editd::v1::ManifestTensor& tensor : manifest.tensors()) {
      editd::v1::TensorRow row;
      ASSIGN_OR_RETURN(const bool found, parts.catalogue->Get(Table::kTensors, tensor.id(), &row));
      if (!found || row.pack() != pack.view()) continue;
      if (count++ == 0) first = tensor.name();
    }
    if (count == 0) return std::string();
    return count == 1 ? StrCat("tensor ", first) : StrCat("tensor ", first, " and ", count - 1, " more");
  };
  RETURN_IF_ERROR(ThroughVersions(parts, marks, use, reasons));
  if (parts.packs.at(pack).created() >= marks.before()) reasons->push_back("it was written a short time ago");
  return absl::OkStatus();
}

absl::Status ExplainAsset(const Parts& parts, const Marks& marks, const Id& asset, const Assets::Entry& entry,
                          std::vector<std::string>* reasons) {
  const std::string hex = asset.Hex();
  const auto use = [&](const editd::v1::ManifestRow& manifest) -> absl::StatusOr<std::string> {
    for (const editd::v1::FileEntry& file : manifest.files()) {
      if (file.asset() == hex) return StrCat("file ", file.name());
    }
    return std::string();
  };
  RETURN_IF_ERROR(ThroughVersions(parts, marks, use, reasons));
  for (const editd::v1::Dataset& dataset : parts.datasets->List()) {
    for (const editd::v1::FileEntry& file : dataset.entries()) {
      if (file.asset() != hex) continue;
      reasons->push_back(
          StrCat("dataset ", dataset.name(), file.name().empty() ? "" : StrCat(" -> file ", file.name())));
    }
  }
  RETURN_IF_ERROR(parts.jobs->ForEach([&](const editd::v1::Job& job) {
    for (const editd::v1::FileBinding& binding : job.files()) {
      for (const editd::v1::FileEntry& file : binding.entries()) {
        if (file.asset() == hex && marks.KeepsFiles(job))
          reasons->push_back(StrCat("job ", job.id(), " -> its file ", binding.path()));
      }
    }
    for (const editd::v1::FileEntry& file : job.exported()) {
      if (file.asset() == hex && marks.KeepsExport(job, file))
        reasons->push_back(StrCat("job ", job.id(), " exported it as ", file.name()));
    }
    return absl::OkStatus();
  }));
  if (entry.touched >= marks.before()) reasons->push_back("it was put a short time ago");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<GarbageItem>> CollectGarbageOf(Parts* parts, const GarbageOptions& options) {
  return Collector(parts, options).Run();
}

absl::StatusOr<std::vector<std::string>> ExplainAlive(const Parts& parts, std::string_view name) {
  std::vector<std::string> reasons;
  Marks marks(parts, GarbageOptions().grace);
  RETURN_IF_ERROR(marks.MarkVersions());
  const absl::StatusOr<Id> version = ResolveName(parts, name);
  if (version.ok()) {
    if (marks.Alive(*version)) reasons = marks.Reasons(*version);
    return reasons;
  }
  const absl::StatusOr<Id> id = Id::FromHex(name);
  if (!id.ok()) return version.status();
  if (parts.packs.contains(*id)) {
    RETURN_IF_ERROR(ExplainPack(parts, marks, *id, &reasons));
    return reasons;
  }
  const std::optional<Assets::Entry> asset = parts.assets->Find(*id);
  if (!asset.has_value()) return absl::NotFoundError(StrCat("no version, pack or asset ", name));
  RETURN_IF_ERROR(ExplainAsset(parts, marks, *id, *asset, &reasons));
  return reasons;
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
