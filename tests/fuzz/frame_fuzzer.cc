// Frames between daemon and worker: bytes come over a socket, become messages, and a job's inputs are read from them.
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "editd/v1/worker.pb.h"
#include "plugins/host/inputs.h"
#include "storage/base/frame.h"

namespace {

// Reads all that a plugin could.
void Walk(const editd::v1::JobInput& input, bool with_data) {
  std::vector<editd::UniqueFd> descriptors;
  for (int i = 0; with_data && i < 2; ++i) {
    const int fd = ::memfd_create("input", MFD_CLOEXEC);
    if (::ftruncate(fd, 8192) != 0) std::abort();
    descriptors.emplace_back(fd);
  }
  const auto inputs = editd::host::Inputs::Create(input, std::move(descriptors), with_data);
  if (!inputs.ok()) return;
  uint64_t sum = 0;
  const auto touch = [&sum](const void* data, uint64_t size) {
    if (data == nullptr || size == 0) return;
    sum += static_cast<const uint8_t*>(data)[0] + static_cast<const uint8_t*>(data)[size - 1];
  };
  for (size_t model = 0; model < 3; ++model) {
    edit_input m = {};
    m.struct_size = sizeof(m);
    if (!(*inputs)->Model(model, &m).ok()) break;
    for (size_t i = 0; i <= m.tensor_count; ++i) {
      edit_tensor tensor = {};
      tensor.struct_size = sizeof(tensor);
      if (!(*inputs)->Tensor(model, i, &tensor).ok()) continue;
      touch(tensor.data, tensor.size);
      (*inputs)->Release(tensor.data, tensor.size);
    }
    for (size_t i = 0; i <= m.file_count; ++i) {
      edit_file file = {};
      file.struct_size = sizeof(file);
      if ((*inputs)->ModelFile(model, i, &file).ok()) touch(file.data, file.size);
    }
    edit_string key, value;
    for (size_t i = 0; i <= m.attribute_count; ++i) (void)(*inputs)->Attribute(model, i, &key, &value);
  }
  for (size_t i = 0; i < 3; ++i) {
    edit_file file = {};
    file.struct_size = sizeof(file);
    if ((*inputs)->SpecFile(i, &file).ok()) touch(file.data, file.size);
  }
  if (sum == 1) std::abort();  // The inputs are zeros; the sum must be used for the reads to stay.
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 100000) return 0;  // Fits into the socket's buffer.
  auto pair = editd::FrameSocket::Pair();
  if (!pair.ok()) return 0;
  if (::send(pair->first.get(), data, size, MSG_DONTWAIT) != static_cast<ssize_t>(size)) return 0;
  pair->first.Reset();
  editd::FrameSocket socket(std::move(pair->second));
  for (auto frame = socket.Receive(); frame.ok(); frame = socket.Receive()) {
    editd::v1::ToWorker request;
    if (request.ParseFromString(frame->message)) {
      if (request.has_check()) Walk(request.check().input(), false);
      if (request.has_run()) Walk(request.run().input(), true);
    }
    editd::v1::FromWorker reply;
    (void)reply.ParseFromString(frame->message);
  }
  return 0;
}
