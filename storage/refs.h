// Refs: the movable names of versions ("smol", "smol@nightly").
//
// A ref points at one version. It moves only by compare-and-swap, and each move is kept in the ref's log with its
// number, so a bad move can be undone and NAME@vN keeps its meaning, also when the ref is deleted and made again. Refs
// are the roots of garbage collection.
//
// All refs are in memory; the logs are not. Thread-compatible: the core thread owns the one instance.
#ifndef EDITD_STORAGE_REFS_H_
#define EDITD_STORAGE_REFS_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "editd/v1/model.pb.h"
#include "storage/base/id.h"
#include "storage/catalogue.h"

namespace editd::storage {

struct MoveCause;

class Refs {
 public:
  explicit Refs(Catalogue* catalogue) : catalogue_(catalogue) {}  // Not owned; must outlive this.
  absl::Status Load();

  static absl::Status CheckName(std::string_view name);
  const editd::v1::Ref* Find(std::string_view name) const;
  std::vector<editd::v1::Ref> List() const;
  std::vector<std::string> Names() const;
  size_t size() const;

  // Where the `generation`-th move of `name` went. NOT_FOUND.
  absl::StatusOr<Id> AtGeneration(std::string_view name, uint64_t generation) const;
  absl::StatusOr<std::vector<editd::v1::RefMove>> Log(std::string_view name) const;

  // Adds the move to `batch`; the ref as it will be. Call Apply with it once the batch is written. Empty ids and
  // nullopt: as in Store::MoveRef.
  absl::StatusOr<editd::v1::Ref> Prepare(std::string_view name, std::optional<Id> expected, const Id& next,
                                         const MoveCause& cause, absl::Time time, Catalogue::Batch* batch) const;
  void Apply(const editd::v1::Ref& ref) { refs_[ref.name()] = ref; }

 private:
  Catalogue* const catalogue_;
  std::map<std::string, editd::v1::Ref, std::less<>> refs_;  // A deleted one stays, with an empty version.
};

}  // namespace editd::storage

#endif  // EDITD_STORAGE_REFS_H_
