// Identity: what versions, recipes and folders of assets are named by.
//
// Each id is the SHA-256 of an encoding written by hand, because protobuf's bytes are not canonical: numbers are eight
// bytes, little-endian; a string is its length and its bytes; lists are their count and their elements, sorted where
// the order means nothing. storage/FORMAT.md has the layouts and test vectors. Pure functions.
#ifndef EDITD_STORAGE_IDENTITY_H_
#define EDITD_STORAGE_IDENTITY_H_

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "editd/v1/model.pb.h"
#include "storage/base/id.h"

namespace editd::storage {

// Tensors (name and id, which covers type and shape), files and attributes. INVALID_ARGUMENT for a name that is empty
// or stands twice, or an id that is none.
absl::StatusOr<Id> ContentId(const editd::v1::Version& version);

// `version`'s content, parents with roles, and recipe.id. The content must be set.
absl::StatusOr<Id> VersionId(const editd::v1::Version& version);

Id RecipeId(std::string_view plugin, const Id& plugin_hash, std::string_view canonical_params,
            std::span<const std::pair<std::string, Id>> inputs, uint64_t seed);

// Sorts `entries` by name. INVALID_ARGUMENT as for ContentId.
absl::StatusOr<Id> TreeId(std::vector<editd::v1::FileEntry>* entries);

}  // namespace editd::storage

#endif  // EDITD_STORAGE_IDENTITY_H_
