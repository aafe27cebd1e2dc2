// Verification: everything is read again, in a snapshot of the catalogue.
//
//   packs     the header is what the pack's id says; every tensor's bytes give its id; its row says where it is
//   assets    the bytes give the id
//   versions  the id follows from content, parents and recipe, and these are there; a tombstone has no manifest
//   refs, recipes, jobs, requests   name versions and jobs that are there
// Before something counts as a finding, the record that led there is looked up again outside the snapshot: gc may have
// taken both since.
#include <chrono>
#include <unordered_map>
#include <unordered_set>

#include "storage/base/pack.h"
#include "storage/base/strings.h"
#include "storage/base/tree_hash.h"
#include "storage/identity.h"
#include "storage/measurements.h"
#include "storage/parts.h"

namespace editd::storage {
namespace {

using std::chrono::steady_clock;

class Verifier : public Verification {
 public:
  Verifier(const Parts& parts, std::unique_ptr<Catalogue::Snapshot> snapshot)
      : catalogue_(*parts.catalogue),
        layout_(*parts.layout),
        threads_(parts.options.threads),
        snapshot_(std::move(snapshot)) {}

  absl::StatusOr<VerifyProgress> Run(const std::function<bool(const VerifyProgress&)>& report) override {
    report_ = &report;
    const absl::Status status = RunAll();
    if (!status.ok() && !stopped_) return status;
    return progress_;
  }

 private:
  absl::Status RunAll() {
    RETURN_IF_ERROR(List());
    for (const auto& [id, row] : packs_) RETURN_IF_ERROR(CheckPack(id, row));
    for (const auto& [id, row] : assets_) RETURN_IF_ERROR(CheckAsset(id, row));
    RETURN_IF_ERROR(CheckTensorRows());
    RETURN_IF_ERROR(CheckVersions());
    RETURN_IF_ERROR(CheckNames());
    return CheckJobs();
  }

  // Calls `row` with each row of `table`, parsed, and its key as an id.
  template <typename Row, typename Function>
  absl::Status ForEach(Table table, Function function) {
    const auto parse = [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
      Row row;
      const absl::Status parsed = ParseRow(table, key, value, &row);
      const absl::StatusOr<Id> id = Id::FromBytes(key);
      if (!parsed.ok() || !id.ok()) {
        RETURN_IF_ERROR(Report(parsed.ok() ? id.status().message() : parsed.message()));
        return true;
      }
      RETURN_IF_ERROR(function(*id, row));
      return true;
    };
    return catalogue_.Scan(table, "", "", parse, snapshot_.get());
  }

  absl::Status List() {
    RETURN_IF_ERROR(ForEach<editd::v1::PackRow>(Table::kPacks, [this](const Id& id, const editd::v1::PackRow& row) {
      packs_[id] = row;
      progress_.bytes_total += row.file_size();
      return absl::OkStatus();
    }));
    RETURN_IF_ERROR(ForEach<editd::v1::AssetRow>(Table::kAssets, [this](const Id& id, const editd::v1::AssetRow& row) {
      assets_[id] = row;
      progress_.bytes_total += row.size();
      return absl::OkStatus();
    }));
    return ForEach<editd::v1::LineageRow>(Table::kLineage, [this](const Id& id, const editd::v1::LineageRow& row) {
      versions_[id] = row;
      return absl::OkStatus();
    });
  }

  absl::Status CheckPack(const Id& id, const editd::v1::PackRow& row) {
    const std::string path = layout_.PackPath(id);
    const auto finding = [&](auto... what) {
      return ReportAbout(Table::kPacks, id.view(), StrCat("pack ", id.Hex(), ": ", what...));
    };
    ++progress_.packs;
    const absl::StatusOr<UniqueFd> file = OpenForRead(path);
    if (!file.ok()) return finding(file.status().message());
    const absl::StatusOr<PackHeader> header = ReadPackHeader(file->get(), path);
    if (!header.ok()) return finding(header.status().message());
    if (header->id != id) return finding("its header was changed; ", path);
    if (header->file_size != row.file_size())
      return finding("its record says ", row.file_size(), " bytes, not ", header->file_size);
    readable_.insert(id);
    progress_.bytes_done += header->data_offset;
    uint64_t last_end = header->data_offset;
    for (const PackTensor& tensor : header->tensors) {
      const ContentKind kind = ContentKind::Tensor(tensor.dtype, tensor.shape);
      const absl::StatusOr<Id> found = HashFile(kind, file->get(), tensor.offset, tensor.size, threads_, path);
      if (!found.ok()) {
        RETURN_IF_ERROR(finding(found.status().message()));
      } else if (*found != tensor.id) {
        RETURN_IF_ERROR(
            finding("tensor ", tensor.id.Hex(), " has other bytes; ", path, " from ", tensor.offset, " on"));
      }
      RETURN_IF_ERROR(CheckTensorRow(id, tensor));
      progress_.bytes_done += tensor.offset + tensor.size - last_end;
      last_end = tensor.offset + tensor.size;
      RETURN_IF_ERROR(Tick());
    }
    return absl::OkStatus();
  }

  absl::Status CheckTensorRow(const Id& pack, const PackTensor& tensor) {
    const auto finding = [&](auto... what) {
      return ReportAbout(Table::kPacks, pack.view(), StrCat("tensor ", tensor.id.Hex(), ": ", what...));
    };
    editd::v1::TensorRow row;
    ASSIGN_OR_RETURN(const bool found, catalogue_.Get(Table::kTensors, tensor.id.view(), &row, snapshot_.get()));
    if (!found) return finding("it has no record, but lies in pack ", pack.Hex());
    if (row.pack() != pack.view()) return absl::OkStatus();  // Another pack had it first.
    in_place_.insert(tensor.id);
    const bool right = row.offset() == tensor.offset && row.size() == tensor.size &&
                       row.dtype() == DTypeName(tensor.dtype) &&
                       std::equal(row.shape().begin(), row.shape().end(), tensor.shape.begin(), tensor.shape.end());
    return right ? absl::OkStatus() : finding("its record is not what pack ", pack.Hex(), " says");
  }

  absl::Status CheckTensorRows() {
    return ForEach<editd::v1::TensorRow>(Table::kTensors, [this](const Id& id, const editd::v1::TensorRow& row) {
      const Id pack = Id::FromBytes(row.pack()).value_or(Id{});
      if (!packs_.contains(pack)) {
        return ReportAbout(Table::kTensors, id.view(),
                           StrCat("tensor ", id.Hex(), ": its pack ", pack.Hex(), " has no record"));
      }
      if (readable_.contains(pack) && !in_place_.contains(id)) {
        return ReportAbout(Table::kTensors, id.view(),
                           StrCat("tensor ", id.Hex(), ": it is not in its pack ", pack.Hex()));
      }
      return Tick();
    });
  }

  absl::Status CheckAsset(const Id& id, const editd::v1::AssetRow& row) {
    const std::string path = layout_.AssetPath(id);
    const auto finding = [&](auto... what) {
      return ReportAbout(Table::kAssets, id.view(), StrCat("asset ", id.Hex(), ": ", what...));
    };
    ++progress_.assets;
    progress_.bytes_done += row.size();
    const absl::StatusOr<UniqueFd> file = OpenForRead(path);
    if (!file.ok()) return finding(file.status().message());
    const absl::StatusOr<uint64_t> size = FileSize(file->get(), path);
    if (!size.ok()) return finding(size.status().message());
    if (*size != row.size()) return finding("its file has ", *size, " bytes, not ", row.size(), "; ", path);
    const absl::StatusOr<Id> found = HashFile(ContentKind::Asset(), file->get(), 0, *size, threads_, path);
    if (!found.ok()) return finding(found.status().message());
    if (*found != id) return finding("it has other bytes; ", path);
    return Tick();
  }

  absl::Status CheckVersions() {
    for (const auto& [id, row] : versions_) {
      ++progress_.versions;
      RETURN_IF_ERROR(CheckVersion(id, row));
      RETURN_IF_ERROR(Tick());
    }
    return absl::OkStatus();
  }

  absl::Status CheckVersion(const Id& id, const editd::v1::LineageRow& row) {
    const auto finding = [&](auto... what) {
      // A version may have become a tombstone since.
      return ReportAbout(row.tombstone() ? Table::kLineage : Table::kManifests, id.view(),
                         StrCat("version ", id.Hex(), ": ", what...));
    };
    editd::v1::Version version;
    ASSIGN_OR_RETURN(const bool found, catalogue_.Get(Table::kVersions, id.view(), &version, snapshot_.get()));
    if (!found) return finding("it has no record in table versions");
    bool same_parents = row.parents_size() == version.parents_size() && row.tombstone() == version.tombstone();
    for (int i = 0; same_parents && i < row.parents_size(); ++i) {
      const Id parent = Id::FromBytes(row.parents(i)).value_or(Id{});
      same_parents = parent.Hex() == version.parents(i).version();
      if (!versions_.contains(parent)) RETURN_IF_ERROR(finding("its parent ", parent.Hex(), " is not there"));
    }
    if (!same_parents) RETURN_IF_ERROR(finding("its records in tables versions and lineage differ"));
    const absl::StatusOr<Id> recomputed = VersionId(version);
    if (!recomputed.ok() || *recomputed != id) RETURN_IF_ERROR(finding("its id does not follow from its record"));

    editd::v1::ManifestRow manifest;
    ASSIGN_OR_RETURN(const bool has_manifest, catalogue_.Get(Table::kManifests, id.view(), &manifest, snapshot_.get()));
    if (row.tombstone()) return has_manifest ? finding("it is a tombstone, but has a manifest") : absl::OkStatus();
    if (!has_manifest) {
      return ReportAbout(Table::kRecipes, Id::FromHex(version.recipe().id()).value_or(Id{}).view(),
                         StrCat("version ", id.Hex(), ": its manifest is not there"));
    }
    for (const editd::v1::ManifestTensor& entry : manifest.tensors()) {
      editd::v1::Tensor* tensor = version.add_tensors();
      tensor->set_name(entry.name());
      tensor->set_id(Id::FromBytes(entry.id()).value_or(Id{}).Hex());
      ASSIGN_OR_RETURN(const bool stored, catalogue_.Has(Table::kTensors, entry.id(), snapshot_.get()));
      if (!stored) RETURN_IF_ERROR(finding("its tensor \"", entry.name(), "\" (", tensor->id(), ") is not there"));
    }
    for (const editd::v1::FileEntry& file : manifest.files()) {
      *version.add_files() = file;
      if (!assets_.contains(Id::FromHex(file.asset()).value_or(Id{}))) {
        RETURN_IF_ERROR(finding("its file \"", file.name(), "\" (asset ", file.asset(), ") is not there"));
      }
    }
    const absl::StatusOr<Id> content = ContentId(version);
    if (!content.ok() || content->Hex() != version.content()) return finding("its content is not what its id says");
    return absl::OkStatus();
  }

  absl::Status CheckNames() {
    const auto ref = [this](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
      editd::v1::Ref row;
      const absl::Status parsed = ParseRow(Table::kRefs, key, value, &row);
      if (!parsed.ok()) {
        RETURN_IF_ERROR(Report(parsed.message()));
        return true;
      }
      if (row.version().empty()) return true;  // Deleted.
      const auto version = versions_.find(Id::FromHex(row.version()).value_or(Id{}));
      if (version == versions_.end() || version->second.tombstone()) {
        RETURN_IF_ERROR(
            ReportAbout(Table::kRefs, key, StrCat("ref ", key, ": its version ", row.version(), " is not there")));
      }
      return true;
    };
    RETURN_IF_ERROR(catalogue_.Scan(Table::kRefs, "", "", ref, snapshot_.get()));
    const auto recipe = [this](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
      const Id version = Id::FromBytes(value).value_or(Id{});
      if (!versions_.contains(version)) {
        RETURN_IF_ERROR(
            ReportAbout(Table::kRecipes, key, StrCat("a recipe's version ", version.Hex(), " is not there")));
      }
      return true;
    };
    return catalogue_.Scan(Table::kRecipes, "", "", recipe, snapshot_.get());
  }

  absl::Status CheckJobs() {
    const auto check = [this](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
      editd::v1::Job job;
      const absl::Status parsed = ParseRow(Table::kJobs, key, value, &job);
      if (!parsed.ok()) {
        RETURN_IF_ERROR(Report(parsed.message()));
        return true;
      }
      std::vector<std::string> named(job.input_versions().begin(), job.input_versions().end());
      if (!job.output_version().empty()) named.push_back(job.output_version());
      for (const std::string& version : named) {
        if (versions_.contains(Id::FromHex(version).value_or(Id{}))) continue;
        RETURN_IF_ERROR(
            ReportAbout(Table::kJobs, key, StrCat("job ", job.id(), ": its version ", version, " is not there")));
      }
      for (const Measurement& measurement : MeasurementsOf(job)) {
        ++measurements_;
        ASSIGN_OR_RETURN(const bool indexed,
                         catalogue_.Has(Table::kMeasurements, MeasurementKey(measurement), snapshot_.get()));
        if (!indexed) {
          RETURN_IF_ERROR(Report(
              StrCat("job ", job.id(), ": the index lacks that it measured version ", measurement.version.Hex())));
        }
      }
      return true;
    };
    RETURN_IF_ERROR(catalogue_.Scan(Table::kJobs, "", "", check, snapshot_.get()));
    uint64_t rows = 0;
    const auto count = [&rows](std::string_view, std::string_view) -> absl::StatusOr<bool> { return ++rows > 0; };
    RETURN_IF_ERROR(catalogue_.Scan(Table::kMeasurements, "", "", count, snapshot_.get()));
    if (rows <= measurements_) return absl::OkStatus();
    return Report(StrCat("the index of measurements has ", rows - measurements_, " rows that no job measured"));
  }

  // A finding, unless the record that led to it is gone by now.
  absl::Status ReportAbout(Table table, std::string_view key, const std::string& finding) {
    ASSIGN_OR_RETURN(const bool still_there, catalogue_.Has(table, key));
    return still_there ? Report(finding) : absl::OkStatus();
  }

  absl::Status Report(std::string_view finding) {
    ++progress_.findings;
    progress_.finding = finding;
    const absl::Status status = Send();
    progress_.finding.clear();
    return status;
  }
  absl::Status Report(absl::string_view finding) { return Report(ToStd(finding)); }
  absl::Status Report(const std::string& finding) { return Report(std::string_view(finding)); }

  absl::Status Tick() {
    const steady_clock::time_point now = steady_clock::now();
    if (now - last_report_ < std::chrono::milliseconds(100)) return absl::OkStatus();
    last_report_ = now;
    return Send();
  }

  absl::Status Send() {
    if ((*report_)(progress_)) return absl::OkStatus();
    stopped_ = true;
    return absl::CancelledError("the verification was stopped");
  }

  const Catalogue& catalogue_;
  const Layout& layout_;
  const unsigned threads_;
  const std::unique_ptr<Catalogue::Snapshot> snapshot_;

  std::unordered_map<Id, editd::v1::PackRow> packs_;
  std::unordered_map<Id, editd::v1::AssetRow> assets_;
  std::unordered_map<Id, editd::v1::LineageRow> versions_;
  uint64_t measurements_ = 0;        // That jobs made.
  std::unordered_set<Id> readable_;  // Packs whose header is good.
  std::unordered_set<Id> in_place_;  // Tensors that were found where their records say.
  const std::function<bool(const VerifyProgress&)>* report_ = nullptr;
  VerifyProgress progress_;
  steady_clock::time_point last_report_;
  bool stopped_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Verification>> MakeVerification(const Parts& parts) {
  ASSIGN_OR_RETURN(std::unique_ptr<Catalogue::Snapshot> snapshot, parts.catalogue->TakeSnapshot());
  return std::make_unique<Verifier>(parts, std::move(snapshot));
}

}  // namespace editd::storage
