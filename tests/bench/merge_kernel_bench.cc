// What each method of merge costs in memory alone: nanoseconds a thread for an element of the result, and the bytes
// that it reads and writes as a share of what memcpy moves in the same time. Bfloat16 in and out, 16.8 M elements, no
// disk, no hash. Methods that look at the whole tensor first read it more than once; the share counts each input once,
// as a user does.
//
//   ninja merge_kernel_bench && build/release/bin/merge_kernel_bench [THREADS [METHOD]]
//
// Times are processor time of all threads, the best of five, memcpy measured before each.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>

#include "plugins/merge/engine.h"

namespace editd::merge {
namespace {

constexpr int64_t kRows = 4096, kColumns = 4096, kElements = kRows * kColumns;

class Nowhere : public Sink {
 public:
  absl::Status Begin(const TensorPlan&) override { return absl::OkStatus(); }
  absl::Status Write(std::string_view) override { return absl::OkStatus(); }
  void Done(const TensorPlan&, int64_t, int64_t) override {}
};

double CpuSeconds() {
  struct rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

template <typename F>
double Best(const F& f) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const double before = CpuSeconds();
    f();
    best = std::min(best, CpuSeconds() - before);
  }
  return best;
}

std::vector<uint16_t> Numbers(const std::vector<uint16_t>* base, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint16_t> out(kElements);
  for (size_t i = 0; i < out.size(); ++i) {
    // About normal: the sum of two bytes' halves.
    const uint32_t r = static_cast<uint32_t>(random());
    const float x =
        static_cast<float>(static_cast<int32_t>(r & 0xffff) + static_cast<int32_t>(r >> 16) - 65535) * 1e-6f;
    out[i] = FloatToBFloat16(base == nullptr ? x : BFloat16ToFloat((*base)[i]) + 0.1f * x);
  }
  return out;
}

struct Method {
  const char* name;
  v1::Method method;
  size_t models;
  bool base;
  std::function<void(TensorPlan*)> set = [](TensorPlan*) {};
};

void Half(TensorPlan* plan) {
  for (Part& part : plan->parts) part.density = 0.5;
}
void HalfByL1(TensorPlan* plan) {
  Half(plan);
  plan->settings.rescale = v1::RESCALE_L1;
}

const Method kMethods[] = {
    {"linear", v1::METHOD_LINEAR, 2, false},
    {"slerp", v1::METHOD_SLERP, 1, true, [](TensorPlan* plan) { plan->settings.t = 0.4; }},
    {"nuslerp", v1::METHOD_NUSLERP, 2, false},
    {"nuslerp rows", v1::METHOD_NUSLERP, 2, false, [](TensorPlan* plan) { plan->settings.flatten = false; }},
    {"multislerp", v1::METHOD_MULTISLERP, 2, true},
    {"karcher", v1::METHOD_KARCHER, 2, false},
    {"task_arithmetic", v1::METHOD_TASK_ARITHMETIC, 2, true},
    {"ties", v1::METHOD_TIES, 2, true,
     [](TensorPlan* plan) {
       Half(plan);
       plan->settings.normalize = true;
     }},
    {"dare_linear", v1::METHOD_DARE_LINEAR, 2, true, HalfByL1},
    {"dare_ties", v1::METHOD_DARE_TIES, 2, true, HalfByL1},
    {"dare_ties, 1/density", v1::METHOD_DARE_TIES, 2, true, Half},
    {"breadcrumbs", v1::METHOD_BREADCRUMBS, 2, true, Half},
    {"della", v1::METHOD_DELLA, 2, true, HalfByL1},
    {"model_stock", v1::METHOD_MODEL_STOCK, 2, true},
    {"sce, topk 0.5", v1::METHOD_SCE, 2, true, [](TensorPlan* plan) { plan->settings.select_topk = 0.5; }},
    {"ram", v1::METHOD_RAM, 2, true},
    {"ramplus_tl", v1::METHOD_RAMPLUS_TL, 2, true},
    {"nearswap", v1::METHOD_NEARSWAP, 1, true, [](TensorPlan* plan) { plan->settings.t = 0.001; }},
    {"arcee_fusion", v1::METHOD_ARCEE_FUSION, 1, true},
    {"passthrough, scaled", v1::METHOD_PASSTHROUGH, 1, false, [](TensorPlan* plan) { plan->parts[0].scale = 0.5; }},
};

int Main(unsigned threads, std::string_view only) {
  const std::vector<uint16_t> base = Numbers(nullptr, 1);
  const std::vector<uint16_t> models[] = {Numbers(&base, 2), Numbers(&base, 3)};
  std::vector<uint16_t> copy(kElements);
  std::printf("%s, %u thread%s, %.1f M elements\n\n", kernels::ForThisMachine().name, threads, threads == 1 ? "" : "s",
              static_cast<double>(kElements) / 1e6);
  std::printf("| method | ns an element | GB/s | of memcpy |\n|---|---|---|---|\n");
  for (const Method& method : kMethods) {
    if (!only.empty() && only != method.name) continue;
    const double copied = Best([&] { std::copy(base.begin(), base.end(), copy.begin()); });
    TensorPlan plan;
    plan.name = "model.layers.0.mlp.up_proj.weight";
    plan.shape = {kRows, kColumns};
    plan.type = DType::kBF16;
    plan.settings.method = method.method;
    if (method.base) plan.base = Source{DType::kBF16, reinterpret_cast<const char*>(base.data()), "base"};
    for (size_t i = 0; i < method.models; ++i) {
      Part part;
      part.source = {DType::kBF16, reinterpret_cast<const char*>(models[i].data()), "model"};
      part.stream = static_cast<uint32_t>(i);
      plan.parts.push_back(part);
    }
    method.set(&plan);
    Nowhere sink;
    absl::Status status;
    const double merged = Best([&] { status = RunMerge({&plan}, {threads}, &sink); });
    if (!status.ok()) {
      std::fprintf(stderr, "%s: %s\n", method.name, std::string(status.message()).c_str());
      return 1;
    }
    const double bytes = 2.0 * kElements * static_cast<double>(method.models + method.base + 1);
    const double rate = bytes / merged, memcpy_rate = 4.0 * kElements / copied;
    std::printf("| %s | %.2f | %.1f | %.0f %% |\n", method.name, merged / kElements * 1e9, rate / 1e9,
                100 * rate / memcpy_rate);
  }
  return 0;
}

}  // namespace
}  // namespace editd::merge

int main(int argc, char** argv) {
  return editd::merge::Main(argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : 1, argc > 2 ? argv[2] : "");
}
