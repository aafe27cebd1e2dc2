// The plugin "export": a version becomes a Hugging Face folder, an adapter a folder of PEFT's. Page: README.md beside
// this file.
//
// The files are written, then read back and compared with the version: that is the oracle, and what it compares are the
// bytes on disk.
#include <algorithm>

#include "editd/plugin.hpp"
#include "editd/plugins/exporter/v1/export.pb.h"
#include "plugins/export/folder.h"
#include "plugins/lib/formats/safetensors.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::exporter {
namespace {

namespace v1 = editd::plugins::exporter::v1;

constexpr uint64_t kDefaultShardBytes = 5'000'000'000;
constexpr uint64_t kPiece = 8 << 20;

class Export : public Plugin<v1::ExportSpec, v1::ExportResult> {
 public:
  absl::Status Check(const v1::ExportSpec&, Job& job) override {
    uint64_t bytes = 0;
    for (const Tensor& tensor : job.model().tensors) bytes += tensor.size;
    for (const File& file : job.model().files) bytes += file.size;
    job.Estimate(64 << 20, bytes);
    if (!IsAdapter(job.model()) && job.model().FindFile("config.json") == nullptr) {
      job.Finding("", StrCat("\"", job.model().name, "\" has no config.json, so no other program could open it"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<v1::ExportResult> Run(const v1::ExportSpec& spec, Job& job) override {
    const uint64_t shard_bytes = spec.max_shard_bytes() == 0 ? kDefaultShardBytes : spec.max_shard_bytes();
    ASSIGN_OR_RETURN(const Folder folder, PlanFolder(job.model(), shard_bytes));
    for (const std::string& remark : folder.remarks) job.Warning(remark);
    v1::ExportResult result;
    for (const auto& [name, content] : folder.files) {
      RETURN_IF_ERROR(job.BeginExport(name));
      RETURN_IF_ERROR(job.WriteExport(content));
      ASSIGN_OR_RETURN(const std::string_view back, job.ViewExport(name));
      if (back != content) return job.Refuse(StrCat(name, ": what was written does not read back"));
      result.set_files(result.files() + 1);
      result.set_bytes(result.bytes() + content.size());
    }
    total_ = folder.weight_bytes;
    for (const Shard& shard : folder.shards) {
      RETURN_IF_ERROR(Write(shard, job));
      ASSIGN_OR_RETURN(const uint64_t bytes, Verify(shard, job));
      result.set_files(result.files() + 1);
      result.set_bytes(result.bytes() + bytes);
    }
    return result;
  }

 private:
  absl::Status Write(const Shard& shard, Job& job) {
    RETURN_IF_ERROR(job.BeginExport(shard.name));
    RETURN_IF_ERROR(job.WriteExport(shard.head));
    for (const formats::SafetensorsEntry& entry : shard.entries) {
      const std::string_view bytes = job.model().FindTensor(entry.name)->bytes();
      for (uint64_t at = 0; at < bytes.size(); at += kPiece) {
        RETURN_IF_ERROR(job.CheckStop());
        const std::string_view piece = bytes.substr(at, kPiece);
        RETURN_IF_ERROR(job.WriteExport(piece));
        job.Release(piece);
        written_ += piece.size();
        job.Progress("weights", written_, total_, "bytes");
      }
    }
    return absl::OkStatus();
  }

  // Reads the shard back as anybody would and compares each tensor with the version's.
  absl::StatusOr<uint64_t> Verify(const Shard& shard, Job& job) {
    ASSIGN_OR_RETURN(const std::string_view file, job.ViewExport(shard.name));
    const absl::StatusOr<formats::SafetensorsHeader> header = formats::ReadSafetensors(file, shard.name);
    if (!header.ok()) return job.Refuse(ToStd(header.status().message()));
    if (header->tensors.size() != shard.entries.size()) {
      return job.Refuse(StrCat(shard.name, ": has ", header->tensors.size(), " tensors, not ", shard.entries.size()));
    }
    for (const formats::SafetensorsEntry& entry : header->tensors) {
      const Tensor* tensor = job.model().FindTensor(entry.name);
      const bool same = tensor != nullptr && DTypeName(entry.dtype) == tensor->dtype &&
                        std::equal(entry.shape.begin(), entry.shape.end(), tensor->shape.begin(), tensor->shape.end());
      if (!same) return job.Refuse(StrCat(shard.name, ": tensor \"", entry.name, "\" is not the version's"));
      for (uint64_t at = 0; at < entry.size; at += kPiece) {
        RETURN_IF_ERROR(job.CheckStop());
        const std::string_view piece = tensor->bytes().substr(at, kPiece);
        const std::string_view back = file.substr(entry.offset + at, piece.size());
        if (piece != back) return job.Refuse(StrCat(shard.name, ": tensor \"", entry.name, "\" reads back changed"));
        job.Release(piece);
        job.Release(back);
        verified_ += piece.size();
        job.Progress("read back", verified_, total_, "bytes");
      }
    }
    return file.size();
  }

  uint64_t written_ = 0, verified_ = 0, total_ = 0;
};

}  // namespace
}  // namespace editd::exporter

EDIT_PLUGIN("export", editd::exporter::Export,
            {.version = "1.0.0",
             .summary = "writes a version as a folder that Hugging Face's tools open",
             .min_inputs = 1,
             .max_inputs = 1});
