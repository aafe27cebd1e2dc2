// Publish: from a worker's staging folder to a version that everybody sees.
//
//   1. check the request: names, types, the pack's header against what was reported
//   2. name it: content id, version id
//   3. move the pack and the files into place and sync them; nothing names them yet
//   4. one synced batch: tensors, pack, assets, manifest, lineage, version, recipe, ref with its log, job and events
//   5. the same in memory
// Until step 4 nothing is visible; a failure takes the pack away again. After step 4 everything is durable. Doing all
// of it again finds the same ids and changes only the job's row.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <unordered_set>

#include "storage/base/pack.h"
#include "storage/base/strings.h"
#include "storage/identity.h"
#include "storage/parts.h"
#include "storage/times.h"

namespace editd::storage {
namespace {

using editd::v1::FileEntry;
using editd::v1::ManifestRow;
using editd::v1::Tensor;
using editd::v1::TensorRow;
using editd::v1::Version;

class Publisher {
 public:
  Publisher(Parts* parts, PublishRequest request) : parts_(*parts), request_(std::move(request)) {}

  absl::StatusOr<Published> Run() {
    RETURN_IF_ERROR(AdoptFiles());
    if (request_.makes_version) RETURN_IF_ERROR(PrepareVersion());
    if (request_.makes_version && !request_.ref.empty()) RETURN_IF_ERROR(PrepareRef());
    RETURN_IF_ERROR(moves_.Sync());

    if (request_.finish) request_.finish(published_, &request_.job, &request_.events);
    if (request_.job.id() != 0) parts_.jobs->Put(request_.job, request_.events, &batch_);
    const absl::Status written = parts_.catalogue->Write(batch_, Catalogue::Durability::kSynced);
    // Where it is not known what was written, the pack must stay: the next start may find that it is named.
    if (!absl::IsResourceExhausted(written)) moves_.Keep();
    RETURN_IF_ERROR(written);

    parts_.assets->Added(adopted_);
    if (new_pack_.has_value()) parts_.packs[request_.pack] = *new_pack_;
    if (lineage_.has_value()) parts_.lineage.Put(published_.version, *lineage_);
    parts_.Touch(request_.job);
    if (!published_.version.empty()) parts_.TouchVersion(published_.version);
    if (ref_.has_value()) parts_.refs->Apply(*ref_);
    if (request_.job.id() != 0) parts_.jobs->Added(request_.job);
    return published_;
  }

 private:
  absl::Status AdoptFiles() {
    std::set<std::string> seen;
    std::unordered_set<Id> counted;
    for (const StagedFile& file : request_.files) {
      if (file.name.empty() || file.name == "." || file.name == ".." || file.name.find('/') != std::string::npos) {
        return absl::InvalidArgumentError(StrCat("\"", file.name, "\" is no name for a file"));
      }
      if (!seen.insert(StrCat(file.exported ? "e" : "v", file.name)).second) {
        return absl::InvalidArgumentError(StrCat("file \"", file.name, "\" was made twice"));
      }
      FileEntry entry;
      entry.set_name(file.name);
      if (file.path.empty()) {
        const std::optional<Assets::Entry> asset = parts_.assets->Find(file.asset);
        if (!asset.has_value()) {
          return absl::InvalidArgumentError(StrCat("file \"", file.name, "\": no asset ", file.asset.Hex()));
        }
        entry.set_asset(file.asset.Hex());
        entry.set_size(asset->size);
      } else {
        ASSIGN_OR_RETURN(Assets::Adopted adopted,
                         parts_.assets->Adopt(file.path, file.name, file.asset, &moves_, &batch_));
        entry.set_asset(adopted.asset.id.Hex());
        entry.set_size(adopted.asset.size);
        if (adopted.fresh && counted.insert(adopted.asset.id).second) published_.bytes_written += adopted.asset.size;
        adopted_.push_back(std::move(adopted));
      }
      if (file.exported) {
        published_.exported.push_back(std::move(entry));
      } else {
        *request_.version.add_files() = std::move(entry);
      }
    }
    return absl::OkStatus();
  }

  absl::Status PrepareVersion() {
    Version& version = request_.version;
    ASSIGN_OR_RETURN(const Id content, ContentId(version));
    version.set_content(content.Hex());
    ASSIGN_OR_RETURN(published_.version, VersionId(version));
    version.set_id(published_.version.Hex());
    if (request_.must_equal.has_value() && *request_.must_equal != published_.version) {
      return absl::FailedPreconditionError(StrCat("the run gave version ", version.id(), ", the same recipe gave ",
                                                  request_.must_equal->Hex(),
                                                  " before; the plugin is not deterministic"));
    }
    const Lineage::Node* node = parts_.lineage.Find(published_.version);
    published_.existed = node != nullptr && !node->tombstone;
    if (published_.existed) return absl::OkStatus();
    RETURN_IF_ERROR(AdoptPack());
    RETURN_IF_ERROR(CheckTensors());
    return AddVersion(node);
  }

  // Checks the pack against the report and, unless all of its tensors are stored already, moves it into place.
  absl::Status AdoptPack() {
    if (request_.pack_path.empty()) return absl::OkStatus();
    const std::string& path = request_.pack_path;
    UniqueFd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!file.valid()) return ErrnoStatus(errno, StrCat("open ", path));
    ASSIGN_OR_RETURN(const PackHeader header, ReadPackHeader(file.get(), path));
    if (header.id != request_.pack) {
      return absl::DataLossError(
          StrCat(path, ": the header's hash is ", header.id.Hex(), ", reported was ", request_.pack.Hex()));
    }
    uint64_t data_size = 0, new_bytes = 0;
    std::vector<std::pair<const PackTensor*, TensorRow>> fresh;
    for (const PackTensor& tensor : header.tensors) {
      TensorRow row;
      row.set_pack(std::string(request_.pack.view()));
      row.set_offset(tensor.offset);
      row.set_size(tensor.size);
      row.set_dtype(std::string(DTypeName(tensor.dtype)));
      row.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
      data_size += tensor.size;
      in_pack_[tensor.id] = row;
      ASSIGN_OR_RETURN(const bool stored, parts_.catalogue->Has(Table::kTensors, tensor.id.view()));
      if (stored) continue;
      new_bytes += tensor.size;
      fresh.emplace_back(&tensor, std::move(row));
    }
    if (fresh.empty()) return absl::OkStatus();
    RETURN_IF_ERROR(moves_.Move(std::move(file), path, parts_.layout->PackPath(request_.pack), true));
    for (const auto& [tensor, row] : fresh) batch_.Put(Table::kTensors, tensor->id.view(), row);
    new_pack_.emplace();
    new_pack_->set_file_size(header.file_size);
    new_pack_->set_data_size(data_size);
    new_pack_->set_tensor_count(header.tensors.size());
    new_pack_->set_created(parts_.Now());
    batch_.Put(Table::kPacks, request_.pack.view(), *new_pack_);
    published_.bytes_written += new_bytes;
    request_.version.set_new_bytes(new_bytes);
    return absl::OkStatus();
  }

  // Every tensor of the version is in the pack, as reported, or stored already, with this type and shape.
  absl::Status CheckTensors() {
    std::unordered_set<Id> used;
    uint64_t parameters = 0, bytes = 0;
    for (const Tensor& tensor : request_.version.tensors()) {
      ASSIGN_OR_RETURN(const Id id, Id::FromHex(tensor.id()));
      used.insert(id);
      TensorRow row;
      const auto in_pack = in_pack_.find(id);
      if (in_pack != in_pack_.end()) {
        row = in_pack->second;
        if (!tensor.pack().empty() && (tensor.offset() != row.offset() || tensor.size() != row.size())) {
          return Wrong(tensor, StrCat("reported at ", tensor.offset(), " with ", tensor.size(),
                                      " bytes, the pack has it at ", row.offset(), " with ", row.size()));
        }
      } else {
        if (!tensor.pack().empty()) return Wrong(tensor, "reported in the pack, but is not there");
        ASSIGN_OR_RETURN(const bool stored, parts_.catalogue->Get(Table::kTensors, id.view(), &row));
        if (!stored) return Wrong(tensor, StrCat("is neither in the pack nor in the store (", tensor.id(), ")"));
      }
      if (tensor.dtype() != row.dtype() ||
          !std::equal(tensor.shape().begin(), tensor.shape().end(), row.shape().begin(), row.shape().end())) {
        return Wrong(tensor, "its type or shape is not what its id stands for");
      }
      uint64_t elements = 1;
      for (int64_t extent : row.shape()) elements *= static_cast<uint64_t>(extent);
      parameters += elements;
      bytes += row.size();
    }
    for (const auto& [id, row] : in_pack_) {
      if (!used.contains(id))
        return absl::InvalidArgumentError(StrCat("the pack has a tensor that the version does not name: ", id.Hex()));
    }
    request_.version.set_parameter_count(parameters);
    request_.version.set_logical_bytes(bytes);
    request_.version.set_tensor_count(static_cast<uint64_t>(request_.version.tensors_size()));
    return absl::OkStatus();
  }

  static absl::Status Wrong(const Tensor& tensor, std::string_view what) {
    return absl::InvalidArgumentError(StrCat("tensor \"", tensor.name(), "\": ", what));
  }

  absl::Status AddVersion(const Lineage::Node* tombstone) {
    Version& version = request_.version;
    const absl::Time now = parts_.options.now();
    if (!version.has_created()) *version.mutable_created() = ToTimestamp(now);
    version.set_tombstone(false);
    version.clear_refs();

    lineage_.emplace();
    for (const editd::v1::Parent& parent : version.parents()) {
      ASSIGN_OR_RETURN(const Id id, Id::FromHex(parent.version()));
      if (parts_.lineage.Find(id) == nullptr)
        return absl::InvalidArgumentError(StrCat("no version ", parent.version(), " to be a parent"));
      lineage_->add_parents(std::string(id.view()));
    }
    lineage_->set_number(tombstone != nullptr ? tombstone->number : parts_.lineage.next_number());
    lineage_->set_created(absl::ToUnixSeconds(now));
    lineage_->set_logical_bytes(version.logical_bytes());

    ManifestRow manifest;
    RETURN_IF_ERROR(FillManifest(&manifest));
    Version row = version;
    row.clear_tensors();
    row.clear_files();
    ASSIGN_OR_RETURN(const Id recipe, Id::FromHex(version.recipe().id()));
    const std::string_view key = published_.version.view();
    batch_.Put(Table::kManifests, key, manifest);
    batch_.Put(Table::kLineage, key, *lineage_);
    batch_.Put(Table::kVersions, key, row);
    batch_.PutBytes(Table::kRecipes, recipe.view(), key);
    return absl::OkStatus();
  }

  // A tensor that a parent (the first such) has under the same name keeps the parent's `since`.
  absl::Status FillManifest(ManifestRow* manifest) {
    std::map<std::string, editd::v1::ManifestTensor*> by_name;
    for (const Tensor& tensor : request_.version.tensors()) {
      ASSIGN_OR_RETURN(const Id id, Id::FromHex(tensor.id()));
      editd::v1::ManifestTensor* row = manifest->add_tensors();
      row->set_name(tensor.name());
      row->set_id(std::string(id.view()));
      by_name[tensor.name()] = row;
    }
    *manifest->mutable_files() = request_.version.files();
    std::map<std::string, uint32_t> numbers;  // Version, raw, to its place in manifest->since, from 1.
    for (const editd::v1::Parent& parent : request_.version.parents()) {
      ASSIGN_OR_RETURN(const Id id, Id::FromHex(parent.version()));
      const absl::StatusOr<ManifestRow> theirs = ReadManifest(parts_, id);
      if (absl::IsFailedPrecondition(theirs.status())) continue;  // A tombstone.
      RETURN_IF_ERROR(theirs.status());
      for (const editd::v1::ManifestTensor& tensor : theirs->tensors()) {
        const auto found = by_name.find(tensor.name());
        if (found == by_name.end() || found->second->id() != tensor.id() || found->second->since() != 0) continue;
        const bool listed = tensor.since() > 0 && tensor.since() <= static_cast<uint32_t>(theirs->since_size());
        const std::string since = listed ? theirs->since(static_cast<int>(tensor.since()) - 1) : std::string(id.view());
        const auto [number, fresh] = numbers.emplace(since, static_cast<uint32_t>(numbers.size() + 1));
        if (fresh) manifest->add_since(since);
        found->second->set_since(number->second);
      }
    }
    return absl::OkStatus();
  }

  absl::Status PrepareRef() {
    const editd::v1::Ref* current = parts_.refs->Find(request_.ref);
    if (current != nullptr && current->version() == published_.version.Hex()) return absl::OkStatus();
    const MoveCause cause{request_.version.user(), request_.version.job(), ""};
    absl::StatusOr<editd::v1::Ref> ref = parts_.refs->Prepare(request_.ref, request_.ref_expected, published_.version,
                                                              cause, parts_.options.now(), &batch_);
    if (absl::IsAborted(ref.status())) {
      published_.ref_conflict = ref.status();
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(ref.status());
    ref_ = *std::move(ref);
    published_.ref_moved = true;
    return absl::OkStatus();
  }

  Parts& parts_;
  PublishRequest request_;
  Published published_;
  Moves moves_;
  Catalogue::Batch batch_;
  std::vector<Assets::Adopted> adopted_;
  std::map<Id, TensorRow> in_pack_;
  std::optional<editd::v1::PackRow> new_pack_;
  std::optional<editd::v1::LineageRow> lineage_;
  std::optional<editd::v1::Ref> ref_;
};

}  // namespace

absl::StatusOr<Published> PublishJob(Parts* parts, PublishRequest request) {
  return Publisher(parts, std::move(request)).Run();
}

}  // namespace editd::storage
