#include "client/tensor_diff.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <mutex>
#include <thread>

#include "storage/base/file.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

constexpr uint64_t kTile = 1 << 14;  // Elements: two tiles of doubles stay in the second-level cache.

// OCP 8-bit: four bits of exponent, bias 7, no infinity, all ones NaN.
double FromE4M3(uint8_t bits) {
  const double sign = (bits & 0x80) != 0 ? -1 : 1;
  const int exponent = (bits >> 3) & 0xf;
  const int mantissa = bits & 7;
  if ((bits & 0x7f) == 0x7f) return NAN;
  return sign * (exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10));
}

template <typename T, typename Convert>
void Load(const char* from, uint64_t count, double* to, Convert convert) {
  for (uint64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    to[i] = static_cast<double>(convert(value));
  }
}

void LoadTile(DType type, const char* from, uint64_t count, double* to) {
  const auto as_is = [](auto value) { return value; };
  switch (type) {
    case DType::kF64:
      return Load<double>(from, count, to, as_is);
    case DType::kF32:
      return Load<float>(from, count, to, as_is);
    case DType::kF16:
      return Load<uint16_t>(from, count, to, HalfToFloat);
    case DType::kBF16:
      return Load<uint16_t>(from, count, to, BFloat16ToFloat);
    case DType::kI64:
      return Load<int64_t>(from, count, to, as_is);
    case DType::kI32:
      return Load<int32_t>(from, count, to, as_is);
    case DType::kI16:
      return Load<int16_t>(from, count, to, as_is);
    case DType::kI8:
      return Load<int8_t>(from, count, to, as_is);
    case DType::kU64:
      return Load<uint64_t>(from, count, to, as_is);
    case DType::kU32:
      return Load<uint32_t>(from, count, to, as_is);
    case DType::kU16:
      return Load<uint16_t>(from, count, to, as_is);
    case DType::kU8:
    case DType::kBool:
      return Load<uint8_t>(from, count, to, as_is);
    case DType::kF8E4M3:
      return Load<uint8_t>(from, count, to, FromE4M3);
    case DType::kF8E5M2:  // The upper half of a binary16.
      return Load<uint8_t>(from, count, to, [](uint8_t bits) { return HalfToFloat(static_cast<uint16_t>(bits << 8)); });
  }
}

bool SameShape(const v1::Tensor& a, const v1::Tensor& b) {
  return std::equal(a.shape().begin(), a.shape().end(), b.shape().begin(), b.shape().end());
}

// Elements by the bytes, checked against the shape: the daemon is trusted, a damaged catalogue is not.
absl::StatusOr<uint64_t> Elements(const v1::Tensor& tensor, DType type) {
  uint64_t elements = 1;
  for (const int64_t extent : tensor.shape()) {
    if (extent < 0 || (extent > 0 && elements > (uint64_t{1} << 60) / static_cast<uint64_t>(extent))) {
      return absl::DataLossError(StrCat(tensor.name(), ": has an impossible shape"));
    }
    elements *= static_cast<uint64_t>(extent);
  }
  if (elements * DTypeBytes(type) != tensor.size()) {
    return absl::DataLossError(
        StrCat(tensor.name(), ": has ", tensor.size(), " bytes, its shape says ", elements * DTypeBytes(type)));
  }
  return elements;
}

using Packs = std::map<std::string, UniqueFd>;

absl::StatusOr<Norms> NormsOf(const v1::Tensor& a, const v1::Tensor& b, const Packs& packs) {
  const auto a_type = DTypeFromName(a.dtype());
  const auto b_type = DTypeFromName(b.dtype());
  if (!a_type.has_value() || !b_type.has_value()) {
    return absl::UnimplementedError(
        StrCat(a.name(), ": element type ", a_type.has_value() ? b.dtype() : a.dtype(), " is not known"));
  }
  ASSIGN_OR_RETURN(const uint64_t elements, Elements(a, *a_type));
  RETURN_IF_ERROR(Elements(b, *b_type).status());
  ASSIGN_OR_RETURN(const MappedFile from, MappedFile::Map(packs.at(a.pack()).get(), a.offset(), a.size(), a.name()));
  ASSIGN_OR_RETURN(const MappedFile to, MappedFile::Map(packs.at(b.pack()).get(), b.offset(), b.size(), b.name()));
  return NormsOfDifference(*a_type, from.data(), *b_type, to.data(), elements);
}

}  // namespace

TensorDiff CompareTensors(const v1::Version& a, const v1::Version& b) {
  std::map<std::string_view, const v1::Tensor*> a_by_name;
  std::map<std::string_view, const v1::Tensor*> b_by_name;
  for (const v1::Tensor& tensor : a.tensors()) a_by_name[tensor.name()] = &tensor;
  for (const v1::Tensor& tensor : b.tensors()) b_by_name[tensor.name()] = &tensor;
  // What has gone from its name, by content.
  std::multimap<std::string_view, const v1::Tensor*> gone;
  for (const v1::Tensor& tensor : a.tensors()) {
    if (!b_by_name.contains(tensor.name())) gone.emplace(tensor.id(), &tensor);
  }
  TensorDiff diff;
  std::map<std::string_view, bool> moved;
  for (const v1::Tensor& tensor : b.tensors()) {
    const auto before = a_by_name.find(tensor.name());
    if (before == a_by_name.end()) {
      const auto elsewhere = gone.find(tensor.id());
      if (elsewhere == gone.end()) {
        diff.changes.push_back({TensorChange::Kind::kAdded, nullptr, &tensor, std::nullopt});
      } else {
        diff.changes.push_back({TensorChange::Kind::kMoved, elsewhere->second, &tensor, std::nullopt});
        moved[elsewhere->second->name()] = true;
        gone.erase(elsewhere);
      }
    } else if (before->second->id() == tensor.id()) {
      ++diff.same;
    } else {
      const auto kind =
          SameShape(*before->second, tensor) ? TensorChange::Kind::kChanged : TensorChange::Kind::kReshaped;
      diff.changes.push_back({kind, before->second, &tensor, std::nullopt});
    }
  }
  for (const v1::Tensor& tensor : a.tensors()) {
    if (!b_by_name.contains(tensor.name()) && !moved.contains(tensor.name())) {
      diff.changes.push_back({TensorChange::Kind::kRemoved, &tensor, nullptr, std::nullopt});
    }
  }
  return diff;
}

Norms NormsOfDifference(DType a_type, const char* a, DType b_type, const char* b, uint64_t elements) {
  Norms norms;
  std::vector<double> a_tile(std::min(kTile, elements));
  std::vector<double> b_tile(std::min(kTile, elements));
  double difference = 0;
  double base = 0;
  for (uint64_t done = 0; done < elements; done += kTile) {
    const uint64_t count = std::min(kTile, elements - done);
    LoadTile(a_type, a + done * DTypeBytes(a_type), count, a_tile.data());
    LoadTile(b_type, b + done * DTypeBytes(b_type), count, b_tile.data());
    for (uint64_t i = 0; i < count; ++i) {
      const double delta = b_tile[i] - a_tile[i];
      difference += delta * delta;
      base += a_tile[i] * a_tile[i];
      norms.max_abs = std::max(norms.max_abs, std::abs(delta));
      norms.changed += delta != 0 ? 1 : 0;
    }
  }
  norms.difference = std::sqrt(difference);
  norms.base = std::sqrt(base);
  return norms;
}

absl::Status ComputeNorms(Transfer* transfer, TensorDiff* diff) {
  std::vector<TensorChange*> work;
  Packs packs;
  for (TensorChange& change : diff->changes) {
    if (change.kind != TensorChange::Kind::kChanged) continue;
    work.push_back(&change);
    for (const v1::Tensor* tensor : {change.a, change.b}) {
      if (packs.contains(tensor->pack())) continue;
      ASSIGN_OR_RETURN(packs[tensor->pack()], transfer->GetPack(tensor->pack()));
    }
  }
  // The largest first, so that no thread is left with it at the end.
  std::sort(work.begin(), work.end(), [](const auto* x, const auto* y) { return x->a->size() > y->a->size(); });
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  absl::Status status;  // Guarded by mutex: the first error.
  const auto compute = [&] {
    for (size_t i = next++; i < work.size(); i = next++) {
      const auto norms = NormsOf(*work[i]->a, *work[i]->b, packs);
      if (norms.ok()) {
        work[i]->norms = *norms;
      } else {
        std::lock_guard lock(mutex);
        if (status.ok()) status = norms.status();
      }
    }
  };
  std::vector<std::thread> threads;
  const size_t count = std::min<size_t>({work.size(), std::max(1u, std::thread::hardware_concurrency()), 16});
  for (size_t i = 1; i < count; ++i) threads.emplace_back(compute);
  compute();
  for (std::thread& thread : threads) thread.join();
  return status;
}

}  // namespace editd::client
