// What a job works on: the models and files of a JobInput, with their bytes mapped from the descriptors that came
// along.
//
// A descriptor is mapped whole, the first time that something in it is asked for. The mapping is shared with every
// other worker through the page cache; nothing is read until it is touched, and Release gives touched pages back.
//
// Thread-safe after Create.
#ifndef EDITD_PLUGINS_HOST_INPUTS_H_
#define EDITD_PLUGINS_HOST_INPUTS_H_

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "editd/plugin.h"
#include "editd/v1/worker.pb.h"
#include "storage/base/file.h"

namespace editd::host {

class Inputs {
 public:
  // Checks shapes, sizes and descriptor numbers. Without descriptors (a spec is checked) all data is null. The message
  // must outlive this.
  static absl::StatusOr<std::unique_ptr<Inputs>> Create(const v1::JobInput& input, std::vector<UniqueFd> descriptors,
                                                        bool with_data);

  const v1::JobInput& message() const { return input_; }
  absl::Status Model(size_t model, edit_input* out) const;
  absl::Status Tensor(size_t model, size_t index, edit_tensor* out);
  absl::Status ModelFile(size_t model, size_t index, edit_file* out);
  absl::Status Attribute(size_t model, size_t index, edit_string* key, edit_string* value) const;
  absl::Status SpecFile(size_t index, edit_file* out);
  // Ignored unless the range lies in one mapped input.
  void Release(const void* data, size_t size);

  // The messages behind a model's tensor and file; INVALID_ARGUMENT if there is none.
  absl::StatusOr<const v1::InputTensor*> TensorAt(size_t model, size_t index) const;
  absl::StatusOr<const v1::InputFile*> FileAt(size_t model, size_t index) const;

 private:
  struct Source {
    UniqueFd fd;  // Closed once it is mapped.
    MappedFile mapping;
    bool mapped = false;
  };
  Inputs(const v1::JobInput& input, bool with_data) : input_(input), with_data_(with_data) {}
  absl::Status Check() const;
  absl::StatusOr<const char*> Data(uint32_t fd, uint64_t offset, uint64_t size, const std::string& name);
  absl::Status Fill(const v1::InputFile& file, edit_file* out);

  const v1::JobInput& input_;
  const bool with_data_;
  std::vector<std::vector<std::pair<const std::string*, const std::string*>>> attributes_;  // A model each.
  std::mutex mutex_;
  std::vector<Source> sources_;  // Guarded by mutex_.
};

}  // namespace editd::host

#endif  // EDITD_PLUGINS_HOST_INPUTS_H_
