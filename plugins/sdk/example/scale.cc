// scale: a whole plugin. It multiplies the F32 and BF16 tensors that a spec names, and takes the rest as they are.
#include "editd/plugin.hpp"
#include "scale.pb.h"

namespace {

using example::scale::ScaleResult;
using example::scale::ScaleSpec;

float FromBFloat16(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

uint16_t ToBFloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);  // Nearest, ties to even; no NaN comes here.
}

class Scale : public editd::Plugin<ScaleSpec, ScaleResult> {
 public:
  absl::Status Check(const ScaleSpec& spec, editd::Job& job) override {
    if (spec.factor() == 0) job.Finding("factor", "must not be 0; give the number to multiply by");
    if (spec.name_contains().empty()) job.Finding("name_contains", "is empty; say which tensors to multiply");
    return absl::OkStatus();
  }

  absl::StatusOr<ScaleResult> Run(const ScaleSpec& spec, editd::Job& job) override {
    const float factor = static_cast<float>(spec.factor());
    const editd::Model& model = job.model();
    for (size_t i = 0; i < model.tensors.size(); ++i) {
      const editd::Tensor& tensor = model.tensors[i];
      job.Progress("scale", i, model.tensors.size(), "tensors");
      if (job.ShouldStop()) return job.CheckStop();
      absl::Status status;
      if (tensor.name.find(spec.name_contains()) == std::string_view::npos) {
        status = job.Reuse(tensor);
      } else if (tensor.dtype == "F32") {
        status = Multiply<float>(tensor, job, [=](float x) { return x * factor; });
      } else if (tensor.dtype == "BF16") {
        status = Multiply<uint16_t>(tensor, job, [=](uint16_t x) { return ToBFloat16(FromBFloat16(x) * factor); });
      } else {
        status = absl::UnimplementedError(std::string(tensor.name) + ": elements of type " + std::string(tensor.dtype));
      }
      if (!status.ok()) return status;
    }
    for (const editd::File& file : model.files) {
      if (absl::Status status = job.ReuseFile(file); !status.ok()) return status;
    }
    return result_;
  }

 private:
  // In pieces, so that memory stays small whatever the tensor's size.
  template <typename Element, typename Function>
  absl::Status Multiply(const editd::Tensor& tensor, editd::Job& job, Function function) {
    absl::Status status = job.BeginTensor(tensor.name, tensor.dtype, tensor.shape);
    const auto* source = reinterpret_cast<const Element*>(tensor.data);
    const size_t count = tensor.size / sizeof(Element);
    std::vector<Element> piece(std::min<size_t>(count, 1 << 18));
    for (size_t at = 0; status.ok() && at < count; at += piece.size()) {
      const size_t n = std::min(piece.size(), count - at);
      std::transform(source + at, source + at + n, piece.begin(), function);
      status = job.Write(piece.data(), n * sizeof(Element));
    }
    job.Release(tensor.bytes());
    result_.set_tensors(result_.tensors() + 1);
    result_.set_elements(result_.elements() + count);
    return status;
  }

  ScaleResult result_;
};

}  // namespace

EDIT_PLUGIN("scale", Scale,
            {.version = "1.0.0",
             .summary = "multiplies tensors by a number",
             .makes_version = true,
             .min_inputs = 1,
             .max_inputs = 1});
