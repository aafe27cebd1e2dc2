// The pipeline: the caller copies bytes into a chunk's buffer; a full chunk (or a tensor's last) goes into a queue.
// When it has as many as gain from being hashed together, a thread begins to take them: it looks for NaN, computes the
// leaves side by side, writes each chunk at its place as soon as it is hashed, gives the buffer back and takes the
// next. The caller waits when no buffer is free, so memory is bounded. Chunks end in any order; each has its own place
// in its tensor's list of leaves. Room on the disk is asked for in large steps, which spares the file system a search a
// page; the kernel is told to begin writing every few MiB, so that processors and disk are busy side by side and the
// last fdatasync has little left to do.
//
// The header's room is fixed before the first tensor. If the header turns out larger, its excess (whole pages) is
// inserted before the data: by FALLOC_FL_INSERT_RANGE, which moves no byte (ext4, xfs), else by copying from the end.
#include "storage/base/pack_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <limits>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "storage/base/finite.h"
#include "storage/base/huge_memory.h"
#include "storage/base/strings.h"
#include "storage/base/tree_hash.h"

namespace editd {
namespace {

constexpr uint64_t kBytesOfHeaderEntry = 192;  // A generous estimate, padding entries included.
constexpr uint64_t kWritebackStep = 8 << 20;   // Bytes after which the kernel is told to begin writing.
constexpr uint64_t kRoomStep = 64 << 20;       // Bytes that the file system is asked for at once.

uint64_t RoundUp(uint64_t value, uint64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Moves the file's bytes from `from` on by `distance` towards its end.
absl::Status InsertRoom(int fd, uint64_t from, uint64_t distance, uint64_t end, std::string_view name) {
  if (::fallocate(fd, FALLOC_FL_INSERT_RANGE, static_cast<off_t>(from), static_cast<off_t>(distance)) == 0) {
    return absl::OkStatus();
  }
  std::string block(kChunkBytes, '\0');
  for (uint64_t stop = end; stop > from;) {
    const uint64_t start = std::max(from, stop - std::min<uint64_t>(stop, block.size()));
    for (uint64_t at = start; at < stop;) {
      const ssize_t n = ::pread(fd, block.data() + (at - start), stop - at, static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0)
        return n < 0 ? ErrnoStatus(errno, StrCat("read ", name)) : absl::DataLossError(StrCat(name, ": too short"));
      at += static_cast<uint64_t>(n);
    }
    RETURN_IF_ERROR(WriteAt(fd, std::string_view(block.data(), stop - start), start + distance, name));
    stop = start;
  }
  return absl::OkStatus();
}

// "[0, 12]"
std::string IndexOf(uint64_t element, const std::vector<int64_t>& shape) {
  std::string text;
  for (size_t i = shape.size(); i-- > 0;) {
    const uint64_t extent = static_cast<uint64_t>(shape[i]);
    text = StrCat(element % extent, text.empty() ? "" : ", ", text);
    element /= extent;
  }
  return StrCat("[", text, "]");
}

}  // namespace

class PackWriter::Pipeline {
 public:
  Pipeline(UniqueFd file, std::string name, PackWriterOptions options)
      : file_(std::move(file)),
        name_(std::move(name)),
        options_(std::move(options)),
        room_(RoundUp(512 + kBytesOfHeaderEntry * options_.expected_tensors, kPackDataAlignment)),
        // For each thread as many as it hashes at once, and as many waiting.
        free_(options_.threads == 0 ? 1 : Sha256Lanes() * (options_.threads + 1)),
        buffers_(AllocateHugeMemory(free_.size() * kChunkBytes)) {
    for (size_t i = 0; i < free_.size(); ++i) free_[i] = static_cast<char*>(buffers_.get()) + i * kChunkBytes;
  }

  // Not in the constructor: when a thread cannot be had, the destructor ends those that run.
  void StartThreads() {
    for (unsigned i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Serve(); });
  }

  ~Pipeline() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    work_.notify_all();
  }

  absl::Status Begin(std::string_view tensor_name, DType dtype, std::span<const int64_t> shape) {
    RETURN_IF_ERROR(CheckComplete());
    RETURN_IF_ERROR(Error());
    Record record{std::string(tensor_name), {}, {}};
    record.tensor.dtype = dtype;
    record.tensor.shape.assign(shape.begin(), shape.end());
    absl::StatusOr<uint64_t> size = TensorBytes(dtype, record.tensor.shape);
    if (!size.ok()) return Annotate(size.status(), StrCat("tensor \"", tensor_name, "\""));
    record.tensor.size = *size;
    record.tensor.offset = RoundUp(end_, kPackTensorAlignment);
    record.leaves.resize((*size + kChunkBytes - 1) / kChunkBytes);
    end_ = record.tensor.offset + *size;
    AskForRoom();
    written_ = 0;
    records_.push_back(std::move(record));
    return absl::OkStatus();
  }

  absl::Status Append(std::string_view data) {
    RETURN_IF_ERROR(Error());
    if (records_.empty()) return absl::FailedPreconditionError("bytes before the first tensor");
    Record& record = records_.back();
    if (data.size() > record.tensor.size - written_) {
      return absl::InvalidArgumentError(StrCat("tensor \"", record.name, "\" takes ", record.tensor.size, " bytes, ",
                                               written_ + data.size(), " were written"));
    }
    total_ += data.size();
    while (!data.empty()) {
      if (options_.threads == 0 && filled_ == 0 &&
          data.size() >= std::min(kChunkBytes, record.tensor.size - written_)) {
        const std::string_view part = data.substr(0, std::min(kChunkBytes, record.tensor.size - written_));
        ExamineAlone({nullptr, part.data(), part.size(), &record, written_});  // Without a copy.
        written_ += part.size();
        data.remove_prefix(part.size());
        continue;
      }
      if (filled_ == 0) buffer_ = FreeBuffer();
      const std::string_view part = data.substr(0, kChunkBytes - filled_);
      std::memcpy(buffer_ + filled_, part.data(), part.size());
      filled_ += part.size();
      written_ += part.size();
      data.remove_prefix(part.size());
      if (filled_ < kChunkBytes && written_ < record.tensor.size) continue;
      Submit(&record);
    }
    return Error();
  }

  absl::StatusOr<WrittenPack> Finish() {
    RETURN_IF_ERROR(CheckComplete());
    {
      std::unique_lock lock(mutex_);
      complete_ = true;
      work_.notify_all();
      idle_.wait(lock, [this] { return in_flight_ == 0; });
    }
    RETURN_IF_ERROR(Error());

    WrittenPack pack;
    std::vector<PackTensor> stored;
    std::unordered_map<Id, size_t> first;  // Index into pack.tensors.
    std::vector<size_t> duplicates;
    for (Record& record : records_) {
      PackTensor& tensor = record.tensor;
      tensor.id = RootOf(ContentKind::Tensor(tensor.dtype, tensor.shape), tensor.size, record.leaves);
      const bool known = options_.known && options_.known(tensor.id);
      const bool fresh = !known && first.emplace(tensor.id, pack.tensors.size()).second;
      if (fresh) {
        stored.push_back(tensor);
        pack.data_bytes += tensor.size;
      } else {
        GiveBack(tensor);
        if (!known) duplicates.push_back(pack.tensors.size());
      }
      pack.tensors.push_back({tensor, !known});
    }
    if (stored.empty()) {
      if (::ftruncate(file_.get(), 0) != 0) return ErrnoStatus(errno, StrCat("truncate ", name_));
      for (WrittenTensor& written : pack.tensors) written.tensor.offset = 0;
      return pack;
    }

    const uint64_t data_size = stored.back().offset + stored.back().size;
    const std::string header = FormatPackHeader(stored, data_size, room_);
    pack.file_size = header.size() + data_size;
    if (::ftruncate(file_.get(), static_cast<off_t>(room_ + data_size)) != 0) {
      return ErrnoStatus(errno, StrCat("truncate ", name_));
    }
    if (header.size() > room_) {
      RETURN_IF_ERROR(InsertRoom(file_.get(), room_, header.size() - room_, room_ + data_size, name_));
    }
    RETURN_IF_ERROR(WriteAt(file_.get(), header, 0, name_));
    RETURN_IF_ERROR(SyncData(file_.get(), name_));
    pack.id = Sha256::Of(header);
    for (WrittenTensor& written : pack.tensors) {
      written.tensor.offset = written.in_pack ? header.size() + written.tensor.offset : 0;
    }
    for (size_t i : duplicates)
      pack.tensors[i].tensor.offset = pack.tensors[first.at(pack.tensors[i].tensor.id)].tensor.offset;
    return pack;
  }

  bool refused() const {
    std::lock_guard lock(mutex_);
    return refused_;
  }
  uint64_t total() const { return total_; }

 private:
  struct Record {
    std::string name;
    PackTensor tensor;  // Offset from the data's beginning.
    std::vector<Id> leaves;
  };
  struct Chunk {
    char* buffer;  // Null if the caller's bytes are used.
    const char* data;
    size_t size;
    Record* record;
    uint64_t begin;  // In the tensor.
  };

  absl::Status CheckComplete() const {
    if (records_.empty() || written_ == records_.back().tensor.size) return absl::OkStatus();
    return absl::FailedPreconditionError(StrCat("tensor \"", records_.back().name, "\" takes ",
                                                records_.back().tensor.size, " bytes, only ", written_,
                                                " were written"));
  }

  absl::Status Error() const {
    std::lock_guard lock(mutex_);
    return error_;
  }

  char* FreeBuffer() {
    std::unique_lock lock(mutex_);
    returned_.wait(lock, [this] { return !free_.empty(); });
    char* buffer = free_.back();
    free_.pop_back();
    return buffer;
  }

  // The file becomes longer than it will be; Finish cuts it. A file system that cannot, or is full, says so when bytes
  // are written.
  void AskForRoom() {
    while (asked_ < end_) {
      const uint64_t step = std::max(kRoomStep, RoundUp(end_ - asked_, kPackDataAlignment));
      (void)::fallocate(file_.get(), 0, static_cast<off_t>(room_ + asked_), static_cast<off_t>(step));
      asked_ += step;
    }
  }

  void Submit(Record* record) {
    auto chunk = std::make_unique<Chunk>(Chunk{buffer_, buffer_, filled_, record, written_ - filled_});
    filled_ = 0;
    if (options_.threads == 0) {
      ExamineAlone(*chunk);
      free_.push_back(chunk->buffer);
      return;
    }
    bool enough;
    {
      std::lock_guard lock(mutex_);
      ++in_flight_;
      queue_.push_back(std::move(chunk));
      enough = Enough();
    }
    if (enough) work_.notify_one();
  }

  // Whether a thread should begin: fewer chunks would leave most lanes idle. With mutex_ held.
  bool Enough() const { return queue_.size() >= Sha256Lanes() || (complete_ && !queue_.empty()); }

  void Serve() {
    for (;;) {
      size_t share;
      {
        std::unique_lock lock(mutex_);
        work_.wait(lock, [this] { return stopping_ || Enough(); });
        if (stopping_) return;
        // At the end a fair part, so that no thread waits while another has several.
        share = complete_ ? (queue_.size() + options_.threads - 1) / options_.threads : Sha256Lanes();
      }
      size_t taken = 0;
      HashLeaves(
          [&](Sha256Message* message) {
            while (taken < share) {
              std::unique_ptr<Chunk> chunk = Take();
              if (chunk == nullptr) return false;
              if (Examine(*chunk)) {
                ++taken;
                *message = {{chunk->data, chunk->size}, chunk.release(), {}};
                return true;
              }
              Return(std::move(chunk));
            }
            return false;
          },
          [&](const Sha256Message& message) {
            --taken;
            std::unique_ptr<Chunk> chunk(static_cast<Chunk*>(message.owner));
            chunk->record->leaves[chunk->begin / kChunkBytes] = message.id;
            Store(*chunk);
            Return(std::move(chunk));
          });
    }
  }

  std::unique_ptr<Chunk> Take() {
    std::lock_guard lock(mutex_);
    if (queue_.empty()) return nullptr;
    std::unique_ptr<Chunk> chunk = std::move(queue_.front());
    queue_.pop_front();
    return chunk;
  }

  void Return(std::unique_ptr<Chunk> chunk) {
    std::lock_guard lock(mutex_);
    free_.push_back(chunk->buffer);
    if (--in_flight_ == 0) idle_.notify_all();
    returned_.notify_one();
  }

  // False if the chunk is refused, or an error made all further work idle.
  bool Examine(const Chunk& chunk) {
    if (!Error().ok()) return false;
    if (!options_.require_finite) return true;
    const std::optional<size_t> bad = FindNonFinite(chunk.record->tensor.dtype, chunk.data, chunk.size);
    if (bad.has_value()) Refuse(chunk, *bad);
    return !bad.has_value();
  }

  // In the caller's thread.
  void ExamineAlone(const Chunk& chunk) {
    if (!Examine(chunk)) return;
    chunk.record->leaves[chunk.begin / kChunkBytes] = LeafOf({chunk.data, chunk.size});
    Store(chunk);
  }

  void Store(const Chunk& chunk) {
    const PackTensor& tensor = chunk.record->tensor;
    const absl::Status status =
        WriteAt(file_.get(), {chunk.data, chunk.size}, room_ + tensor.offset + chunk.begin, name_);
    bool begin_writeback = false;
    {
      std::lock_guard lock(mutex_);
      if (error_.ok()) error_ = status;
      on_file_ += chunk.size;
      if (on_file_ >= next_writeback_) {
        next_writeback_ = on_file_ + kWritebackStep;
        begin_writeback = true;
      }
    }
    if (begin_writeback) BeginWriteback(file_.get(), 0, 0);
  }

  void Refuse(const Chunk& chunk, size_t element) {
    const PackTensor& tensor = chunk.record->tensor;
    const size_t bytes = DTypeBytes(tensor.dtype);
    const bool nan = IsNan(tensor.dtype, chunk.data + element * bytes);
    const uint64_t index = chunk.begin / bytes + element;
    std::lock_guard lock(mutex_);
    if (!error_.ok()) return;
    refused_ = true;
    error_ = absl::FailedPreconditionError(StrCat("tensor \"", chunk.record->name, "\" has ", nan ? "NaN" : "infinity",
                                                  " at element ", index, " (", IndexOf(index, tensor.shape), ")"));
  }

  // A tensor that is stored elsewhere: its blocks go, the range reads as zeros. If the file system can't, bytes are
  // wasted.
  void GiveBack(const PackTensor& tensor) {
    const uint64_t begin = RoundUp(room_ + tensor.offset, kPackDataAlignment);
    const uint64_t end = (room_ + tensor.offset + tensor.size) / kPackDataAlignment * kPackDataAlignment;
    if (end <= begin) return;
    (void)::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(begin),
                      static_cast<off_t>(end - begin));
  }

  const UniqueFd file_;
  const std::string name_;
  const PackWriterOptions options_;
  const uint64_t room_;  // Where the data begins until Finish.

  // The caller's side.
  std::deque<Record> records_;  // Stays in place as it grows.
  char* buffer_ = nullptr;
  size_t filled_ = 0;     // Bytes in buffer_.
  uint64_t written_ = 0;  // Bytes of the present tensor.
  uint64_t end_ = 0;      // Where the data ends.
  uint64_t asked_ = 0;    // Room for so much data was asked for.
  uint64_t total_ = 0;

  mutable std::mutex mutex_;  // Guards what follows.
  std::condition_variable work_, returned_, idle_;
  std::deque<std::unique_ptr<Chunk>> queue_;
  std::vector<char*> free_;  // In buffers_; the last returned is the first taken, so that few are ever touched.
  const HugeMemory buffers_;
  bool complete_ = false;  // No more chunks will come.
  size_t in_flight_ = 0;
  uint64_t on_file_ = 0;
  uint64_t next_writeback_ = kWritebackStep;
  absl::Status error_;
  bool refused_ = false;
  bool stopping_ = false;

  std::vector<std::jthread> threads_;  // Last: they end before the rest goes.
};

absl::StatusOr<std::unique_ptr<PackWriter>> PackWriter::Create(UniqueFd file, std::string name,
                                                               PackWriterOptions options) {
  ASSIGN_OR_RETURN(const uint64_t size, FileSize(file.get(), name));
  if (size != 0) return absl::FailedPreconditionError(StrCat(name, ": not empty"));
  auto pipeline = std::make_unique<Pipeline>(std::move(file), std::move(name), std::move(options));
  pipeline->StartThreads();
  return std::unique_ptr<PackWriter>(new PackWriter(std::move(pipeline)));
}

PackWriter::PackWriter(std::unique_ptr<Pipeline> pipeline) : pipeline_(std::move(pipeline)) {}
PackWriter::~PackWriter() = default;

absl::Status PackWriter::Begin(std::string_view tensor_name, DType dtype, std::span<const int64_t> shape) {
  return pipeline_->Begin(tensor_name, dtype, shape);
}
absl::Status PackWriter::Append(const void* data, size_t size) {
  return pipeline_->Append({static_cast<const char*>(data), size});
}
absl::StatusOr<WrittenPack> PackWriter::Finish() { return pipeline_->Finish(); }
bool PackWriter::refused() const { return pipeline_->refused(); }
uint64_t PackWriter::bytes() const { return pipeline_->total(); }

}  // namespace editd
