// What keeps a version, a pack or an asset: the roots that lead to it (marks.h), one chain a line.
#include <functional>

#include "storage/base/strings.h"
#include "storage/marks.h"

namespace editd::storage {
namespace {

std::string Short(const Id& id) { return id.Hex().substr(0, 12); }

// One line for each reason of each live version whose manifest `use` recognises (it returns what to say of the use).
absl::Status ThroughVersions(const StoreView& view, const Marks& marks,
                             const std::function<absl::StatusOr<std::string>(const editd::v1::ManifestRow&)>& use,
                             std::vector<std::string>* reasons) {
  for (const Lineage::Node& node : view.versions) {
    if (!node.present || node.tombstone || !marks.Alive(node.id)) continue;
    ASSIGN_OR_RETURN(const editd::v1::ManifestRow manifest, marks.Manifest(node.id));
    ASSIGN_OR_RETURN(const std::string what, use(manifest));
    if (what.empty()) continue;
    for (const std::string& reason : marks.Reasons(node.id)) {
      reasons->push_back(StrCat(reason, " -> version ", Short(node.id), " -> ", what));
    }
  }
  return absl::OkStatus();
}

absl::Status ExplainPack(const StoreView& view, const Marks& marks, const Id& pack, std::vector<std::string>* reasons) {
  const auto use = [&](const editd::v1::ManifestRow& manifest) -> absl::StatusOr<std::string> {
    std::string first;
    size_t count = 0;
    for (const editd::v1::ManifestTensor& tensor : manifest.tensors()) {
      editd::v1::TensorRow row;
      ASSIGN_OR_RETURN(const bool found, view.catalogue->Get(Table::kTensors, tensor.id(), &row, view.snapshot.get()));
      if (!found || row.pack() != pack.view()) continue;
      if (count++ == 0) first = tensor.name();
    }
    if (count == 0) return std::string();
    return count == 1 ? StrCat("tensor ", first) : StrCat("tensor ", first, " and ", count - 1, " more");
  };
  RETURN_IF_ERROR(ThroughVersions(view, marks, use, reasons));
  if (view.packs.at(pack).created() >= marks.before()) reasons->push_back("it was written a short time ago");
  return absl::OkStatus();
}

absl::Status ExplainAsset(const StoreView& view, const Marks& marks, const Id& asset, const Assets::Entry& entry,
                          std::vector<std::string>* reasons) {
  const std::string hex = asset.Hex();
  const auto use = [&](const editd::v1::ManifestRow& manifest) -> absl::StatusOr<std::string> {
    for (const editd::v1::FileEntry& file : manifest.files()) {
      if (file.asset() == hex) return StrCat("file ", file.name());
    }
    return std::string();
  };
  RETURN_IF_ERROR(ThroughVersions(view, marks, use, reasons));
  for (const editd::v1::Dataset& dataset : view.datasets) {
    for (const editd::v1::FileEntry& file : dataset.entries()) {
      if (file.asset() != hex) continue;
      reasons->push_back(
          StrCat("dataset ", dataset.name(), file.name().empty() ? "" : StrCat(" -> file ", file.name())));
    }
  }
  RETURN_IF_ERROR(view.jobs->ForEach(
      [&](const editd::v1::Job& job) {
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
      },
      view.snapshot.get()));
  if (entry.touched >= marks.before()) reasons->push_back("it was put a short time ago");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ExplainAlive(const Parts& parts, std::string_view name) {
  std::vector<std::string> reasons;
  ASSIGN_OR_RETURN(const StoreView view, StoreView::Take(parts));
  Marks marks(view, GarbageOptions().grace);
  RETURN_IF_ERROR(marks.MarkVersions());
  const absl::StatusOr<Id> version = ResolveName(parts, name);
  if (version.ok()) {
    if (marks.Alive(*version)) reasons = marks.Reasons(*version);
    return reasons;
  }
  const absl::StatusOr<Id> id = Id::FromHex(name);
  if (!id.ok()) return version.status();
  if (parts.packs.contains(*id)) {
    RETURN_IF_ERROR(ExplainPack(view, marks, *id, &reasons));
    return reasons;
  }
  const std::optional<Assets::Entry> asset = parts.assets->Find(*id);
  if (!asset.has_value()) return absl::NotFoundError(StrCat("no version, pack or asset ", name));
  RETURN_IF_ERROR(ExplainAsset(view, marks, *id, *asset, &reasons));
  return reasons;
}

}  // namespace editd::storage
