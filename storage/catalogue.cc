// All tables lie in one key space; a key begins with its table's letter. A column family for each would cost a synced
// write to the manifest when a store is made, and a file each at every flush. Options follow what RocksDB 7.8.3 is
// known to do wrong: no mmap reads, no ingestion, no blob files, few background jobs (a flush that is retried must not
// be overtaken), no tracking of WALs in the manifest.
#include "storage/catalogue.h"

#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <memory>
#include <mutex>
#include <shared_mutex>

#include "storage/base/strings.h"

namespace editd::storage {
namespace {

struct TableTraits {
  char letter;
  const char* name;
};

// Indexed by Table. The letters are part of the format.
constexpr TableTraits kTables[] = {{'v', "versions"}, {'m', "manifests"}, {'l', "lineage"},      {'c', "recipes"},
                                   {'t', "tensors"},  {'p', "packs"},     {'a', "assets"},       {'d', "trees"},
                                   {'r', "refs"},     {'g', "reflog"},    {'j', "jobs"},         {'q', "requests"},
                                   {'e', "events"},   {'x', "plugins"},   {'k', "measurements"}, {'n', "datasets"}};
static_assert(std::size(kTables) == static_cast<size_t>(Table::kDatasets) + 1);

const char* NameOf(Table table) { return kTables[static_cast<size_t>(table)].name; }

std::string KeyOf(Table table, std::string_view key) {
  std::string full(1, kTables[static_cast<size_t>(table)].letter);
  full.append(key);
  return full;
}

std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// True if a write failed for want of room: then the record at the log's end is incomplete, and no reader takes it for
// one. Not if it was the sync that found no room: the record is whole, and the next start reads it.
bool IsFull(const rocksdb::Status& status) {
  const std::string text = status.ToString();
  if (text.find("While fdatasync") != std::string::npos || text.find("While fsync") != std::string::npos) return false;
  if (status.IsNoSpace()) return true;
  return status.IsIOError() && text.find(std::strerror(EFBIG)) != std::string::npos;
}

absl::Status ToStatus(const rocksdb::Status& status, std::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = StrCat("catalogue: ", what, ": ", status.ToString());
  if (IsFull(status)) return absl::ResourceExhaustedError(message);
  if (status.IsCorruption()) return absl::DataLossError(message);
  if (status.IsIOError()) return absl::DataLossError(message);
  if (status.IsShutdownInProgress()) return absl::UnavailableError(message);
  return absl::InternalError(message);
}

// RocksDB's own log is dropped: what matters comes back as a status. Its usual logger asserts, in Debian's build, that
// a write after a failed one never happens, so that a full disk would end the daemon.
class NoLog : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

rocksdb::Options DatabaseOptions() {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.max_background_jobs = 2;
  options.write_buffer_size = size_t{16} << 20;
  options.max_total_wal_size = uint64_t{16} << 20;
  options.avoid_flush_during_recovery = true;  // A restart then writes no file.
  options.compression = rocksdb::kLZ4Compression;
  options.keep_log_file_num = 2;
  options.info_log = std::make_shared<NoLog>();
  options.paranoid_checks = true;
  rocksdb::BlockBasedTableOptions table;
  table.block_size = 16 << 10;
  table.block_cache = rocksdb::NewLRUCache(size_t{32} << 20);
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

// Counts one user of the database while it lives.
class Use {
 public:
  explicit Use(std::atomic<int>* count) : count_(count) { ++*count_; }
  ~Use() { --*count_; }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  std::atomic<int>* const count_;
};

class RocksSnapshot : public Catalogue::Snapshot {
 public:
  RocksSnapshot(rocksdb::DB* db, std::atomic<int>* count) : use_(count), db_(db), snapshot_(db->GetSnapshot()) {}
  ~RocksSnapshot() override { db_->ReleaseSnapshot(snapshot_); }
  const rocksdb::Snapshot* get() const { return snapshot_; }

 private:
  const Use use_;  // First, so that it ends last.
  rocksdb::DB* const db_;
  const rocksdb::Snapshot* const snapshot_;
};

rocksdb::ReadOptions ReadOptionsAt(const Catalogue::Snapshot* snapshot) {
  rocksdb::ReadOptions options;
  if (snapshot != nullptr) options.snapshot = static_cast<const RocksSnapshot*>(snapshot)->get();
  return options;
}

}  // namespace

std::string BigEndian(uint64_t value) {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (56 - 8 * i));
  return bytes;
}

uint64_t FromBigEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (char c : bytes.substr(0, 8)) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

class Catalogue::Database {
 public:
  explicit Database(std::string path) : path_(std::move(path)) {}
  ~Database() { Close(); }

  absl::Status Open() {
    rocksdb::DB* opened = nullptr;
    RETURN_IF_ERROR(ToStatus(rocksdb::DB::Open(DatabaseOptions(), path_, &opened), StrCat("open ", path_)));
    db.reset(opened);
    return absl::OkStatus();
  }
  void Close() {
    if (db != nullptr) db->Close();
    db.reset();
  }

  // After a failed write RocksDB takes no other one; opening it again drops the log's broken end. Reads wait meanwhile.
  // Not while a snapshot or a scan goes on, which would not survive.
  absl::Status OpenAgain() {
    const std::unique_lock lock(gate);
    if (users > 0)
      return absl::ResourceExhaustedError(
          "catalogue: a write failed before; it recovers when running scans have ended");
    Close();
    return Open();
  }

  std::unique_ptr<rocksdb::DB> db;  // Null only if opening it again failed.
  mutable std::shared_mutex gate;   // Shared by all who use db.
  std::atomic<int> users = 0;       // Snapshots and scans.
  std::atomic<uint64_t> rows_read = 0;
  std::mutex failure_mutex;  // Guards what follows.
  bool full = false;         // The last write found no room.
  absl::Status failed;       // A write failed otherwise: for good.

 private:
  const std::string path_;
};

namespace {
absl::Status Closed() {
  return absl::ResourceExhaustedError("catalogue: closed after a failed write; make room and try again");
}
}  // namespace

void Catalogue::Batch::Put(Table table, std::string_view key, const google::protobuf::MessageLite& row) {
  entries_.push_back({false, KeyOf(table, key), row.SerializeAsString()});
}
void Catalogue::Batch::PutBytes(Table table, std::string_view key, std::string_view value) {
  entries_.push_back({false, KeyOf(table, key), std::string(value)});
}
void Catalogue::Batch::Delete(Table table, std::string_view key) { entries_.push_back({true, KeyOf(table, key), {}}); }

absl::StatusOr<std::unique_ptr<Catalogue>> Catalogue::Open(const std::string& path) {
  auto database = std::make_unique<Database>(path);
  RETURN_IF_ERROR(database->Open());
  return std::unique_ptr<Catalogue>(new Catalogue(std::move(database)));
}

Catalogue::Catalogue(std::unique_ptr<Database> database) : database_(std::move(database)) {}
Catalogue::~Catalogue() = default;

absl::Status Catalogue::Write(const Batch& batch, Durability durability) {
  rocksdb::WriteBatch writes;
  for (const Batch::Entry& entry : batch.entries_) {
    const rocksdb::Status status = entry.deletion ? writes.Delete(entry.key) : writes.Put(entry.key, entry.value);
    if (!status.ok()) return ToStatus(status, "prepare a batch");
  }
  rocksdb::WriteOptions options;
  options.sync = durability == Durability::kSynced;
  {
    const std::lock_guard lock(database_->failure_mutex);
    RETURN_IF_ERROR(database_->failed);
    if (database_->full) {
      RETURN_IF_ERROR(database_->OpenAgain());
      database_->full = false;
    }
  }
  rocksdb::Status status;
  {
    const std::shared_lock lock(database_->gate);
    if (database_->db == nullptr) return Closed();
    status = database_->db->Write(options, &writes);
  }
  if (status.ok()) return absl::OkStatus();
  const std::lock_guard lock(database_->failure_mutex);
  if (IsFull(status)) {
    database_->full = true;
  } else {
    database_->failed = Annotate(ToStatus(status, "write"), "the disk failed; restart the daemon when it is well");
  }
  return ToStatus(status, "write");
}

absl::StatusOr<std::optional<std::string>> Catalogue::GetBytes(Table table, std::string_view key,
                                                               const Snapshot* snapshot) const {
  const std::shared_lock lock(database_->gate);
  if (database_->db == nullptr) return Closed();
  ++database_->rows_read;
  std::string value;
  const rocksdb::Status status = database_->db->Get(ReadOptionsAt(snapshot), KeyOf(table, key), &value);
  if (status.IsNotFound()) return std::optional<std::string>();
  if (!status.ok()) return ToStatus(status, StrCat("read ", NameOf(table)));
  return std::optional<std::string>(std::move(value));
}

absl::StatusOr<bool> Catalogue::Get(Table table, std::string_view key, google::protobuf::MessageLite* row,
                                    const Snapshot* snapshot) const {
  const std::shared_lock lock(database_->gate);
  if (database_->db == nullptr) return Closed();
  ++database_->rows_read;
  std::string value;
  const rocksdb::Status status = database_->db->Get(ReadOptionsAt(snapshot), KeyOf(table, key), &value);
  if (status.IsNotFound()) return false;
  if (!status.ok()) return ToStatus(status, StrCat("read ", NameOf(table)));
  RETURN_IF_ERROR(ParseRow(table, key, value, row));
  return true;
}

absl::StatusOr<bool> Catalogue::Has(Table table, std::string_view key, const Snapshot* snapshot) const {
  const std::shared_lock lock(database_->gate);
  if (database_->db == nullptr) return Closed();
  ++database_->rows_read;
  std::string value;
  const rocksdb::Status status = database_->db->Get(ReadOptionsAt(snapshot), KeyOf(table, key), &value);
  if (status.IsNotFound()) return false;
  if (!status.ok()) return ToStatus(status, StrCat("read ", NameOf(table)));
  return true;
}

absl::Status Catalogue::Scan(Table table, std::string_view prefix, std::string_view from, const RowFunction& row,
                             const Snapshot* snapshot) const {
  // The gate is not kept shut against a row function that reads other rows; the count keeps the database open.
  std::shared_lock lock(database_->gate);
  if (database_->db == nullptr) return Closed();
  const Use use(&database_->users);
  lock.unlock();
  const std::unique_ptr<rocksdb::Iterator> iterator(database_->db->NewIterator(ReadOptionsAt(snapshot)));
  const std::string full_prefix = KeyOf(table, prefix);
  for (iterator->Seek(KeyOf(table, std::max(prefix, from))); iterator->Valid(); iterator->Next()) {
    if (!iterator->key().starts_with(full_prefix)) break;
    ++database_->rows_read;
    ASSIGN_OR_RETURN(const bool more, row(ToView(iterator->key()).substr(1), ToView(iterator->value())));
    if (!more) return absl::OkStatus();
  }
  return ToStatus(iterator->status(), StrCat("scan ", NameOf(table)));
}

absl::StatusOr<std::optional<std::string>> Catalogue::LastKey(Table table, std::string_view prefix) const {
  const std::shared_lock lock(database_->gate);
  if (database_->db == nullptr) return Closed();
  const std::unique_ptr<rocksdb::Iterator> iterator(database_->db->NewIterator(rocksdb::ReadOptions()));
  const std::string full_prefix = KeyOf(table, prefix);
  iterator->SeekForPrev(full_prefix + std::string(16, '\xff'));  // Keys go on by at most eight bytes.
  RETURN_IF_ERROR(ToStatus(iterator->status(), StrCat("scan ", NameOf(table))));
  if (!iterator->Valid() || !iterator->key().starts_with(full_prefix)) return std::optional<std::string>();
  return std::optional<std::string>(iterator->key().ToString().substr(1));
}

uint64_t Catalogue::rows_read() const { return database_->rows_read; }

absl::StatusOr<std::unique_ptr<Catalogue::Snapshot>> Catalogue::TakeSnapshot() const {
  const std::shared_lock lock(database_->gate);
  if (database_->db == nullptr) return Closed();
  return std::make_unique<RocksSnapshot>(database_->db.get(), &database_->users);
}

absl::Status ParseRow(Table table, std::string_view key, std::string_view value, google::protobuf::MessageLite* row) {
  if (row->ParseFromArray(value.data(), static_cast<int>(value.size()))) return absl::OkStatus();
  std::string printed;
  for (char c : key) {
    static constexpr char kDigits[] = "0123456789abcdef";
    printed += {kDigits[static_cast<uint8_t>(c) >> 4], kDigits[static_cast<uint8_t>(c) & 15]};
  }
  return absl::DataLossError(StrCat("catalogue: row ", printed, " of table ", NameOf(table), " cannot be read"));
}

}  // namespace editd::storage
