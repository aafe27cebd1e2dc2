// Assets: files of any kind, named by content: a version's tokenizer, the corpora that specs name, what a job exported.
//
// Thread-safe. One lock guards the index and is held from the moment when an asset is found or moved into place until
// its row is written, so gc, which takes the same lock, never removes what was just promised.
#ifndef EDITD_STORAGE_ASSETS_H_
#define EDITD_STORAGE_ASSETS_H_

#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "storage/catalogue.h"
#include "storage/layout.h"
#include "storage/store.h"

namespace editd::storage {

class Assets {
 public:
  struct Entry {
    uint64_t size = 0;
    int64_t touched = 0;  // Unix seconds.
  };

  Assets(Catalogue* catalogue, Layout* layout, const StoreOptions* options)  // Not owned; must outlive this.
      : catalogue_(catalogue), layout_(layout), options_(options) {}
  absl::Status Load();

  absl::StatusOr<Store::Asset> Put(int fd, std::string_view name);
  absl::StatusOr<Store::Asset> PutBytes(std::string_view content, std::string_view name);
  absl::StatusOr<UniqueFd> Open(const Id& id) const;
  std::optional<Entry> Find(const Id& id) const;
  std::unordered_map<Id, Entry> List() const;

  // Takes the file at `path` (in staging) as part of a publish: hashes it, and if it is new moves it (`moves`) and adds
  // its row to `batch`. When the batch is written, Added makes it known. `known` is the content's hash, or empty.
  struct Adopted {
    Store::Asset asset;
    std::string name;
    bool fresh = false;
  };
  absl::StatusOr<Adopted> Adopt(const std::string& path, std::string_view name, const Id& known, Moves* moves,
                                Catalogue::Batch* batch);
  void Added(const std::vector<Adopted>& assets);

  // Removes those of `ids` that were last touched before `before` (Unix seconds), records first; `discard` takes each
  // file away. Returns the ids removed.
  using Discard = std::function<void(const std::string& path)>;
  absl::StatusOr<std::vector<Id>> Remove(const std::vector<Id>& ids, int64_t before, const Discard& discard);
  // Takes away a file that no record names; false if `id` has a record by now.
  bool RemoveUnknown(const Id& id, const std::string& path, const Discard& discard);

 private:
  // True if some asset has this size: the same content may be here already.
  bool MayHave(uint64_t size) const;
  // Finishes a Put: `path` is the copy under incoming.
  absl::StatusOr<Store::Asset> Commit(UniqueFd file, const std::string& path, const Store::Asset& asset,
                                      std::string_view name);
  // True if the asset is there; it then counts as just put. Needs the lock.
  absl::StatusOr<bool> Touch(const Id& id);
  void AddRow(const Store::Asset& asset, std::string_view name, Catalogue::Batch* batch) const;
  int64_t Now() const { return absl::ToUnixSeconds(options_->now()); }

  Catalogue* const catalogue_;
  Layout* const layout_;
  const StoreOptions* const options_;
  mutable std::mutex mutex_;
  std::unordered_map<Id, Entry> index_;
};

}  // namespace editd::storage

#endif  // EDITD_STORAGE_ASSETS_H_
