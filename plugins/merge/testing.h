// Merges in memory, for tests: tensors of random numbers, a plan over them, and what the engine makes of it.
#ifndef EDITD_PLUGINS_MERGE_TESTING_H_
#define EDITD_PLUGINS_MERGE_TESTING_H_

#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "plugins/merge/engine.h"
#include "storage/base/testing.h"

namespace editd::merge {

// Stored numbers of any of the types.
struct Stored {
  DType type;
  std::string bytes;

  // As float32, one by one.
  std::vector<float> Floats() const {
    std::vector<float> out(bytes.size() / DTypeBytes(type));
    Source{type, bytes.data(), ""}.Load(0, out.size(), out.data());
    return out;
  }
};

inline Stored Store(DType type, const std::vector<float>& x) {
  Stored stored{type, std::string(x.size() * DTypeBytes(type), '\0')};
  for (size_t i = 0; i < x.size(); ++i) {
    char* at = stored.bytes.data() + i * DTypeBytes(type);
    if (type == DType::kF32) {
      std::memcpy(at, &x[i], 4);
    } else if (type == DType::kF64) {
      const double value = static_cast<double>(x[i]);
      std::memcpy(at, &value, 8);
    } else {
      const uint16_t bits = type == DType::kBF16 ? FloatToBFloat16(x[i]) : FloatToHalf(x[i]);
      std::memcpy(at, &bits, 2);
    }
  }
  return stored;
}

// A base and fine-tunes of it: base of size 0.05, differences of size `step`, a few of them zero.
struct Family {
  Stored base;
  std::vector<Stored> models;
};
inline Family MakeFamily(DType type, int64_t elements, size_t models, uint32_t seed, double step = 0.01) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<float> base(static_cast<size_t>(elements));
  for (float& x : base) x = static_cast<float>(0.05 * normal(random));
  Family family{Store(type, base), {}};
  for (size_t m = 0; m < models; ++m) {
    std::vector<float> x = base;
    for (float& v : x) {
      if (random() % 10 != 0) v = static_cast<float>(static_cast<double>(v) + step * normal(random));
    }
    family.models.push_back(Store(type, x));
  }
  return family;
}

inline TensorPlan PlanOf(v1::Method method, const Family& family, std::vector<int64_t> shape, bool with_base,
                         DType type = DType::kF32) {
  TensorPlan plan;
  plan.name = "model.layers.0.mlp.up_proj.weight";
  plan.shape = std::move(shape);
  plan.type = type;
  plan.settings.method = method;
  if (with_base) plan.base = Source{family.base.type, family.base.bytes.data(), "base"};
  for (size_t i = 0; i < family.models.size(); ++i) {
    Part part;
    part.source = {family.models[i].type, family.models[i].bytes.data(), "model"};
    part.stream = static_cast<uint32_t>(i);
    plan.parts.push_back(part);
  }
  return plan;
}

class MemorySink : public Sink {
 public:
  absl::Status Begin(const TensorPlan& plan) override {
    now_ = &tensors_[plan.name];
    return absl::OkStatus();
  }
  absl::Status Write(std::string_view bytes) override {
    now_->append(bytes);
    return absl::OkStatus();
  }
  void Done(const TensorPlan&, int64_t, int64_t) override {}
  const std::string& Bytes(const std::string& name) { return tensors_[name]; }

 private:
  std::map<std::string, std::string> tensors_;
  std::string* now_ = nullptr;
};

inline std::string Merged(const TensorPlan& plan, unsigned threads = 2, int64_t tile = 1 << 18) {
  MemorySink sink;
  EXPECT_OK(RunMerge({&plan}, {threads, tile}, &sink));
  return sink.Bytes(plan.name);
}
inline std::vector<float> MergedFloats(const TensorPlan& plan) { return Stored{plan.type, Merged(plan)}.Floats(); }

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_TESTING_H_
