#include "storage/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <thread>

#include "storage/base/nearest.h"
#include "storage/base/strings.h"
#include "storage/identity.h"
#include "storage/measurements.h"
#include "storage/parts.h"
#include "storage/times.h"

namespace editd::storage {
namespace {

constexpr size_t kMinPrefix = 4;
constexpr size_t kCandidatesShown = 5;

// In the order of publication, so that neighbours in the graph are neighbours in memory.
absl::Status LoadLineage(Parts* parts) {
  std::vector<std::pair<Id, editd::v1::LineageRow>> rows;
  RETURN_IF_ERROR(parts->catalogue->Scan(
      Table::kLineage, "", "", [&rows](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
        ASSIGN_OR_RETURN(const Id id, Id::FromBytes(key));
        RETURN_IF_ERROR(ParseRow(Table::kLineage, key, value, &rows.emplace_back(id, editd::v1::LineageRow()).second));
        return true;
      }));
  std::sort(rows.begin(), rows.end(),
            [](const auto& a, const auto& b) { return a.second.number() < b.second.number(); });
  parts->lineage.Reserve(rows.size());
  for (const auto& [id, row] : rows) parts->lineage.Put(id, row);
  return absl::OkStatus();
}

absl::Status LoadPacks(Parts* parts) {
  return parts->catalogue->Scan(Table::kPacks, "", "",
                                [parts](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
                                  ASSIGN_OR_RETURN(const Id id, Id::FromBytes(key));
                                  RETURN_IF_ERROR(ParseRow(Table::kPacks, key, value, &parts->packs[id]));
                                  return true;
                                });
}

absl::Status Collected(const Id& id) {
  return absl::FailedPreconditionError(
      StrCat("version ", id.Hex(), " was garbage-collected: only its lineage is left; make it again from its recipe"));
}

}  // namespace

void Parts::Touch(const editd::v1::FileEntry& file) {
  if (touched == nullptr) return;
  if (const absl::StatusOr<Id> asset = Id::FromHex(file.asset()); asset.ok()) touched->assets.insert(*asset);
}

void Parts::Touch(const editd::v1::Job& job) {
  if (touched == nullptr) return;
  for (const std::string& input : job.input_versions()) TouchVersion(Id::FromHex(input).value_or(Id{}));
  TouchVersion(Id::FromHex(job.output_version()).value_or(Id{}));
  for (const editd::v1::FileBinding& binding : job.files()) {
    for (const editd::v1::FileEntry& file : binding.entries()) Touch(file);
  }
  for (const editd::v1::FileEntry& file : job.exported()) Touch(file);
}

absl::StatusOr<editd::v1::Version> ReadVersion(const Parts& parts, const Id& id, const Catalogue::Snapshot* snapshot) {
  editd::v1::Version version;
  ASSIGN_OR_RETURN(const bool found, parts.catalogue->Get(Table::kVersions, id.view(), &version, snapshot));
  if (!found) return absl::NotFoundError(StrCat("no version ", id.Hex()));
  return version;
}

absl::StatusOr<editd::v1::ManifestRow> ReadManifest(const Parts& parts, const Id& id,
                                                    const Catalogue::Snapshot* snapshot) {
  editd::v1::ManifestRow manifest;
  ASSIGN_OR_RETURN(const bool found, parts.catalogue->Get(Table::kManifests, id.view(), &manifest, snapshot));
  if (found) return manifest;
  if (parts.lineage.Find(id) == nullptr) return absl::NotFoundError(StrCat("no version ", id.Hex()));
  return Collected(id);
}

absl::StatusOr<Id> ResolveName(const Parts& parts, std::string_view name) {
  if (const editd::v1::Ref* ref = parts.refs->Find(name)) return Id::FromHex(ref->version());
  const size_t at = name.find('@');
  if (at != std::string_view::npos && name.size() > at + 2 && name[at + 1] == 'v' && name.size() < at + 20 &&
      name.find_first_not_of("0123456789", at + 2) == std::string_view::npos) {
    absl::StatusOr<Id> id = parts.refs->AtGeneration(name.substr(0, at), std::stoull(std::string(name.substr(at + 2))));
    if (id.ok() || parts.refs->Find(name.substr(0, at)) != nullptr) return id;
  } else if (name.size() >= kMinPrefix && IsHex(name)) {
    const std::vector<Id> found = parts.lineage.WithPrefix(name, kCandidatesShown + 1);
    if (found.size() == 1) return found[0];
    if (found.size() > 1) {
      std::string candidates;
      for (size_t i = 0; i < std::min(found.size(), kCandidatesShown); ++i) {
        StrAppend(&candidates, i == 0 ? "" : ", ", found[i].Hex().substr(0, std::max<size_t>(16, name.size() + 4)));
      }
      return absl::InvalidArgumentError(StrCat("\"", name, "\" begins more than one version: ", candidates,
                                               found.size() > kCandidatesShown ? ", ..." : "", "; write more digits"));
    }
  }
  return absl::NotFoundError(
      StrCat("no version named \"", name.substr(0, 140), "\"", DidYouMean(name, parts.refs->Names())));
}

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const std::string& directory, StoreOptions options) {
  auto parts = std::make_unique<Parts>();
  parts->options = std::move(options);
  if (parts->options.threads == 0) parts->options.threads = std::max(1u, std::thread::hardware_concurrency());
  ASSIGN_OR_RETURN(parts->layout, Layout::Open(directory));
  RETURN_IF_ERROR(parts->layout->SweepTemporary());
  ASSIGN_OR_RETURN(parts->catalogue, Catalogue::Open(parts->layout->DatabasePath()));
  if (parts->layout->older_format()) RETURN_IF_ERROR(IndexMeasurements(parts->catalogue.get()));
  RETURN_IF_ERROR(parts->layout->MarkComplete());
  parts->assets = std::make_unique<Assets>(parts->catalogue.get(), parts->layout.get(), &parts->options);
  parts->refs = std::make_unique<Refs>(parts->catalogue.get());
  parts->datasets = std::make_unique<Datasets>(parts->catalogue.get());
  parts->jobs = std::make_unique<Jobs>(parts->catalogue.get());
  RETURN_IF_ERROR(parts->assets->Load());
  RETURN_IF_ERROR(parts->refs->Load());
  RETURN_IF_ERROR(parts->datasets->Load());
  RETURN_IF_ERROR(parts->jobs->Load());
  RETURN_IF_ERROR(LoadLineage(parts.get()));
  RETURN_IF_ERROR(LoadPacks(parts.get()));
  ASSIGN_OR_RETURN(const std::vector<GarbageItem> orphans, FindOrphans(*parts, parts->options.orphan_grace));
  for (const GarbageItem& orphan : orphans) ::unlink(StrCat(parts->layout->directory(), "/", orphan.id).c_str());
  return std::unique_ptr<Store>(new Store(std::move(parts)));
}

Store::Store(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Store::~Store() = default;

const std::string& Store::directory() const { return parts_->layout->directory(); }

// --- names
// ------------------------------------------------------------------------------------------------------------

absl::StatusOr<Id> Store::Resolve(std::string_view name) const { return ResolveName(*parts_, name); }

absl::Status Store::CheckRefName(std::string_view name) { return Refs::CheckName(name); }

std::vector<editd::v1::Ref> Store::ListRefs() const { return parts_->refs->List(); }

std::optional<editd::v1::Ref> Store::FindRef(std::string_view name) const {
  const editd::v1::Ref* ref = parts_->refs->Find(name);
  return ref == nullptr ? std::nullopt : std::optional<editd::v1::Ref>(*ref);
}

absl::StatusOr<editd::v1::Ref> Store::MoveRef(std::string_view name, std::optional<Id> expected, const Id& next,
                                              const MoveCause& cause) {
  if (!next.empty()) {
    const Lineage::Node* node = parts_->lineage.Find(next);
    if (node == nullptr) return absl::NotFoundError(StrCat("no version ", next.Hex()));
    if (node->tombstone)
      return absl::FailedPreconditionError(
          StrCat("version ", next.Hex(), " was garbage-collected: only its lineage is left"));
  }
  Catalogue::Batch batch;
  ASSIGN_OR_RETURN(editd::v1::Ref ref,
                   parts_->refs->Prepare(name, expected, next, cause, parts_->options.now(), &batch));
  RETURN_IF_ERROR(parts_->catalogue->Write(batch, Catalogue::Durability::kSynced));
  parts_->refs->Apply(ref);
  parts_->TouchVersion(next);
  return ref;
}

std::vector<editd::v1::RefMove> Store::Reflog(std::string_view name) const {
  absl::StatusOr<std::vector<editd::v1::RefMove>> log = parts_->refs->Log(name);
  return log.ok() ? *std::move(log) : std::vector<editd::v1::RefMove>();
}

// --- versions
// ---------------------------------------------------------------------------------------------------------

absl::StatusOr<editd::v1::Version> Store::GetVersion(const Id& id, bool with_tensors) const {
  ASSIGN_OR_RETURN(editd::v1::Version version, ReadVersion(id, with_tensors));
  for (const editd::v1::Ref& ref : parts_->refs->List()) {
    if (ref.version() == version.id()) version.add_refs(ref.name());
  }
  return version;
}

absl::StatusOr<editd::v1::Version> Store::ReadVersion(const Id& id, bool with_tensors) const {
  if (!with_tensors) return storage::ReadVersion(*parts_, id);
  ASSIGN_OR_RETURN(const std::unique_ptr<Catalogue::Snapshot> snapshot, parts_->catalogue->TakeSnapshot());
  ASSIGN_OR_RETURN(editd::v1::Version version, storage::ReadVersion(*parts_, id, snapshot.get()));
  editd::v1::ManifestRow manifest;
  ASSIGN_OR_RETURN(const bool whole, parts_->catalogue->Get(Table::kManifests, id.view(), &manifest, snapshot.get()));
  if (!whole) return Collected(id);
  *version.mutable_files() = manifest.files();
  for (const editd::v1::ManifestTensor& entry : manifest.tensors()) {
    editd::v1::Tensor* tensor = version.add_tensors();
    tensor->set_name(entry.name());
    ASSIGN_OR_RETURN(const Id tensor_id, Id::FromBytes(entry.id()));
    tensor->set_id(tensor_id.Hex());
    const bool inherited = entry.since() > 0 && entry.since() <= static_cast<uint32_t>(manifest.since_size());
    ASSIGN_OR_RETURN(const Id since,
                     inherited ? Id::FromBytes(manifest.since(static_cast<int>(entry.since()) - 1)) : id);
    tensor->set_since(since.Hex());
    editd::v1::TensorRow row;
    ASSIGN_OR_RETURN(const bool found, parts_->catalogue->Get(Table::kTensors, entry.id(), &row, snapshot.get()));
    if (!found)
      return absl::DataLossError(StrCat("version ", id.Hex(), ": tensor \"", entry.name(), "\" is not in the store"));
    ASSIGN_OR_RETURN(const Id pack, Id::FromBytes(row.pack()));
    tensor->set_pack(pack.Hex());
    tensor->set_offset(row.offset());
    tensor->set_size(row.size());
    tensor->set_dtype(row.dtype());
    *tensor->mutable_shape() = row.shape();
  }
  return version;
}

std::vector<Id> Store::Ancestors(const Id& id) const { return parts_->lineage.Ancestors(id); }
std::vector<Id> Store::Descendants(const Id& id) const { return parts_->lineage.Descendants(id); }
std::vector<Id> Store::Log(const Id& id) const { return parts_->lineage.FirstParents(id); }

std::optional<Id> Store::FindRecipe(const Id& recipe) const {
  const absl::StatusOr<std::optional<std::string>> row = parts_->catalogue->GetBytes(Table::kRecipes, recipe.view());
  if (!row.ok() || !row->has_value()) return std::nullopt;
  const absl::StatusOr<Id> version = Id::FromBytes(**row);
  if (!version.ok()) return std::nullopt;
  const Lineage::Node* node = parts_->lineage.Find(*version);
  return node == nullptr || node->tombstone ? std::nullopt : std::optional<Id>(*version);
}

Id Store::RecipeId(std::string_view plugin, const Id& plugin_hash, std::string_view canonical_params,
                   std::span<const std::pair<std::string, Id>> inputs, uint64_t seed) {
  return storage::RecipeId(plugin, plugin_hash, canonical_params, inputs, seed);
}

absl::StatusOr<Published> Store::Publish(PublishRequest request) {
  return PublishJob(parts_.get(), std::move(request));
}

// --- assets
// -----------------------------------------------------------------------------------------------------------

absl::StatusOr<Store::Asset> Store::PutAsset(int fd, std::string_view name) { return parts_->assets->Put(fd, name); }
absl::StatusOr<Store::Asset> Store::PutAssetBytes(std::string_view content, std::string_view name) {
  return parts_->assets->PutBytes(content, name);
}
absl::StatusOr<UniqueFd> Store::OpenAsset(const Id& id) const { return parts_->assets->Open(id); }
bool Store::HasAsset(const Id& id) const { return parts_->assets->Find(id).has_value(); }

absl::StatusOr<UniqueFd> Store::OpenPack(const Id& id) const {
  // Not through parts_->packs, which is the core thread's.
  ASSIGN_OR_RETURN(const bool known, parts_->catalogue->Has(Table::kPacks, id.view()));
  if (!known) return absl::NotFoundError(StrCat("no pack ", id.Hex()));
  return OpenForRead(parts_->layout->PackPath(id));
}

absl::StatusOr<Id> Store::TreeId(std::vector<editd::v1::FileEntry> entries) { return storage::TreeId(&entries); }

absl::StatusOr<Id> Store::PutTree(std::vector<editd::v1::FileEntry> entries) {
  ASSIGN_OR_RETURN(const Id id, storage::TreeId(&entries));
  ASSIGN_OR_RETURN(const bool known, parts_->catalogue->Has(Table::kTrees, id.view()));
  if (known) return id;
  editd::v1::TreeRow row;
  for (const editd::v1::FileEntry& entry : entries) *row.add_entries() = entry;
  Catalogue::Batch batch;
  batch.Put(Table::kTrees, id.view(), row);
  RETURN_IF_ERROR(parts_->catalogue->Write(batch, Catalogue::Durability::kBuffered));
  return id;
}

absl::StatusOr<std::vector<editd::v1::FileEntry>> Store::GetTree(const Id& id) const {
  editd::v1::TreeRow row;
  ASSIGN_OR_RETURN(const bool found, parts_->catalogue->Get(Table::kTrees, id.view(), &row));
  if (!found) return absl::NotFoundError(StrCat("no tree ", id.Hex()));
  return std::vector<editd::v1::FileEntry>(row.entries().begin(), row.entries().end());
}

// --- datasets
// ---------------------------------------------------------------------------------------------------------

absl::StatusOr<editd::v1::Dataset> Store::AddDataset(editd::v1::Dataset dataset, std::string_view user) {
  if (!Refs::CheckName(dataset.name()).ok()) {
    return absl::InvalidArgumentError(
        StrCat("\"", dataset.name().substr(0, 140),
               "\" is no name for a dataset: at most 128 letters, digits and . _ / -, "
               "beginning with a letter or digit; a tag other than v1, v2, ... may follow after one @"));
  }
  if (dataset.entries().empty())
    return absl::InvalidArgumentError(StrCat("dataset \"", dataset.name(), "\" has no file"));
  dataset.set_bytes(0);
  for (const editd::v1::FileEntry& entry : dataset.entries()) {
    const absl::StatusOr<Id> asset = Id::FromHex(entry.asset());
    const std::optional<Assets::Entry> known = asset.ok() ? parts_->assets->Find(*asset) : std::nullopt;
    if (!known.has_value()) {
      return absl::FailedPreconditionError(StrCat("dataset \"", dataset.name(), "\": the content of \"", entry.name(),
                                                  "\" is not in the store; add it with editctl, which puts it there"));
    }
    dataset.set_bytes(dataset.bytes() + known->size);
  }
  if (dataset.entries_size() == 1 && dataset.entries(0).name().empty()) {
    dataset.set_content(StrCat("asset:", dataset.entries(0).asset()));
  } else {
    ASSIGN_OR_RETURN(const Id tree, PutTree({dataset.entries().begin(), dataset.entries().end()}));
    dataset.set_content(StrCat("tree:", tree.Hex()));
  }
  *dataset.mutable_added() = ToTimestamp(parts_->options.now());
  dataset.set_user(std::string(user));
  for (const editd::v1::FileEntry& entry : dataset.entries()) parts_->Touch(entry);
  return parts_->datasets->Add(dataset);
}

absl::StatusOr<editd::v1::Dataset> Store::FindDataset(std::string_view name) const {
  return parts_->datasets->Find(name);
}

std::vector<editd::v1::Dataset> Store::ListDatasets() const { return parts_->datasets->List(); }

absl::StatusOr<editd::v1::Dataset> Store::RemoveDataset(std::string_view name) {
  return parts_->datasets->Remove(name);
}

// --- staging
// ----------------------------------------------------------------------------------------------------------

absl::StatusOr<std::string> Store::CreateStaging(uint64_t job, uint32_t attempt) {
  RETURN_IF_ERROR(RemoveStaging(job, attempt));
  const std::string path = parts_->layout->StagingPath(job, attempt);
  if (::mkdir(path.c_str(), 0700) != 0) return ErrnoStatus(errno, StrCat("make folder ", path));
  return path;
}

absl::Status Store::RemoveStaging(uint64_t job, uint32_t attempt) {
  const std::string path = parts_->layout->StagingPath(job, attempt);
  std::error_code error;
  std::filesystem::remove_all(path, error);
  return error ? ErrnoStatus(error.value(), StrCat("remove ", path)) : absl::OkStatus();
}

absl::Status Store::KeepCheckpoint(uint64_t job, uint32_t attempt) {
  return parts_->layout->KeepCheckpoint(job, attempt);
}

absl::StatusOr<UniqueFd> Store::OpenCheckpoint(uint64_t job) const {
  const std::string path = parts_->layout->CheckpointPath(job);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, StrCat("open ", path));
  return fd;
}

absl::Status Store::RemoveCheckpoint(uint64_t job) {
  const std::string path = parts_->layout->CheckpointPath(job);
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return ErrnoStatus(errno, StrCat("remove ", path));
}

// --- jobs
// -------------------------------------------------------------------------------------------------------------

uint64_t Store::NextJobId() const { return parts_->jobs->next_id(); }

absl::Status Store::PutJob(const editd::v1::Job& job, std::span<const editd::v1::Event> events) {
  if (job.id() == 0) return absl::InvalidArgumentError("a job needs an id");
  Catalogue::Batch batch;
  parts_->jobs->Put(job, events, &batch);
  RETURN_IF_ERROR(parts_->catalogue->Write(batch, Catalogue::Durability::kSynced));
  parts_->jobs->Added(job);
  parts_->Touch(job);
  return absl::OkStatus();
}

absl::StatusOr<editd::v1::Job> Store::GetJob(uint64_t id) const { return parts_->jobs->Get(id); }

absl::StatusOr<std::vector<editd::v1::Job>> Store::LoadJobs() const {
  std::vector<editd::v1::Job> jobs;
  RETURN_IF_ERROR(parts_->jobs->ForEach([&jobs](const editd::v1::Job& job) {
    jobs.push_back(job);
    return absl::OkStatus();
  }));
  return jobs;
}

std::optional<uint64_t> Store::FindRequest(std::string_view request_id) const {
  return parts_->jobs->FindRequest(request_id);
}

absl::Status Store::AppendEvents(std::span<const editd::v1::Event> events) {
  Catalogue::Batch batch;
  for (const editd::v1::Event& event : events) {
    batch.Put(Table::kEvents, BigEndian(event.job()) + BigEndian(event.seq()), event);
  }
  return parts_->catalogue->Write(batch, Catalogue::Durability::kBuffered);
}

absl::StatusOr<std::vector<editd::v1::Event>> Store::ReadEvents(uint64_t job, uint64_t from_seq, size_t limit) const {
  return parts_->jobs->ReadEvents(job, from_seq, limit);
}

uint64_t Store::LastEventSeq(uint64_t job) const { return parts_->jobs->LastEventSeq(job); }

// --- measurements
// -----------------------------------------------------------------------------------------------------

absl::StatusOr<std::vector<Measurement>> Store::MeasurementsOf(const Id& version) const {
  return ReadMeasurements(*parts_->catalogue, version);
}

// --- plugins
// ----------------------------------------------------------------------------------------------------------

absl::Status Store::PutPlugin(const editd::v1::Plugin& plugin) {
  ASSIGN_OR_RETURN(const Id hash, Id::FromHex(plugin.hash()));
  Catalogue::Batch batch;
  batch.Put(Table::kPlugins, hash.view(), plugin);
  return parts_->catalogue->Write(batch, Catalogue::Durability::kBuffered);
}

std::optional<editd::v1::Plugin> Store::FindPlugin(const Id& hash) const {
  editd::v1::Plugin plugin;
  const absl::StatusOr<bool> found = parts_->catalogue->Get(Table::kPlugins, hash.view(), &plugin);
  return found.ok() && *found ? std::optional<editd::v1::Plugin>(std::move(plugin)) : std::nullopt;
}

// --- upkeep
// -----------------------------------------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<GarbageCollection>> Store::StartGarbageCollection(const GarbageOptions& options) {
  return MakeCollection(parts_.get(), options);
}

absl::StatusOr<std::vector<GarbageItem>> Store::CollectGarbage(const GarbageOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<GarbageCollection> collection, StartGarbageCollection(options));
  RETURN_IF_ERROR(collection->Find(nullptr));
  for (bool done = options.dry_run; !done;) {
    ASSIGN_OR_RETURN(done, collection->Sweep());
  }
  collection->RemoveFiles();
  return collection->Items();
}

absl::StatusOr<std::vector<std::string>> Store::WhyAlive(std::string_view name) const {
  return ExplainAlive(*parts_, name);
}

absl::StatusOr<std::unique_ptr<Verification>> Store::StartVerify() const { return MakeVerification(*parts_); }

StoreStats Store::Stats() const {
  StoreStats stats;
  for (const Lineage::Node& node : parts_->lineage.nodes()) {
    if (!node.present) continue;
    ++(node.tombstone ? stats.tombstones : stats.versions);
    if (!node.tombstone) stats.logical_bytes += node.logical_bytes;
  }
  stats.refs = parts_->refs->size();
  stats.packs = parts_->packs.size();
  for (const auto& [id, pack] : parts_->packs) stats.pack_bytes += pack.file_size();
  const std::unordered_map<Id, Assets::Entry> assets = parts_->assets->List();
  stats.assets = assets.size();
  for (const auto& [id, asset] : assets) stats.asset_bytes += asset.size;
  stats.rows_read = parts_->catalogue->rows_read();
  return stats;
}

}  // namespace editd::storage
