// The store: versions of models, the names that point at them, their lineage, and the jobs that made them.
//
// A state directory holds
//   format            "editd store 2": checked before anything else is opened
//   lock              held while a daemon has the store open; has its pid
//   db/               the catalogue (RocksDB): everything but bytes of tensors and files, and the only commit point
//   packs/ab/<id>.safetensors, assets/ab/<id>     immutable files, named by content
//   staging/<job>.<attempt>/                      where workers write; swept at start
//   incoming/                                     assets on their way in; swept at start
//   checkpoints/<job>                             what a job's last attempt kept for the next
// Files come first, the catalogue last: a pack is synced, renamed into place and its folder synced before one synced
// batch makes it known. A crash leaves at worst a file that no record names; the sweep takes it. (storage/FORMAT.md)
//
// Thread-compatible: the daemon's core thread owns the one instance. Exceptions, callable from any thread at any time:
// PutAsset, PutAssetBytes, OpenAsset, OpenPack, ReadVersion, CreateStaging, RemoveStaging, the checkpoints', and a
// Verification once made; of a GarbageCollection what its comment says.
//
// Ids in protobuf messages are 64 hex digits. Messages named here are those of proto/editd/v1.
#ifndef EDITD_STORAGE_STORE_H_
#define EDITD_STORAGE_STORE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "editd/v1/dataset.pb.h"
#include "editd/v1/job.pb.h"
#include "editd/v1/model.pb.h"
#include "editd/v1/plugin.pb.h"
#include "storage/base/file.h"
#include "storage/base/id.h"

namespace editd::storage {

struct StoreOptions {
  // The clock of grace periods and of times recorded.
  std::function<absl::Time()> now = absl::Now;
  // Files that no record names are removed at start if they are older than this.
  absl::Duration orphan_grace = absl::Hours(1);
  // How long a version that a ref left stays alive, so that the move can be undone.
  absl::Duration reflog_window = absl::Hours(24 * 7);
  // That hash assets and verify. 0: as many as there are cores.
  unsigned threads = 0;
};

// Who moves a ref, for its log.
struct MoveCause {
  std::string user;
  uint64_t job = 0;  // 0: a user, not a job.
  std::string message;
};

// A file that a job made, or takes from an input.
struct StagedFile {
  std::string name;  // In the version ("config.json"), or for the client that fetches an export.
  std::string path;  // Where it lies now (in staging); it is moved into the store. Empty: `asset` is stored already.
  Id asset;          // If `path` is empty. Beside a path: the hash of its content, if the caller took it already.
  bool exported = false;  // True: goes to Job.exported; no part of the version.
};

// What Publish is about to commit, or has committed.
struct Published {
  Id version;              // Empty if the job made none.
  bool existed = false;    // The same version was there before (a replay, or the same edit twice).
  bool ref_moved = false;  // False also if the ref pointed there already.
  absl::Status
      ref_conflict;  // ABORTED if the ref was moved by somebody else meanwhile: the version is published, the ref left.
  std::vector<editd::v1::FileEntry> exported;
  uint64_t bytes_written = 0;  // New tensors and files.
};

// What a job made. Publish fills in what only the store knows.
struct PublishRequest {
  // True if `version` is set.
  bool makes_version = false;
  // Set by the caller: tensors (name, dtype, shape, id; those of the pack also pack, offset and size), parents (in the
  // order of the inputs), attributes, recipe (all but id), user, job. Files come from `files`.
  editd::v1::Version version;
  std::vector<StagedFile> files;
  // The worker's pack in staging, and its id; empty if no tensor is new.
  std::string pack_path;
  Id pack;
  // The ref that shall point at the version; empty: none. It moves only from `ref_expected` (empty id: it must not
  // exist).
  std::string ref;
  Id ref_expected;
  // With --force: the version that the same recipe gave before. Another result is an error (FAILED_PRECONDITION).
  std::optional<Id> must_equal;
  // Committed in the same batch. `finish`, if set, is called before the batch is written, when all else is known: it
  // completes the job's row and adds its events.
  editd::v1::Job job;
  std::vector<editd::v1::Event> events;
  std::function<void(const Published&, editd::v1::Job*, std::vector<editd::v1::Event>*)> finish;
};

// That a job measured a version.
struct Measurement {
  Id version;
  Id data;  // Of plugin and canonical params: equal for measurements that compare.
  uint64_t job = 0;
  uint32_t input = 0;  // Which of the job's inputs the version is.
};

enum class GarbageKind { kVersion, kPack, kAsset, kOrphan, kCheckpoint };

struct GarbageItem {
  GarbageKind kind = GarbageKind::kVersion;
  std::string id;  // 64 hex digits; of an orphan its path below the state directory, of a checkpoint its job.
  uint64_t bytes = 0;
  std::string reason;  // "no ref points at it since 2026-11-22", "2 of 3 tensors are not used, but 1 is"
  bool stays = false;  // A pack that is dead in part: it stays, `bytes` are the dead ones.
};

struct GarbageOptions {
  bool dry_run = false;
  absl::Duration grace = absl::Hours(1);  // What is younger stays.
};

struct StoreStats {
  uint64_t versions = 0;  // Tombstones left out.
  uint64_t tombstones = 0;
  uint64_t refs = 0;
  uint64_t packs = 0, pack_bytes = 0;  // Files as they are on disk.
  uint64_t assets = 0, asset_bytes = 0;
  uint64_t logical_bytes = 0;  // Sum of every live version's tensors, as if nothing were shared.
  uint64_t rows_read = 0;      // Of the catalogue, since the store was opened.
};

// A collection of garbage, beside the store's other work: Find and RemoveFiles take long and run on any thread, one
// call at a time; all else, making and destroying it included, is the core thread's, and short. What is used while it
// goes on stays.
class GarbageCollection {
 public:
  virtual ~GarbageCollection() = default;
  // Finds what may go; CANCELLED once `stopped` (which may be null) returns true.
  virtual absl::Status Find(const std::function<bool()>& stopped) = 0;
  // One step of taking it out of the store; true once all is done.
  virtual absl::StatusOr<bool> Sweep() = 0;
  // Removes the files of what was swept.
  virtual void RemoveFiles() = 0;
  // What was found, without what turned out to be needed.
  virtual std::vector<GarbageItem> Items() const = 0;
};

// How far a verification is; `finding` is set when something wrong was found.
struct VerifyProgress {
  std::string finding;
  uint64_t bytes_done = 0, bytes_total = 0;
  uint64_t packs = 0, assets = 0, versions = 0, findings = 0;
};

// Re-reads and re-hashes everything, and follows every record to what it names, in a snapshot of the catalogue. Made on
// the core thread, run on any one; the store must outlive it. While it runs, gc may run too: what gc took is no
// finding.
class Verification {
 public:
  virtual ~Verification() = default;
  // Calls `report` about ten times a second and for each finding, from one thread at a time; stops early if it returns
  // false. An error only if the verification itself cannot go on.
  virtual absl::StatusOr<VerifyProgress> Run(const std::function<bool(const VerifyProgress&)>& report) = 0;
};

struct Parts;

class Store {
 public:
  // Opens or creates the store. RESOURCE_EXHAUSTED `state directory ... is in use by another daemon, pid N`;
  // FAILED_PRECONDITION `incompatible store format`. Sweeps staging and orphans. A store of an older format is brought
  // up to date.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const std::string& directory, StoreOptions options = {});
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  const std::string& directory() const;

  // --- names --------------------------------------------------------------------------------------------------------
  // `name`, `name@tag`, `name@vN` (where the ref's N-th move went), or a prefix of a version id of at least 4 digits. A
  // ref's name goes before an id. NOT_FOUND names the nearest ref, INVALID_ARGUMENT the candidates of an ambiguous
  // prefix.
  absl::StatusOr<Id> Resolve(std::string_view name) const;
  // Names are [A-Za-z0-9._/-]{1,128}, begin with a letter or digit, and may end in @tag; a tag is not vN.
  // INVALID_ARGUMENT.
  static absl::Status CheckRefName(std::string_view name);
  std::vector<editd::v1::Ref> ListRefs() const;  // By name.
  std::optional<editd::v1::Ref> FindRef(std::string_view name) const;
  // Moves `name` from `expected` to `next`, durably. `expected` empty id: must not exist; nullopt: from wherever it
  // points. `next` empty id: deletes the ref (its log stays). ABORTED if it points elsewhere; the message has both ids.
  absl::StatusOr<editd::v1::Ref> MoveRef(std::string_view name, std::optional<Id> expected, const Id& next,
                                         const MoveCause& cause);
  // Newest first. Empty name: every ref's.
  std::vector<editd::v1::RefMove> Reflog(std::string_view name) const;

  // --- versions -----------------------------------------------------------------------------------------------------
  // NOT_FOUND. With tensors: also tensors and files, FAILED_PRECONDITION if gc took them (tombstone).
  absl::StatusOr<editd::v1::Version> GetVersion(const Id& id, bool with_tensors) const;
  // The same without refs, of one moment. Any thread.
  absl::StatusOr<editd::v1::Version> ReadVersion(const Id& id, bool with_tensors) const;
  // From memory: `id` not included, nearest first (by number of steps, then by age).
  std::vector<Id> Ancestors(const Id& id) const;
  std::vector<Id> Descendants(const Id& id) const;
  // `id`, its first parent, that one's first parent, ... to the base.
  std::vector<Id> Log(const Id& id) const;
  // The version that this recipe gave before, if its bytes are still there.
  std::optional<Id> FindRecipe(const Id& recipe) const;
  // Hash of plugin name and hash, canonical params (bytes that the caller knows to be canonical), inputs in order with
  // their roles, seed.
  static Id RecipeId(std::string_view plugin, const Id& plugin_hash, std::string_view canonical_params,
                     std::span<const std::pair<std::string, Id>> inputs, uint64_t seed);

  // Everything that a job made, visible and durable at once or not at all. The pack's header, sizes and alignment are
  // checked against the request. On error nothing is visible and the staging folder may be removed. Doing it again
  // changes nothing.
  absl::StatusOr<Published> Publish(PublishRequest request);

  // --- assets -------------------------------------------------------------------------------------------------------
  struct Asset {
    Id id;
    uint64_t size = 0;
  };
  // Copies the regular file behind `fd` from its beginning (its offset is not moved); shares blocks where the file
  // system can. Durable when it returns. `name` is for messages.
  absl::StatusOr<Asset> PutAsset(int fd, std::string_view name);
  absl::StatusOr<Asset> PutAssetBytes(std::string_view content, std::string_view name);
  // Read-only descriptors. NOT_FOUND.
  absl::StatusOr<UniqueFd> OpenAsset(const Id& id) const;
  absl::StatusOr<UniqueFd> OpenPack(const Id& id) const;
  bool HasAsset(const Id& id) const;
  // The id of a folder of assets: hash of its sorted names and their contents' ids. The entries are stored.
  absl::StatusOr<Id> PutTree(std::vector<editd::v1::FileEntry> entries);
  absl::StatusOr<std::vector<editd::v1::FileEntry>> GetTree(const Id& id) const;
  static absl::StatusOr<Id> TreeId(std::vector<editd::v1::FileEntry> entries);

  // --- datasets -----------------------------------------------------------------------------------------------------
  // Gives entries a name: name, path, field and entries are set by the caller. As long as the name is there, gc leaves
  // the content. INVALID_ARGUMENT: the name, or no entry; FAILED_PRECONDITION: an entry's asset is not in the store;
  // ALREADY_EXISTS: the name has another content. The same again gives what is there.
  absl::StatusOr<editd::v1::Dataset> AddDataset(editd::v1::Dataset dataset, std::string_view user);
  // NOT_FOUND names the nearest.
  absl::StatusOr<editd::v1::Dataset> FindDataset(std::string_view name) const;
  std::vector<editd::v1::Dataset> ListDatasets() const;  // By name.
  absl::StatusOr<editd::v1::Dataset> RemoveDataset(std::string_view name);

  // --- staging ------------------------------------------------------------------------------------------------------
  // Makes the empty folder of an attempt (what was in it goes) and returns its path.
  absl::StatusOr<std::string> CreateStaging(uint64_t job, uint32_t attempt);
  absl::Status RemoveStaging(uint64_t job, uint32_t attempt);
  // What the attempt kept for a later one ("checkpoint" in its staging folder) becomes the job's checkpoint, in place
  // of an older one; does nothing if it kept nothing. A start does the same for attempts that a kill ended.
  absl::Status KeepCheckpoint(uint64_t job, uint32_t attempt);
  // Read-only. NOT_FOUND.
  absl::StatusOr<UniqueFd> OpenCheckpoint(uint64_t job) const;
  absl::Status RemoveCheckpoint(uint64_t job);

  // --- jobs ---------------------------------------------------------------------------------------------------------
  // The id for the next job: one more than any stored.
  uint64_t NextJobId() const;
  // Stores the job (new or changed) and `events` in one synced batch.
  absl::Status PutJob(const editd::v1::Job& job, std::span<const editd::v1::Event> events = {});
  absl::StatusOr<editd::v1::Job> GetJob(uint64_t id) const;
  absl::StatusOr<std::vector<editd::v1::Job>> LoadJobs() const;  // By id.
  // The job that was submitted with this request id.
  std::optional<uint64_t> FindRequest(std::string_view request_id) const;
  // Events are numbered by the caller, densely from 1 for each job. Not synced: they survive a kill of the daemon, and
  // become durable with the next synced write.
  absl::Status AppendEvents(std::span<const editd::v1::Event> events);
  // At most `limit` events from `from_seq` on.
  absl::StatusOr<std::vector<editd::v1::Event>> ReadEvents(uint64_t job, uint64_t from_seq, size_t limit) const;
  // The number of the job's last event; 0 if it has none.
  uint64_t LastEventSeq(uint64_t job) const;

  // --- measurements -------------------------------------------------------------------------------------------------
  // Which jobs measured the version, the oldest first. Reads as many rows as it finds.
  absl::StatusOr<std::vector<Measurement>> MeasurementsOf(const Id& version) const;

  // --- what plugins say of themselves, cached by their file's hash
  // ----------------------------------------------------
  absl::Status PutPlugin(const editd::v1::Plugin& plugin);
  std::optional<editd::v1::Plugin> FindPlugin(const Id& hash) const;

  // --- upkeep -------------------------------------------------------------------------------------------------------
  // Takes versions that no ref, recent ref move, unfinished job or grace keeps, packs and assets that no live version
  // or unfinished job needs, and orphans. A version's lineage stays, as a tombstone. FAILED_PRECONDITION while another
  // collection goes on. The store must outlive it.
  absl::StatusOr<std::unique_ptr<GarbageCollection>> StartGarbageCollection(const GarbageOptions& options);
  // The same from beginning to end.
  absl::StatusOr<std::vector<GarbageItem>> CollectGarbage(const GarbageOptions& options);
  // What keeps a version, pack or asset (`name`: as in Resolve, or 64 hex digits): one chain a line. Empty: nothing
  // does.
  absl::StatusOr<std::vector<std::string>> WhyAlive(std::string_view name) const;
  absl::StatusOr<std::unique_ptr<Verification>> StartVerify() const;
  StoreStats Stats() const;

 private:
  explicit Store(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace editd::storage

#endif  // EDITD_STORAGE_STORE_H_
