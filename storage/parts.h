// The store's parts, as its operations (publish, gc, verify) see them. Not for others: store.h is the store's face.
#ifndef EDITD_STORAGE_PARTS_H_
#define EDITD_STORAGE_PARTS_H_

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "editd/v1/catalogue.pb.h"
#include "storage/assets.h"
#include "storage/catalogue.h"
#include "storage/datasets.h"
#include "storage/jobs.h"
#include "storage/layout.h"
#include "storage/lineage.h"
#include "storage/refs.h"
#include "storage/store.h"

namespace editd::storage {

// What was used since a collection of garbage began.
struct Touched {
  std::unordered_set<Id> versions, assets;
};

struct Parts {
  StoreOptions options;
  std::unique_ptr<Layout> layout;  // Holds the lock, so it goes last.
  std::unique_ptr<Catalogue> catalogue;
  std::unique_ptr<Assets> assets;
  std::unique_ptr<Refs> refs;
  std::unique_ptr<Datasets> datasets;
  std::unique_ptr<Jobs> jobs;
  Lineage lineage;
  std::unordered_map<Id, editd::v1::PackRow> packs;
  Touched* touched = nullptr;  // While garbage is collected. Whoever points at something old notes it here.

  void Touch(const editd::v1::Job& job);
  void Touch(const editd::v1::FileEntry& file);
  void TouchVersion(const Id& version) {
    if (touched != nullptr) touched->versions.insert(version);
  }
  int64_t Now() const { return absl::ToUnixSeconds(options.now()); }
};

// NOT_FOUND.
absl::StatusOr<editd::v1::Version> ReadVersion(const Parts& parts, const Id& id,
                                               const Catalogue::Snapshot* snapshot = nullptr);
// The tensors and files of a version that is no tombstone.
absl::StatusOr<editd::v1::ManifestRow> ReadManifest(const Parts& parts, const Id& id,
                                                    const Catalogue::Snapshot* snapshot = nullptr);
absl::StatusOr<Id> ResolveName(const Parts& parts, std::string_view name);

absl::StatusOr<Published> PublishJob(Parts* parts, PublishRequest request);
absl::StatusOr<std::unique_ptr<GarbageCollection>> MakeCollection(Parts* parts, const GarbageOptions& options);
absl::StatusOr<std::vector<std::string>> ExplainAlive(const Parts& parts, std::string_view name);
// Files that no record names and that are older than `grace`.
absl::StatusOr<std::vector<GarbageItem>> FindOrphans(const Parts& parts, absl::Duration grace);
absl::StatusOr<std::unique_ptr<Verification>> MakeVerification(const Parts& parts);

}  // namespace editd::storage

#endif  // EDITD_STORAGE_PARTS_H_
