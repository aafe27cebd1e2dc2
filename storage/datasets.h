// Datasets: contents under a name, for specs ("dataset:NAME") and people.
//
// A dataset is assets and what they are called. It is a root of garbage collection for them: as long as the name is
// there, so is the content. A name never changes its content; it is removed and added again.
//
// Thread-compatible: the daemon's core thread owns the one instance.
#ifndef EDITD_STORAGE_DATASETS_H_
#define EDITD_STORAGE_DATASETS_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "editd/v1/dataset.pb.h"
#include "storage/catalogue.h"

namespace editd::storage {

class Datasets {
 public:
  explicit Datasets(Catalogue* catalogue) : catalogue_(catalogue) {}  // Not owned; must outlive this.
  absl::Status Load();

  // NOT_FOUND names the nearest.
  absl::StatusOr<editd::v1::Dataset> Find(std::string_view name) const;
  std::vector<editd::v1::Dataset> List() const;  // By name.
  // Durable when they return. Add: ALREADY_EXISTS if the name has another content or field.
  absl::StatusOr<editd::v1::Dataset> Add(const editd::v1::Dataset& dataset);
  absl::StatusOr<editd::v1::Dataset> Remove(std::string_view name);

 private:
  Catalogue* const catalogue_;
  std::map<std::string, editd::v1::Dataset, std::less<>> datasets_;
};

}  // namespace editd::storage

#endif  // EDITD_STORAGE_DATASETS_H_
