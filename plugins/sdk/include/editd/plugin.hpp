// The plugin contract in C++: a plugin is a class with Check and Run, and one line that exports it.
//
//   class Scale : public editd::Plugin<ScaleSpec, ScaleResult> {
//    public:
//     absl::Status Check(const ScaleSpec& spec, editd::Job& job) override;
//     absl::StatusOr<ScaleResult> Run(const ScaleSpec& spec, editd::Job& job) override;
//   };
//   EDIT_PLUGIN("scale", Scale, {.version = "1.0.0", .summary = "multiplies tensors", .makes_version = true});
//
// This header needs abseil (absl::Status) and protobuf, both from the system's packages; nothing of them crosses to the
// host, which sees only editd/plugin.h. The function editd_plugin of the CMake package EditdPlugin builds the object.
// Exceptions that leave Check or Run end the call with an error, not the process.
//
// Threads: a Job may be used from any thread of the plugin, except that one thread at a time may make outputs.
// Page: plugins/sdk/ABI.md.
#ifndef EDITD_PLUGINS_SDK_PLUGIN_HPP_
#define EDITD_PLUGINS_SDK_PLUGIN_HPP_

#include <google/protobuf/empty.pb.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "editd/plugin.h"

namespace editd {

// A tensor of an input model. Its bytes are mapped and read-only; while a spec is checked there are none.
struct Tensor {
  std::string_view name;
  std::string_view dtype;          // "BF16"
  std::span<const int64_t> shape;  // Row-major.
  const char* data = nullptr;      // 64-byte aligned.
  uint64_t size = 0;               // Bytes.
  size_t input = 0, index = 0;     // Where it stands among the job's inputs.

  std::string_view bytes() const { return {data, data == nullptr ? 0 : static_cast<size_t>(size)}; }
};

// A file of an input model, or one that the spec names. While a spec is checked `content` is empty.
struct File {
  std::string_view name;   // "config.json"; of a folder's file its name in the folder.
  std::string_view value;  // What the spec's field holds ("asset:41f0..."); empty for a model's file.
  std::string_view path;   // What the user wrote, for messages; empty for a model's file.
  std::string_view content;
  uint64_t size = 0;  // Bytes, also while a spec is checked.
  size_t input = 0, index = 0;
};

// An input model.
struct Model {
  std::string_view role;
  std::string_view name;     // As the user wrote it, for messages.
  std::string_view version;  // 64 hex digits.
  std::vector<Tensor> tensors;
  std::vector<File> files;
  std::map<std::string_view, std::string_view> attributes;

  // Null if there is none.
  const Tensor* FindTensor(std::string_view tensor) const {
    const auto it = by_name.find(tensor);
    return it == by_name.end() ? nullptr : &tensors[it->second];
  }
  const File* FindFile(std::string_view file) const {
    const auto it = std::find_if(files.begin(), files.end(), [&](const File& f) { return f.name == file; });
    return it == files.end() ? nullptr : &*it;
  }
  // Empty if there is none.
  std::string_view Attribute(std::string_view key) const {
    const auto it = attributes.find(key);
    return it == attributes.end() ? std::string_view() : it->second;
  }

  std::unordered_map<std::string_view, size_t> by_name;  // Of tensors.
};

// What Check and Run work on, and where they put what they make.
class Job {
 public:
  Job(edit_job* job, const edit_host_v1* host) : job_(job), host_(host) {}
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // Reads the list of inputs; called once, before the plugin sees the job.
  absl::Status Load() {
    models_.resize(host_->input_count(job_));
    for (size_t i = 0; i < models_.size(); ++i) {
      edit_input input = {};
      input.struct_size = sizeof(input);
      if (int code = host_->input(job_, i, &input)) return Error(code);
      Model& model = models_[i];
      model.role = View(input.role);
      model.name = View(input.name);
      model.version = View(input.version);
      model.tensors.reserve(input.tensor_count);
      for (size_t k = 0; k < input.tensor_count; ++k) {
        edit_tensor tensor = {};
        tensor.struct_size = sizeof(tensor);
        if (int code = host_->input_tensor(job_, i, k, &tensor)) return Error(code);
        model.tensors.push_back({View(tensor.name),
                                 View(tensor.dtype),
                                 {tensor.shape, tensor.rank},
                                 static_cast<const char*>(tensor.data),
                                 tensor.size,
                                 i,
                                 k});
        model.by_name.emplace(View(tensor.name), k);
      }
      for (size_t k = 0; k < input.file_count; ++k) {
        edit_file file = {};
        file.struct_size = sizeof(file);
        if (int code = host_->input_file(job_, i, k, &file)) return Error(code);
        model.files.push_back(ToFile(file, i, k));
      }
      for (size_t k = 0; k < input.attribute_count; ++k) {
        edit_string key, value;
        if (int code = host_->input_attribute(job_, i, k, &key, &value)) return Error(code);
        model.attributes.emplace(View(key), View(value));
      }
    }
    for (size_t k = 0; k < host_->file_count(job_); ++k) {
      edit_file file = {};
      file.struct_size = sizeof(file);
      if (int code = host_->file(job_, k, &file)) return Error(code);
      files_.push_back(ToFile(file, 0, k));
    }
    return absl::OkStatus();
  }

  // --- what the job works on -----------------------------------------------------------------------------------------
  uint64_t seed() const { return host_->seed(job_); }
  unsigned threads() const { return std::max(1u, host_->threads(job_)); }
  const std::vector<Model>& models() const { return models_; }
  const Model& model(size_t i = 0) const { return models_[i]; }
  // The file that a spec's field names; `value` is what the field holds. Of a folder, FilesOf has all.
  absl::StatusOr<File> FileOf(std::string_view value) const {
    const auto it = std::find_if(files_.begin(), files_.end(), [&](const File& f) { return f.value == value; });
    if (it == files_.end()) return absl::NotFoundError("no file came with the job for \"" + std::string(value) + "\"");
    return *it;
  }
  std::vector<File> FilesOf(std::string_view value) const {
    std::vector<File> out;
    std::copy_if(files_.begin(), files_.end(), std::back_inserter(out),
                 [&](const File& f) { return f.value == value; });
    return out;
  }
  // These bytes of an input are not needed soon: they leave the process's memory.
  void Release(std::string_view bytes) { host_->release(job_, bytes.data(), bytes.size()); }

  // --- what the job makes --------------------------------------------------------------------------------------------
  // A new tensor; exactly its size follows through Write, in order, in pieces of any size.
  absl::Status BeginTensor(std::string_view name, std::string_view dtype, std::span<const int64_t> shape) {
    edit_tensor tensor = {};
    tensor.struct_size = sizeof(tensor);
    tensor.rank = static_cast<uint32_t>(shape.size());
    tensor.name = From(name);
    tensor.dtype = From(dtype);
    tensor.shape = shape.data();
    return Code(host_->output_tensor(job_, &tensor));
  }
  absl::Status Write(const void* data, size_t size) { return Code(host_->output_write(job_, data, size)); }
  absl::Status AddTensor(std::string_view name, std::string_view dtype, std::span<const int64_t> shape,
                         const void* data, size_t size) {
    absl::Status status = BeginTensor(name, dtype, shape);
    return status.ok() ? Write(data, size) : status;
  }
  // An input's tensor as it is; no byte is copied.
  absl::Status Reuse(const Tensor& tensor, std::string_view name) {
    return Code(host_->output_reuse(job_, From(name), tensor.input, tensor.index));
  }
  absl::Status Reuse(const Tensor& tensor) { return Reuse(tensor, tensor.name); }
  absl::Status AddFile(std::string_view name, std::string_view content) {
    return Code(host_->output_file(job_, From(name), content.data(), content.size()));
  }
  absl::Status ReuseFile(const File& file) { return Code(host_->output_reuse_file(job_, file.input, file.index)); }
  absl::Status SetAttribute(std::string_view key, std::string_view value) {
    return Code(host_->output_attribute(job_, From(key), From(value)));
  }
  // A file for the client to fetch; its bytes follow through WriteExport.
  absl::Status BeginExport(std::string_view name) { return Code(host_->export_file(job_, From(name))); }
  absl::Status WriteExport(std::string_view bytes) {
    return Code(host_->export_write(job_, bytes.data(), bytes.size()));
  }
  // An exported file, complete, as it lies on disk: what an export checks itself with.
  absl::StatusOr<std::string_view> ViewExport(std::string_view name) {
    const void* data = nullptr;
    uint64_t size = 0;
    if (int code = host_->export_view(job_, From(name), &data, &size)) return Error(code);
    return std::string_view(static_cast<const char*>(data), static_cast<size_t>(size));
  }
  // What was made is wrong (an oracle failed). Return the status: the job ends with this text and nothing is published.
  absl::Status Refuse(std::string_view message) { return Code(host_->refuse(job_, From(message))); }

  // --- meanwhile -----------------------------------------------------------------------------------------------------
  // May be called as often as it is convenient: at most twenty a second are passed on, and each phase's first and last.
  void Progress(std::string_view phase, uint64_t done, uint64_t total, std::string_view unit) {
    using Clock = std::chrono::steady_clock;
    const int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch()).count();
    {
      std::lock_guard<std::mutex> lock(progress_mutex_);
      if (phase == progress_phase_ && done != total && now - progress_at_ < 50) return;
      progress_phase_ = phase;
      progress_at_ = now;
    }
    host_->progress(job_, From(phase), done, total, From(unit));
  }
  void Info(std::string_view text) { host_->log(job_, EDIT_LOG_INFO, From(text)); }
  void Warning(std::string_view text) { host_->log(job_, EDIT_LOG_WARNING, From(text)); }
  void Log(int level, std::string_view text) { host_->log(job_, level, From(text)); }
  void Metric(std::string_view name, double value, int64_t step = 0) { host_->metric(job_, From(name), value, step); }
  // A piece of a text that grows, for those who watch; `stream` tells several texts apart. May be called for each
  // token.
  void Text(uint32_t stream, std::string_view piece) { host_->text(job_, stream, From(piece)); }
  // Keeps at most EDIT_CHECKPOINT_BYTES for a later attempt at this job (after a cancel, the time limit, a crash), in
  // place of what was kept before. It outlives a kill of this process and of the daemon.
  absl::Status SaveCheckpoint(std::string_view bytes) {
    return Code(host_->checkpoint_save(job_, bytes.data(), bytes.size()));
  }
  // What an earlier attempt kept, by the same build of the plugin. Empty: nothing that can be used.
  std::string_view LoadCheckpoint() const {
    const void* data = nullptr;
    uint64_t size = 0;
    if (host_->checkpoint_load(job_, &data, &size) != 0) return {};
    return {static_cast<const char*>(data), static_cast<size_t>(size)};
  }
  // True: end soon. CheckStop is the same as a status to return.
  bool ShouldStop() const { return host_->should_stop(job_) != 0; }
  absl::Status CheckStop() const {
    return ShouldStop() ? absl::CancelledError("stopped before the end") : absl::OkStatus();
  }

  // --- while a spec is checked ---------------------------------------------------------------------------------------
  // One problem of the spec; `field` is a path below params: "keep.corpus[1].path".
  void Finding(std::string_view field, std::string_view message) { host_->finding(job_, From(field), From(message)); }
  // Host memory beyond mapped inputs, and disk, that Run will need, in bytes.
  void Estimate(uint64_t memory, uint64_t disk) { host_->estimate(job_, memory, disk); }

 private:
  static std::string_view View(const edit_string& s) { return {s.data, s.size}; }
  static edit_string From(std::string_view s) { return {s.data(), s.size()}; }
  static File ToFile(const edit_file& f, size_t input, size_t index) {
    const auto* data = static_cast<const char*>(f.data);
    return {View(f.name), View(f.value), View(f.path), {data, data == nullptr ? 0 : static_cast<size_t>(f.size)},
            f.size,       input,         index};
  }
  absl::Status Error(int code) const {
    const char* text = host_->error(job_);
    return absl::Status(static_cast<absl::StatusCode>(code), text == nullptr ? "" : text);
  }
  absl::Status Code(int code) const { return code == 0 ? absl::OkStatus() : Error(code); }

  edit_job* const job_;
  const edit_host_v1* const host_;
  std::vector<Model> models_;
  std::vector<File> files_;  // That the spec names.
  std::mutex progress_mutex_;
  std::string progress_phase_;
  int64_t progress_at_ = 0;  // Milliseconds of the steady clock.
};

// The base of a plugin. A plugin without a result leaves Result out and returns NoResult().
using NoResult = google::protobuf::Empty;
template <typename SpecMessage, typename ResultMessage = NoResult>
class Plugin {
 public:
  using Spec = SpecMessage;
  using Result = ResultMessage;
  virtual ~Plugin() = default;
  // Checks what can be told without the inputs' bytes: problems of the spec go to job.Finding, an error means that the
  // check could not be done. Quick: it runs at each submit.
  virtual absl::Status Check(const Spec&, Job&) { return absl::OkStatus(); }
  virtual absl::StatusOr<Result> Run(const Spec& spec, Job& job) = 0;
};

// What EDIT_PLUGIN says of a plugin beside its name.
struct PluginTraits {
  const char* version = "0.0.0";
  const char* summary = "";  // One line.
  bool makes_version = false;
  uint32_t min_inputs = 0;
  uint32_t max_inputs = 0;
};

namespace internal {

// Runs `body` and puts its status where the host looks for it.
template <typename Body>
int Guarded(char* error, size_t error_size, const Body& body) {
  absl::Status status;
#if defined(__cpp_exceptions)
  try {
    status = body();
  } catch (const std::bad_alloc&) {
    status = absl::ResourceExhaustedError("out of memory");
  } catch (const std::exception& e) {
    status = absl::InternalError(std::string("the plugin threw: ") + e.what());
  } catch (...) {
    status = absl::InternalError("the plugin threw something that is no std::exception");
  }
#else
  status = body();
#endif
  if (error_size > 0) {
    const size_t size = std::min(error_size - 1, status.message().size());
    if (size > 0) std::memcpy(error, status.message().data(), size);
    error[size] = '\0';
  }
  return static_cast<int>(status.code());
}

template <typename P>
int CheckEntry(edit_job* c_job, const edit_host_v1* host, const void* bytes, size_t size, char* error, size_t room) {
  return Guarded(error, room, [&]() -> absl::Status {
    typename P::Spec spec;
    if (!spec.ParseFromArray(bytes, static_cast<int>(size)))
      return absl::InvalidArgumentError("params: cannot be read");
    Job job(c_job, host);
    absl::Status status = job.Load();
    return status.ok() ? P().Check(spec, job) : status;
  });
}

template <typename P>
int RunEntry(edit_job* c_job, const edit_host_v1* host, const void* bytes, size_t size, char* error, size_t room) {
  return Guarded(error, room, [&]() -> absl::Status {
    typename P::Spec spec;
    if (!spec.ParseFromArray(bytes, static_cast<int>(size)))
      return absl::InvalidArgumentError("params: cannot be read");
    Job job(c_job, host);
    absl::Status status = job.Load();
    if (!status.ok()) return status;
    absl::StatusOr<typename P::Result> result = P().Run(spec, job);
    if (!result.ok()) return result.status();
    if constexpr (!std::is_same_v<typename P::Result, NoResult>) {
      const std::string wire = result->SerializeAsString();
      if (int code = host->result(c_job, wire.data(), wire.size())) {
        return absl::Status(static_cast<absl::StatusCode>(code), host->error(c_job));
      }
    }
    return absl::OkStatus();
  });
}

template <typename P>
const edit_plugin_v1* Table(const char* name, const PluginTraits& traits, const char* example, const char* descriptors,
                            size_t descriptors_size) {
  static const std::string spec_type = P::Spec::descriptor()->full_name();
  static const std::string result_type =
      std::is_same_v<typename P::Result, NoResult> ? std::string() : P::Result::descriptor()->full_name();
  static const edit_plugin_v1 table = {
      sizeof(edit_plugin_v1),
      EDIT_ABI_MAJOR,
      EDIT_ABI_MINOR,
      traits.makes_version ? uint32_t{EDIT_PLUGIN_MAKES_VERSION} : 0u,
      name,
      traits.version,
      traits.summary,
      spec_type.c_str(),
      result_type.c_str(),
      example,
      descriptors,
      descriptors_size,
      traits.min_inputs,
      traits.max_inputs,
      &CheckEntry<P>,
      &RunEntry<P>,
  };
  return &table;
}

}  // namespace internal
}  // namespace editd

// Embedded by the CMake function editd_plugin.
extern "C" __attribute__((visibility("hidden"))) const char editd_plugin_example[];  // Terminated.
extern "C" __attribute__((visibility("hidden"))) const char editd_plugin_descriptors[];
extern "C" __attribute__((visibility("hidden"))) const char editd_plugin_descriptors_end[];

// Exports `PluginClass` as the plugin `plugin_name` (a literal); the rest is a PluginTraits. Once in a plugin, outside
// of any namespace.
#define EDIT_PLUGIN(plugin_name, PluginClass, ...)                                     \
  EDIT_PLUGIN_NOTE(plugin_name);                                                       \
  extern "C" EDIT_PLUGIN_EXPORT const edit_plugin_v1* edit_plugin_entry_v1(void) {     \
    const ::editd::PluginTraits traits = __VA_ARGS__;                                  \
    return ::editd::internal::Table<PluginClass>(                                      \
        plugin_name, traits, editd_plugin_example, editd_plugin_descriptors,           \
        static_cast<size_t>(editd_plugin_descriptors_end - editd_plugin_descriptors)); \
  }                                                                                    \
  static_assert(true, "a semicolon follows")

#endif  // EDITD_PLUGINS_SDK_PLUGIN_HPP_
