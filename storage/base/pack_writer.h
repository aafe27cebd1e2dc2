// PackWriter: writes tensors into a new pack as their bytes come, and learns their ids on the way.
//
// The bytes are cut into chunks of 1 MiB; a few threads hash, check and write the chunks while the caller makes the
// next ones. Memory stays at as many chunks a thread as the processor hashes side by side (sha256_lanes.h; 16 at most),
// and once as many more, whatever the tensors' size. A tensor's name in a pack is its id, known only when its last byte
// has been seen, so the header is written last, into room left for it at the beginning.
//
// Tensors with an id that is known already (two equal tensors in the pack, or Options::known) take no room: their range
// becomes padding and its disk blocks are given back.
//
// One thread at a time may use a writer. It is used by the worker, so it depends on storage/base alone.
#ifndef EDITD_STORAGE_BASE_PACK_WRITER_H_
#define EDITD_STORAGE_BASE_PACK_WRITER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/pack.h"

namespace editd {

struct PackWriterOptions {
  // That hash and write. 0: the caller's thread does it, chunk by chunk.
  unsigned threads = 2;
  // About how many tensors will come; leaves room for the header. More may come: then the file's data is moved at the
  // end (by the file system where it can, else copied).
  size_t expected_tensors = 300;
  // A floating tensor with NaN or infinity is an error.
  bool require_finite = true;
  // Tells the ids that are stored elsewhere (the inputs' tensors). May be empty.
  std::function<bool(const Id&)> known = nullptr;
};

// What became of a tensor.
struct WrittenTensor {
  PackTensor tensor;    // Offset 0 if `in_pack` is false.
  bool in_pack = true;  // False: Options::known knew it.
};

struct WrittenPack {
  Id id;                               // Empty if no tensor is in the pack; the file is then empty too.
  uint64_t file_size = 0;              // Padding and header included.
  uint64_t data_bytes = 0;             // Of the tensors that are in the pack.
  std::vector<WrittenTensor> tensors;  // One for each Begin, in order.
};

class PackWriter {
 public:
  // `file` is empty and open for reading and writing; `name` is for messages.
  static absl::StatusOr<std::unique_ptr<PackWriter>> Create(UniqueFd file, std::string name,
                                                            PackWriterOptions options = {});
  // Without Finish the file keeps whatever was written; remove it.
  ~PackWriter();
  PackWriter(const PackWriter&) = delete;
  PackWriter& operator=(const PackWriter&) = delete;

  // Begins a tensor. The one before must be complete. `tensor_name` ("model.norm.weight") is for messages.
  absl::Status Begin(std::string_view tensor_name, DType dtype, std::span<const int64_t> shape);
  // The next bytes of the tensor; the caller may reuse `data` at once. An error of an earlier chunk may be reported
  // here, and is then reported by every later call.
  absl::Status Append(const void* data, size_t size);
  // Completes the pack: waits for the chunks, writes the header, fdatasync.
  absl::StatusOr<WrittenPack> Finish();

  // True after a failure that is the content's: FAILED_PRECONDITION `tensor "x" has NaN at element 12 ([0, 12])`.
  bool refused() const;
  // Bytes taken by Append so far.
  uint64_t bytes() const;

 private:
  class Pipeline;
  explicit PackWriter(std::unique_ptr<Pipeline> pipeline);
  std::unique_ptr<Pipeline> pipeline_;
};

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_PACK_WRITER_H_
