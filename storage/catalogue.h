// The catalogue: RocksDB as a set of tables of protobuf rows. It is the store's only commit point.
//
// Only this file's .cc knows RocksDB. Keys sort as bytes; numbers in keys are big-endian.
//
// Thread-safe, as RocksDB is; a Batch belongs to one thread. Who may change what is the store's rule, not this class's.
#ifndef EDITD_STORAGE_CATALOGUE_H_
#define EDITD_STORAGE_CATALOGUE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/message_lite.h"
#include "storage/base/id.h"
#include "storage/base/status.h"

namespace editd::storage {

enum class Table {
  kVersions,
  kManifests,
  kLineage,
  kRecipes,
  kTensors,
  kPacks,
  kAssets,
  kTrees,
  kRefs,
  kReflog,
  kJobs,
  kRequests,
  kEvents,
  kPlugins,
  kMeasurements,
  kDatasets,
};

// Eight bytes that sort as the number does.
std::string BigEndian(uint64_t value);
uint64_t FromBigEndian(std::string_view bytes);

class Catalogue {
 public:
  // A state that later writes do not change. Must be gone before the catalogue is.
  class Snapshot {
   public:
    virtual ~Snapshot() = default;
  };

  // Changes that are made all or none.
  class Batch {
   public:
    void Put(Table table, std::string_view key, const google::protobuf::MessageLite& row);
    void PutBytes(Table table, std::string_view key, std::string_view value);
    void Delete(Table table, std::string_view key);
    bool empty() const { return entries_.empty(); }

   private:
    friend class Catalogue;
    struct Entry {
      bool deletion;
      std::string key;  // With its table's letter.
      std::string value;
    };
    std::vector<Entry> entries_;
  };

  // kSynced: on the disk when Write returns. kBuffered: in the system's buffers, so a kill of the process loses
  // nothing.
  enum class Durability { kBuffered, kSynced };

  static absl::StatusOr<std::unique_ptr<Catalogue>> Open(const std::string& path);
  ~Catalogue();
  Catalogue(const Catalogue&) = delete;
  Catalogue& operator=(const Catalogue&) = delete;

  // RESOURCE_EXHAUSTED: no room; nothing was written, and a later write may succeed. Any other error: the disk failed,
  // and only a restart tells what was written; every later write fails.
  absl::Status Write(const Batch& batch, Durability durability);

  // True and the row, or false if there is none. DATA_LOSS if the row cannot be read.
  absl::StatusOr<bool> Get(Table table, std::string_view key, google::protobuf::MessageLite* row,
                           const Snapshot* snapshot = nullptr) const;
  absl::StatusOr<std::optional<std::string>> GetBytes(Table table, std::string_view key,
                                                      const Snapshot* snapshot = nullptr) const;
  absl::StatusOr<bool> Has(Table table, std::string_view key, const Snapshot* snapshot = nullptr) const;

  // Calls `row` with each key and value from `from` on, in order, as long as keys begin with `prefix`, until it returns
  // false or an error.
  using RowFunction = std::function<absl::StatusOr<bool>(std::string_view key, std::string_view value)>;
  absl::Status Scan(Table table, std::string_view prefix, std::string_view from, const RowFunction& row,
                    const Snapshot* snapshot = nullptr) const;
  // The last key that begins with `prefix`.
  absl::StatusOr<std::optional<std::string>> LastKey(Table table, std::string_view prefix) const;

  absl::StatusOr<std::unique_ptr<Snapshot>> TakeSnapshot() const;
  // How many rows were read so far.
  uint64_t rows_read() const;

 private:
  class Database;
  explicit Catalogue(std::unique_ptr<Database> database);
  const std::unique_ptr<Database> database_;
};

// Parses a row. DATA_LOSS names the table and the key.
absl::Status ParseRow(Table table, std::string_view key, std::string_view value, google::protobuf::MessageLite* row);

}  // namespace editd::storage

#endif  // EDITD_STORAGE_CATALOGUE_H_
