#include "plugins/host/job.h"

#include <algorithm>

#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::host {
namespace {

constexpr size_t kMaxFindings = 100;
constexpr size_t kErrorBytes = 64 << 10;

thread_local std::string last_error;

// A plugin may pass a null pointer with size 0.
std::string_view View(const edit_string& s) {
  return s.size == 0 ? std::string_view() : std::string_view(s.data, s.size);
}
std::string_view View(const void* data, size_t size) {
  return size == 0 ? std::string_view() : std::string_view(static_cast<const char*>(data), size);
}

int Code(edit_job* job, const absl::Status& status) {
  job->reporter->Alive();
  if (status.ok()) return 0;
  last_error.assign(status.message().data(), status.message().size());
  return static_cast<int>(status.code());
}

// Runs `make` on the outputs, if this is a run.
template <typename Make>
int Output(edit_job* job, const Make& make) {
  if (job->outputs == nullptr) {
    return Code(job, absl::FailedPreconditionError("a plugin can make nothing while a spec is checked"));
  }
  Reporter::Work work(job->reporter);
  return Code(job, make(*job->outputs));
}

const char* Error(edit_job*) { return last_error.c_str(); }
uint64_t Seed(edit_job* job) { return job->inputs->message().seed(); }
uint32_t Threads(edit_job* job) { return std::max(1u, job->inputs->message().threads()); }
size_t InputCount(edit_job* job) { return static_cast<size_t>(job->inputs->message().models_size()); }
int Input(edit_job* job, size_t input, edit_input* out) { return Code(job, job->inputs->Model(input, out)); }
int InputTensor(edit_job* job, size_t input, size_t index, edit_tensor* out) {
  return Code(job, job->inputs->Tensor(input, index, out));
}
int InputFile(edit_job* job, size_t input, size_t index, edit_file* out) {
  return Code(job, job->inputs->ModelFile(input, index, out));
}
int InputAttribute(edit_job* job, size_t input, size_t index, edit_string* key, edit_string* value) {
  return Code(job, job->inputs->Attribute(input, index, key, value));
}
size_t FileCount(edit_job* job) { return static_cast<size_t>(job->inputs->message().files_size()); }
int SpecFile(edit_job* job, size_t index, edit_file* out) { return Code(job, job->inputs->SpecFile(index, out)); }
void Release(edit_job* job, const void* data, size_t size) {
  job->inputs->Release(data, size);
  if (job->outputs != nullptr) job->outputs->ReleaseView(data, size);
}

int OutputTensor(edit_job* job, const edit_tensor* description) {
  return Output(job, [&](Outputs& out) { return out.BeginTensor(description); });
}
int OutputWrite(edit_job* job, const void* data, size_t size) {
  return Output(job, [&](Outputs& out) { return out.WriteTensor(data, size); });
}
int OutputReuse(edit_job* job, edit_string name, size_t input, size_t index) {
  return Output(job, [&](Outputs& out) { return out.ReuseTensor(View(name), input, index); });
}
int OutputFile(edit_job* job, edit_string name, const void* data, size_t size) {
  return Output(job, [&](Outputs& out) { return out.AddFile(View(name), View(data, size)); });
}
int OutputReuseFile(edit_job* job, size_t input, size_t index) {
  return Output(job, [&](Outputs& out) { return out.ReuseFile(input, index); });
}
int OutputAttribute(edit_job* job, edit_string key, edit_string value) {
  return Output(job, [&](Outputs& out) { return out.SetAttribute(View(key), View(value)); });
}
int ExportFile(edit_job* job, edit_string name) {
  return Output(job, [&](Outputs& out) { return out.BeginExport(View(name)); });
}
int ExportWrite(edit_job* job, const void* data, size_t size) {
  return Output(job, [&](Outputs& out) { return out.WriteExport(View(data, size)); });
}
int ExportView(edit_job* job, edit_string name, const void** data, uint64_t* size) {
  return Output(job, [&](Outputs& out) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string_view view, out.ViewExport(View(name)));
    *data = view.data();
    *size = view.size();
    return absl::OkStatus();
  });
}
int Result(edit_job* job, const void* data, size_t size) {
  return Output(job, [&](Outputs& out) { return out.SetResult(View(data, size)); });
}
int Refuse(edit_job* job, edit_string message) {
  return Output(job, [&](Outputs& out) { return out.Refuse(View(message)); });
}

void Progress(edit_job* job, edit_string phase, uint64_t done, uint64_t total, edit_string unit) {
  job->reporter->Progress(View(phase), done, total, View(unit));
}
void Log(edit_job* job, int level, edit_string text) {
  if (job->outputs != nullptr) return job->reporter->Log(level, View(text));
  std::lock_guard<std::mutex> lock(job->mutex);
  if (job->notes.size() < kMaxFindings) job->notes.push_back(ToValidUtf8(View(text), kErrorBytes));
}
void Metric(edit_job* job, edit_string name, double value, int64_t step) {
  job->reporter->Metric(View(name), value, step);
}
void Text(edit_job* job, uint32_t stream, edit_string piece) { job->reporter->Text(stream, View(piece)); }
int CheckpointSave(edit_job* job, const void* data, size_t size) {
  if (job->checkpoint == nullptr) {
    return Code(job, absl::FailedPreconditionError("nothing can be kept while a spec is checked"));
  }
  Reporter::Work work(job->reporter);
  return Code(job, job->checkpoint->Save(View(data, size)));
}
int CheckpointLoad(edit_job* job, const void** data, uint64_t* size) {
  *data = nullptr;
  *size = 0;
  if (job->checkpoint == nullptr) return Code(job, absl::OkStatus());
  Reporter::Work work(job->reporter);
  const absl::StatusOr<std::string_view> content = job->checkpoint->Load();
  if (content.ok()) {
    *data = content->data();
    *size = content->size();
  } else {
    job->reporter->Log(
        EDIT_LOG_WARNING,
        StrCat("what an earlier attempt kept is not used: ", content.status().message(), "; the job starts anew"));
  }
  return Code(job, absl::OkStatus());
}
int ShouldStop(edit_job* job) {
  job->reporter->Alive();
  return job->stop->load(std::memory_order_relaxed) ? 1 : 0;
}

void Finding(edit_job* job, edit_string field, edit_string message) {
  std::lock_guard<std::mutex> lock(job->mutex);
  if (job->findings.size() >= kMaxFindings) return;
  const std::string_view path = View(field);
  job->findings.push_back(
      ToValidUtf8(StrCat("params", path.empty() ? "" : ".", path, ": ", View(message)), kErrorBytes));
}
void Estimate(edit_job* job, uint64_t memory_bytes, uint64_t disk_bytes) {
  std::lock_guard<std::mutex> lock(job->mutex);
  job->memory_bytes = memory_bytes;
  job->disk_bytes = disk_bytes;
}

}  // namespace

const edit_host_v1* HostTable() {
  static constexpr edit_host_v1 kTable = {sizeof(edit_host_v1),
                                          EDIT_ABI_MAJOR,
                                          EDIT_ABI_MINOR,
                                          0,
                                          &Error,
                                          &Seed,
                                          &Threads,
                                          &InputCount,
                                          &Input,
                                          &InputTensor,
                                          &InputFile,
                                          &InputAttribute,
                                          &FileCount,
                                          &SpecFile,
                                          &Release,
                                          &OutputTensor,
                                          &OutputWrite,
                                          &OutputReuse,
                                          &OutputFile,
                                          &OutputReuseFile,
                                          &OutputAttribute,
                                          &ExportFile,
                                          &ExportWrite,
                                          &Result,
                                          &Refuse,
                                          &Progress,
                                          &Log,
                                          &Metric,
                                          &ShouldStop,
                                          &Finding,
                                          &Estimate,
                                          &ExportView,
                                          &Text,
                                          &CheckpointSave,
                                          &CheckpointLoad};
  return &kTable;
}

absl::Status CallPlugin(PluginFunction function, edit_job* job, std::string_view spec) {
  std::string error(kErrorBytes, '\0');
  const int code = function(job, HostTable(), spec.data(), spec.size(), error.data(), error.size());
  if (code == 0) return absl::OkStatus();
  error.resize(::strnlen(error.data(), error.size()));
  const bool known = code > 0 && code <= static_cast<int>(absl::StatusCode::kUnauthenticated);
  std::string text = ToValidUtf8(error);
  if (text.empty()) text = StrCat("the plugin failed with code ", code, " and said nothing");
  return absl::Status(known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown, text);
}

}  // namespace editd::host
