#include "storage/identity.h"

#include <algorithm>
#include <map>

#include "storage/base/strings.h"
#include "storage/base/tree_hash.h"

namespace editd::storage {
namespace {

class Encoder {
 public:
  explicit Encoder(std::string_view title) { hash_.Update(title); }

  void Number(uint64_t value) {
    char bytes[8];
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
    hash_.Update({bytes, 8});
  }
  void String(std::string_view value) {
    Number(value.size());
    hash_.Update(value);
  }
  void Add(const Id& id) { hash_.Update(id.view()); }
  Id Finish() { return hash_.Finish(); }

 private:
  Sha256 hash_;
};

using Named = std::map<std::string, Id>;

absl::Status AddNamed(std::string_view kind, const std::string& name, std::string_view hex, Named* named) {
  if (name.empty()) return absl::InvalidArgumentError(StrCat("a ", kind, " has no name"));
  absl::StatusOr<Id> id = Id::FromHex(hex);
  if (!id.ok()) return Annotate(id.status(), StrCat(kind, " \"", name, "\""));
  if (named->emplace(name, *id).second) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(kind, " \"", name, "\" stands twice"));
}

void Encode(const Named& named, Encoder* encoder) {
  encoder->Number(named.size());
  for (const auto& [name, id] : named) {
    encoder->String(name);
    encoder->Add(id);
  }
}

}  // namespace

absl::StatusOr<Id> ContentId(const editd::v1::Version& version) {
  Named tensors, files;
  for (const editd::v1::Tensor& tensor : version.tensors()) {
    RETURN_IF_ERROR(AddNamed("tensor", tensor.name(), tensor.id(), &tensors));
  }
  for (const editd::v1::FileEntry& file : version.files()) {
    RETURN_IF_ERROR(AddNamed("file", file.name(), file.asset(), &files));
  }
  const std::map<std::string, std::string> attributes(version.attributes().begin(), version.attributes().end());
  Encoder encoder("editd content 1\n");
  Encode(tensors, &encoder);
  Encode(files, &encoder);
  encoder.Number(attributes.size());
  for (const auto& [key, value] : attributes) {
    encoder.String(key);
    encoder.String(value);
  }
  return encoder.Finish();
}

absl::StatusOr<Id> VersionId(const editd::v1::Version& version) {
  Encoder encoder("editd version 1\n");
  absl::StatusOr<Id> content = Id::FromHex(version.content());
  if (!content.ok()) return Annotate(content.status(), "version.content");
  encoder.Add(*content);
  encoder.Number(static_cast<uint64_t>(version.parents_size()));
  for (const editd::v1::Parent& parent : version.parents()) {
    absl::StatusOr<Id> id = Id::FromHex(parent.version());
    if (!id.ok()) return Annotate(id.status(), "version.parents");
    encoder.Add(*id);
    encoder.String(parent.role());
  }
  absl::StatusOr<Id> recipe = Id::FromHex(version.recipe().id());
  if (!recipe.ok()) return Annotate(recipe.status(), "version.recipe.id");
  encoder.Add(*recipe);
  return encoder.Finish();
}

Id RecipeId(std::string_view plugin, const Id& plugin_hash, std::string_view canonical_params,
            std::span<const std::pair<std::string, Id>> inputs, uint64_t seed) {
  Encoder encoder("editd recipe 1\n");
  encoder.String(plugin);
  encoder.Add(plugin_hash);
  encoder.String(canonical_params);
  encoder.Number(inputs.size());
  for (const auto& [role, version] : inputs) {
    encoder.String(role);
    encoder.Add(version);
  }
  encoder.Number(seed);
  return encoder.Finish();
}

absl::StatusOr<Id> TreeId(std::vector<editd::v1::FileEntry>* entries) {
  Named files;
  for (const editd::v1::FileEntry& entry : *entries) {
    RETURN_IF_ERROR(AddNamed("file", entry.name(), entry.asset(), &files));
  }
  std::sort(entries->begin(), entries->end(), [](const auto& a, const auto& b) { return a.name() < b.name(); });
  Encoder encoder("editd tree 1\n");
  Encode(files, &encoder);
  return encoder.Finish();
}

}  // namespace editd::storage
