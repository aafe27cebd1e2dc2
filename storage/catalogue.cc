// One column family a table. Options follow what RocksDB 7.8.3 is known to do wrong: no mmap reads, no ingestion, no
// blob files, few background jobs (a flush that is retried must not be overtaken), no tracking of WALs in the manifest.
#include "storage/catalogue.h"

#include <rocksdb/db.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>

#include "storage/base/strings.h"

namespace editd::storage {
namespace {

constexpr const char* kTableNames[] = {"versions", "manifests", "lineage", "recipes", "tensors",  "packs",  "assets",
                                       "trees",    "refs",      "reflog",  "jobs",    "requests", "events", "plugins"};
constexpr size_t kTables = std::size(kTableNames);
static_assert(kTables == static_cast<size_t>(Table::kPlugins) + 1);

const char* NameOf(Table table) { return kTableNames[static_cast<size_t>(table)]; }

rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

absl::Status ToStatus(const rocksdb::Status& status, std::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = StrCat("catalogue: ", what, ": ", status.ToString());
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(message);
  if (status.IsCorruption()) return absl::DataLossError(message);
  if (status.IsIOError()) return absl::DataLossError(message);
  if (status.IsShutdownInProgress()) return absl::UnavailableError(message);
  return absl::InternalError(message);
}

rocksdb::Options DatabaseOptions() {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.max_background_jobs = 2;
  options.write_buffer_size = size_t{8} << 20;
  options.max_total_wal_size = uint64_t{64} << 20;
  options.compression = rocksdb::kLZ4Compression;
  options.keep_log_file_num = 2;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.paranoid_checks = true;
  rocksdb::BlockBasedTableOptions table;
  table.block_size = 16 << 10;
  table.block_cache = rocksdb::NewLRUCache(size_t{32} << 20);
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

class RocksSnapshot : public Catalogue::Snapshot {
 public:
  explicit RocksSnapshot(rocksdb::DB* db) : db_(db), snapshot_(db->GetSnapshot()) {}
  ~RocksSnapshot() override { db_->ReleaseSnapshot(snapshot_); }
  const rocksdb::Snapshot* get() const { return snapshot_; }

 private:
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
  ~Database() {
    for (rocksdb::ColumnFamilyHandle* family : families) db->DestroyColumnFamilyHandle(family);
    db->Close();
  }
  rocksdb::ColumnFamilyHandle* Family(Table table) const { return families[static_cast<size_t>(table) + 1]; }

  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> families;  // The first is RocksDB's default one, unused.
};

struct Catalogue::Batch::Entry {
  Table table;
  bool deletion;
  std::string key;
  std::string value;
};

Catalogue::Batch::Batch() = default;
Catalogue::Batch::~Batch() = default;
void Catalogue::Batch::Put(Table table, std::string_view key, const google::protobuf::MessageLite& row) {
  entries_.push_back({table, false, std::string(key), row.SerializeAsString()});
}
void Catalogue::Batch::PutBytes(Table table, std::string_view key, std::string_view value) {
  entries_.push_back({table, false, std::string(key), std::string(value)});
}
void Catalogue::Batch::Delete(Table table, std::string_view key) {
  entries_.push_back({table, true, std::string(key), {}});
}
bool Catalogue::Batch::empty() const { return entries_.empty(); }

absl::StatusOr<std::unique_ptr<Catalogue>> Catalogue::Open(const std::string& path) {
  const rocksdb::Options options = DatabaseOptions();
  std::vector<rocksdb::ColumnFamilyDescriptor> families = {{rocksdb::kDefaultColumnFamilyName, options}};
  for (const char* name : kTableNames) families.emplace_back(name, options);
  auto database = std::make_unique<Database>();
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(options, path, families, &database->families, &db);
  database->db.reset(db);
  if (!status.ok()) {
    (void)database.release();  // Nothing was opened.
    return ToStatus(status, StrCat("open ", path));
  }
  return std::unique_ptr<Catalogue>(new Catalogue(std::move(database)));
}

Catalogue::Catalogue(std::unique_ptr<Database> database) : database_(std::move(database)) {}
Catalogue::~Catalogue() = default;

absl::Status Catalogue::Write(const Batch& batch, Durability durability) {
  rocksdb::WriteBatch writes;
  for (const Batch::Entry& entry : batch.entries_) {
    rocksdb::ColumnFamilyHandle* family = database_->Family(entry.table);
    const rocksdb::Status status =
        entry.deletion ? writes.Delete(family, entry.key) : writes.Put(family, entry.key, entry.value);
    if (!status.ok()) return ToStatus(status, "prepare a batch");
  }
  rocksdb::WriteOptions options;
  options.sync = durability == Durability::kSynced;
  rocksdb::Status status = database_->db->Write(options, &writes);
  // After a failed write RocksDB refuses all others until it is told that the cause may be over (a full disk has room).
  if (!status.ok() && database_->db->Resume().ok()) status = database_->db->Write(options, &writes);
  return ToStatus(status, "write");
}

absl::StatusOr<std::optional<std::string>> Catalogue::GetBytes(Table table, std::string_view key,
                                                               const Snapshot* snapshot) const {
  std::string value;
  const rocksdb::Status status =
      database_->db->Get(ReadOptionsAt(snapshot), database_->Family(table), ToSlice(key), &value);
  if (status.IsNotFound()) return std::optional<std::string>();
  if (!status.ok()) return ToStatus(status, StrCat("read ", NameOf(table)));
  return std::optional<std::string>(std::move(value));
}

absl::StatusOr<bool> Catalogue::Get(Table table, std::string_view key, google::protobuf::MessageLite* row,
                                    const Snapshot* snapshot) const {
  rocksdb::PinnableSlice value;
  const rocksdb::Status status =
      database_->db->Get(ReadOptionsAt(snapshot), database_->Family(table), ToSlice(key), &value);
  if (status.IsNotFound()) return false;
  if (!status.ok()) return ToStatus(status, StrCat("read ", NameOf(table)));
  RETURN_IF_ERROR(ParseRow(table, key, ToView(value), row));
  return true;
}

absl::StatusOr<bool> Catalogue::Has(Table table, std::string_view key, const Snapshot* snapshot) const {
  rocksdb::PinnableSlice value;
  const rocksdb::Status status =
      database_->db->Get(ReadOptionsAt(snapshot), database_->Family(table), ToSlice(key), &value);
  if (status.IsNotFound()) return false;
  if (!status.ok()) return ToStatus(status, StrCat("read ", NameOf(table)));
  return true;
}

absl::Status Catalogue::Scan(Table table, std::string_view prefix, std::string_view from, const RowFunction& row,
                             const Snapshot* snapshot) const {
  const std::unique_ptr<rocksdb::Iterator> iterator(
      database_->db->NewIterator(ReadOptionsAt(snapshot), database_->Family(table)));
  for (iterator->Seek(ToSlice(std::max(prefix, from))); iterator->Valid(); iterator->Next()) {
    if (!iterator->key().starts_with(ToSlice(prefix))) break;
    ASSIGN_OR_RETURN(const bool more, row(ToView(iterator->key()), ToView(iterator->value())));
    if (!more) return absl::OkStatus();
  }
  return ToStatus(iterator->status(), StrCat("scan ", NameOf(table)));
}

absl::StatusOr<std::optional<std::string>> Catalogue::LastKey(Table table, std::string_view prefix) const {
  const std::unique_ptr<rocksdb::Iterator> iterator(
      database_->db->NewIterator(rocksdb::ReadOptions(), database_->Family(table)));
  std::string last = std::string(prefix) + std::string(16, '\xff');  // Keys go on by at most eight bytes.
  iterator->SeekForPrev(last);
  if (!iterator->status().ok()) return ToStatus(iterator->status(), StrCat("scan ", NameOf(table)));
  if (!iterator->Valid() || !iterator->key().starts_with(ToSlice(prefix))) return std::optional<std::string>();
  return std::optional<std::string>(iterator->key().ToString());
}

std::unique_ptr<Catalogue::Snapshot> Catalogue::TakeSnapshot() const {
  return std::make_unique<RocksSnapshot>(database_->db.get());
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
