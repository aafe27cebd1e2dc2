#include "storage/datasets.h"

#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::storage {

absl::Status Datasets::Load() {
  return catalogue_->Scan(Table::kDatasets, "", "",
                          [this](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
                            RETURN_IF_ERROR(ParseRow(Table::kDatasets, key, value, &datasets_[std::string(key)]));
                            return true;
                          });
}

absl::StatusOr<editd::v1::Dataset> Datasets::Find(std::string_view name) const {
  const auto found = datasets_.find(name);
  if (found != datasets_.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [known, dataset] : datasets_) names.push_back(known);
  return absl::NotFoundError(StrCat("no dataset named \"", name, "\"", DidYouMean(name, names)));
}

std::vector<editd::v1::Dataset> Datasets::List() const {
  std::vector<editd::v1::Dataset> list;
  for (const auto& [name, dataset] : datasets_) list.push_back(dataset);
  return list;
}

absl::StatusOr<editd::v1::Dataset> Datasets::Add(const editd::v1::Dataset& dataset) {
  const auto found = datasets_.find(dataset.name());
  if (found != datasets_.end()) {
    const bool same_content = found->second.content() == dataset.content();
    if (same_content && found->second.field() == dataset.field()) return found->second;
    return absl::AlreadyExistsError(
        StrCat("there is a dataset \"", dataset.name(), "\" with ",
               same_content ? StrCat("this content, but field \"", found->second.field(), "\"") : "another content",
               "; choose another name, or remove it first: jobs that used it know its content all the same"));
  }
  Catalogue::Batch batch;
  batch.Put(Table::kDatasets, dataset.name(), dataset);
  RETURN_IF_ERROR(catalogue_->Write(batch, Catalogue::Durability::kSynced));
  return datasets_[dataset.name()] = dataset;
}

absl::StatusOr<editd::v1::Dataset> Datasets::Remove(std::string_view name) {
  ASSIGN_OR_RETURN(editd::v1::Dataset dataset, Find(name));
  Catalogue::Batch batch;
  batch.Delete(Table::kDatasets, name);
  RETURN_IF_ERROR(catalogue_->Write(batch, Catalogue::Durability::kSynced));
  datasets_.erase(dataset.name());
  return dataset;
}

}  // namespace editd::storage
