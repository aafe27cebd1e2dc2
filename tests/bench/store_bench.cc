// Benchmarks of the store, each as a ratio to what it competes with, measured in the same run:
//
//   publish   hash, check, write and publish new tensors, against write and fdatasync of the same bytes
//   read      a tensor of a pack, opened and mapped through the store, against open and mmap of those bytes by hand:
//             the same file, so that both read the same pages of memory
//   rocksdb   Put and Get of the same tensors as values, against the pack: why there are packs
//   lineage   ancestors, descendants and log among 100,000 versions, and the restart with them
//
// Ours and the peer's take turns, and who begins changes each time. The ratio is of the best times; beside it stands
// the median of the turns' own ratios. Where the two differ much, the machine was busy: measure again. Each tensor that
// is read has its own turns, milliseconds long, and the best times are added up: one lucky moment decides nothing.
//
// store_bench [DIRECTORY [MEGABYTES]]: the directory (default: a new one under the system's temporary one) should be on
// the disk that a store would be on.
#include <fcntl.h>
#include <rocksdb/db.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>

#include "editd/v1/catalogue.pb.h"
#include "storage/base/pack_writer.h"
#include "storage/base/strings.h"
#include "storage/base/tree_hash.h"
#include "storage/catalogue.h"
#include "storage/identity.h"
#include "storage/store.h"

namespace editd::storage {
namespace {

constexpr int kPublishTurns = 8;
constexpr int kReadTurns = 40;
constexpr int kRepeats = 5;
constexpr size_t kTensorBytes = size_t{64} << 20;
constexpr int kVersions = 100'000;

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(1);
}
template <typename T>
T Check(absl::StatusOr<T> value) {
  Check(value.status());
  return *std::move(value);
}

double Seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Processor time of this process: what is left of a measurement on a machine that is busy with other things.
double CpuSeconds(const std::function<void()>& work) {
  const auto now = [] {
    timespec time;
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double start = now();
  work();
  return now() - start;
}

// Seconds: the best of each side, and the median of theirs / ours over the turns.
struct Result {
  double ours = 1e9, theirs = 1e9, median_ratio = 0;
};

// Both sides in turns. `before` puts things as they were and is not timed.
Result Race(
    int turns, const std::function<void(int)>& ours, const std::function<void(int)>& theirs,
    const std::function<void()>& before = [] {}) {
  Result result;
  std::vector<double> ratios;
  for (int i = 0; i < turns; ++i) {
    double mine = 0, other = 0;
    for (const bool first : {true, false}) {
      before();
      if (first == (i % 2 == 0)) {
        mine = Seconds([&] { ours(i); });
      } else {
        other = Seconds([&] { theirs(i); });
      }
    }
    result.ours = std::min(result.ours, mine);
    result.theirs = std::min(result.theirs, other);
    ratios.push_back(other / mine);
  }
  std::sort(ratios.begin(), ratios.end());
  result.median_ratio = ratios[ratios.size() / 2];
  return result;
}

void Print(const char* what, double bytes, const Result& result, const char* peer, const char* bar) {
  std::printf("%-24s %6.2f GB/s   %-18s %6.2f GB/s   ratio %.2f (median %.2f)   %s\n", what, bytes / result.ours / 1e9,
              peer, bytes / result.theirs / 1e9, result.theirs / result.ours, result.median_ratio, bar);
  std::fflush(stdout);
}

class Bench {
 public:
  Bench(std::string directory, size_t tensors)
      : directory_(std::move(directory)), store_(Check(Store::Open(directory_ + "/state"))), tensors_(tensors) {
    std::mt19937_64 random(1);
    bytes_.resize(tensors_ * kTensorBytes);
    for (size_t i = 0; i < bytes_.size(); i += 8) {
      const uint64_t value = random() & 0x3fff3fff3fff3fff;  // Finite as BF16, and not compressible.
      std::memcpy(bytes_.data() + i, &value, 8);
    }
    copy_.resize(kTensorBytes);
  }

  // Each side begins with nothing of its own on the disk or waiting for it, and writes a new file.
  void Publishing() {
    const std::string path = directory_ + "/plain";
    const auto plain = [&](int) {
      UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
      for (size_t i = 0; i < bytes_.size(); i += kChunkBytes) {
        Check(WriteAll(fd.get(), std::string_view(bytes_).substr(i, kChunkBytes), path));
      }
      Check(SyncData(fd.get(), path));
    };
    const auto ours = [&](int round) {
      for (size_t t = 0; t < tensors_; ++t)  // Another content each time, or there would be nothing to write.
        bytes_[t * kTensorBytes] = static_cast<char>(round * 16 + static_cast<int>(t) + 1);
      PublishAll(round + 1);
    };
    const auto clear = [&] {
      std::filesystem::remove(path);
      store_.reset();
      std::filesystem::remove_all(directory_ + "/state");
      store_ = Check(Store::Open(directory_ + "/state"));
      ::sync();
    };
    const Result result = Race(kPublishTurns, ours, plain, clear);
    Print("publish", static_cast<double>(bytes_.size()), result, "write + fdatasync", ">= 0.9");
    clear();
    PublishAll(kPublishTurns + 1);
  }

  void Reading() {
    const Id id = Check(store_->Resolve("bench"));
    const editd::v1::Version version = Check(store_->GetVersion(id, true));
    const std::string hex = version.tensors(0).pack();
    const std::string path = StrCat(directory_, "/state/packs/", hex.substr(0, 2), "/", hex, ".safetensors");
    const auto ours = [&](const editd::v1::Tensor& tensor) {
      const UniqueFd fd = Check(store_->OpenPack(Check(Id::FromHex(tensor.pack()))));
      const MappedFile file = Check(MappedFile::Map(fd.get(), tensor.offset(), tensor.size(), "pack"));
      std::memcpy(copy_.data(), file.data(), file.size());
    };
    const auto plain = [&](const editd::v1::Tensor& tensor) {
      const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      const uint64_t within = tensor.offset() % 4096;  // A page.
      const size_t size = tensor.size() + within;
      void* map = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), static_cast<off_t>(tensor.offset() - within));
      if (map == MAP_FAILED) std::exit(1);
      std::memcpy(copy_.data(), static_cast<char*>(map) + within, tensor.size());
      ::munmap(map, size);
    };
    Result result{0, 0, 0};
    for (const editd::v1::Tensor& tensor : version.tensors()) {
      ours(tensor);  // Its pages are in memory from now on.
      plain(tensor);
      const Result one = Race(
          kReadTurns, [&](int) { ours(tensor); }, [&](int) { plain(tensor); });
      result.ours += one.ours;
      result.theirs += one.theirs;
      result.median_ratio += one.median_ratio / static_cast<double>(tensors_);
    }
    pack_read_ = result.ours;
    Print("read a tensor of a pack", static_cast<double>(bytes_.size()), result, "mmap by hand", ">= 0.95");
  }

  void RocksValues() {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.compression = rocksdb::kNoCompression;
    rocksdb::DB* raw = nullptr;
    if (!rocksdb::DB::Open(options, directory_ + "/rocks", &raw).ok()) std::exit(1);
    const std::unique_ptr<rocksdb::DB> db(raw);
    rocksdb::WriteOptions synced;
    synced.sync = true;
    const double write = Seconds([&] {
      for (size_t t = 0; t < tensors_; ++t) {
        const rocksdb::Slice value(bytes_.data() + t * kTensorBytes, kTensorBytes);
        if (!db->Put(synced, std::to_string(t), value).ok()) std::exit(1);
      }
      if (!db->Flush(rocksdb::FlushOptions()).ok()) std::exit(1);
    });
    double read = 1e9;
    std::string value;
    for (int i = 0; i < kRepeats; ++i) {
      read = std::min(read, Seconds([&] {
                        for (size_t t = 0; t < tensors_; ++t) {
                          if (!db->Get(rocksdb::ReadOptions(), std::to_string(t), &value).ok()) std::exit(1);
                          std::memcpy(copy_.data(), value.data(), value.size());
                        }
                      }));
    }
    const double bytes = static_cast<double>(bytes_.size());
    std::printf("%-24s %6.2f GB/s   (publish, above)\n", "RocksDB Put + Flush", bytes / write / 1e9);
    Print("read a tensor of a pack", bytes, {pack_read_, read, read / pack_read_}, "RocksDB Get",
          "why there are packs");
  }

 private:
  void PublishAll(int round) {
    PublishRequest request;
    request.makes_version = true;
    const std::string staging = Check(store_->CreateStaging(static_cast<uint64_t>(round), 1));
    request.pack_path = staging + "/pack";
    UniqueFd fd(::open(request.pack_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const std::unique_ptr<PackWriter> writer = Check(PackWriter::Create(std::move(fd), "pack"));
    const std::vector<int64_t> shape = {static_cast<int64_t>(kTensorBytes / 2)};
    for (size_t t = 0; t < tensors_; ++t) {
      Check(writer->Begin(StrCat(t), DType::kBF16, shape));
      for (size_t i = 0; i < kTensorBytes; i += kChunkBytes)
        Check(writer->Append(bytes_.data() + t * kTensorBytes + i, kChunkBytes));
    }
    const WrittenPack pack = Check(writer->Finish());
    request.pack = pack.id;
    for (size_t t = 0; t < tensors_; ++t) {
      editd::v1::Tensor* tensor = request.version.add_tensors();
      tensor->set_name(StrCat(t));
      tensor->set_dtype("BF16");
      tensor->add_shape(shape[0]);
      tensor->set_id(pack.tensors[t].tensor.id.Hex());
    }
    request.version.mutable_recipe()->set_id(Sha256::Of(StrCat(round)).Hex());
    request.ref = "bench";
    if (const std::optional<editd::v1::Ref> ref = store_->FindRef("bench"))
      request.ref_expected = Check(Id::FromHex(ref->version()));
    Check(store_->Publish(std::move(request)));
    Check(store_->RemoveStaging(static_cast<uint64_t>(round), 1));
  }

  const std::string directory_;
  std::unique_ptr<Store> store_;
  const size_t tensors_;
  std::string bytes_, copy_;
  double pack_read_ = 0;
};

// Rows of a store with 100,000 versions: chains, branches and merges, as a team makes them.
std::pair<Id, Id> FillCatalogue(const std::string& directory) {
  const std::unique_ptr<Catalogue> catalogue = Check(Catalogue::Open(directory + "/db"));
  std::mt19937 random(2);
  std::vector<Id> ids;
  Catalogue::Batch batch;
  for (int i = 0; i < kVersions; ++i) {
    editd::v1::Version version;
    version.set_content(Sha256::Of(StrCat("content ", i)).Hex());
    version.mutable_recipe()->set_id(Sha256::Of(StrCat("recipe ", i)).Hex());
    version.mutable_recipe()->set_plugin("trim");
    version.mutable_recipe()->set_params_text(std::string(200, 'p'));
    editd::v1::LineageRow row;
    const int parents = i == 0 ? 0 : i % 20 == 0 ? 2 : 1;
    for (int p = 0; p < parents; ++p) {
      // Mostly a recent version: long chains; sometimes any: branches.
      const int reach = random() % 4 == 0 ? i : std::min(i, 16);
      const Id& parent = ids[static_cast<size_t>(i - 1 - static_cast<int>(random() % static_cast<unsigned>(reach)))];
      version.add_parents()->set_version(parent.Hex());
      row.add_parents(std::string(parent.view()));
    }
    const Id id = Check(VersionId(version));
    version.set_id(id.Hex());
    row.set_number(static_cast<uint64_t>(i) + 1);
    row.set_logical_bytes(270'000'000);
    ids.push_back(id);
    batch.Put(Table::kLineage, id.view(), row);
    batch.Put(Table::kVersions, id.view(), version);
    if (i % 1000 != 999) continue;
    Check(catalogue->Write(batch, Catalogue::Durability::kBuffered));
    batch = Catalogue::Batch();
  }
  return {ids.front(), ids.back()};
}

void LineageOfMany(const std::string& directory) {
  { Check(Store::Open(directory)); }
  const auto [base, last] = FillCatalogue(directory);
  double open = 1e9, open_cpu = 1e9;
  std::unique_ptr<Store> store;
  for (int i = 0; i < 3; ++i) {
    store.reset();
    const double cpu =
        CpuSeconds([&] { open = std::min(open, Seconds([&] { store = Check(Store::Open(directory)); })); });
    open_cpu = std::min(open_cpu, cpu);
  }
  std::printf("%-28s %6.0f ms (cpu %.0f ms)     with %d versions   <= 1000 ms\n", "restart to ready", open * 1e3,
              open_cpu * 1e3, kVersions);
  struct Query {
    const char* name;
    std::function<std::vector<Id>()> run;
  };
  const Query queries[] = {{"descendants of the base", [&, id = base] { return store->Descendants(id); }},
                           {"ancestors of the last", [&, id = last] { return store->Ancestors(id); }},
                           {"log of the last", [&, id = last] { return store->Log(id); }}};
  for (const Query& query : queries) {
    double best = 1e9, cpu = 1e9;
    size_t found = 0;
    for (int i = 0; i < 2 * kRepeats; ++i) {
      const auto run = [&] { best = std::min(best, Seconds([&] { found = query.run().size(); })); };
      cpu = std::min(cpu, CpuSeconds(run));
    }
    std::printf("%-28s %6.2f ms (cpu %.2f ms)   %zu versions   <= 5 ms\n", query.name, best * 1e3, cpu * 1e3, found);
  }
}

}  // namespace

int Run(int argc, char** argv) {
  std::string directory = argc > 1 ? argv[1] : "";
  if (directory.empty()) {
    directory = std::filesystem::temp_directory_path() / "editd-store-bench-XXXXXX";
    if (::mkdtemp(directory.data()) == nullptr) return 1;
  }
  const size_t megabytes = argc > 2 ? static_cast<size_t>(std::max(64, std::atoi(argv[2]))) : 512;
  {
    Bench bench(directory, std::min<size_t>(15, megabytes * (1 << 20) / kTensorBytes));
    bench.Publishing();
    bench.Reading();
    bench.RocksValues();
  }
  LineageOfMany(directory + "/many");
  for (const char* name : {"plain", "rocks", "state", "many"}) std::filesystem::remove_all(directory + "/" + name);
  if (argc < 2) std::filesystem::remove(directory);
  return 0;
}

}  // namespace editd::storage

int main(int argc, char** argv) { return editd::storage::Run(argc, argv); }
