// Every method through the engine: against the oracle, and against itself on other threads and tiles.
#include "plugins/merge/engine.h"

#include <cmath>
#include <functional>
#include <limits>

#include "plugins/merge/oracle_testing.h"

namespace editd::merge {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A method with parameters that make something of it.
struct Case {
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
  const char* name;
  v1::Method method;
  size_t models;
  bool base;
  std::function<void(TensorPlan*)> set = [](TensorPlan*) {};
  int64_t ulps = 4;  // Of float32, at the size of the largest input there.
};

void Weights(TensorPlan* plan) {
  const double weights[] = {0.3, 0.55, 0.4, 0.2};
  for (size_t i = 0; i < plan->parts.size(); ++i) plan->parts[i].weight = weights[i];
  plan->settings.seed = 7;
}
std::function<void(TensorPlan*)> Sparse(double density, bool normalize, v1::Rescale rescale,
                                        v1::Election election = v1::ELECTION_WEIGHTED_SUM,
                                        v1::Divisor divisor = v1::DIVISOR_WEIGHTS) {
  return [=](TensorPlan* plan) {
    Weights(plan);
    for (size_t i = 0; i < plan->parts.size(); ++i) {
      plan->parts[i].density = density - 0.1 * static_cast<double>(i);
      plan->parts[i].gamma = 0.05;
    }
    plan->settings.lambda = 0.8;
    plan->settings.normalize = normalize;
    plan->settings.rescale = rescale;
    plan->settings.election = election;
    plan->settings.divisor = divisor;
  };
}

const Case kCases[] = {
    {"linear", v1::METHOD_LINEAR, 3, false,
     [](TensorPlan* p) {
       Weights(p);
       p->settings.normalize = true;
     }},
    {"linear_sum", v1::METHOD_LINEAR, 3, false, Weights},
    {"passthrough", v1::METHOD_PASSTHROUGH, 1, false, [](TensorPlan* p) { p->parts[0].scale = 0.7; }},
    {"slerp", v1::METHOD_SLERP, 1, true, [](TensorPlan* p) { p->settings.t = 0.3; }},
    {"nuslerp", v1::METHOD_NUSLERP, 2, true, Weights},
    {"nuslerp_without_base", v1::METHOD_NUSLERP, 2, false, Weights},
    {"nuslerp_rows", v1::METHOD_NUSLERP, 2, true,
     [](TensorPlan* p) {
       Weights(p);
       p->settings.flatten = false;
     },
     8},
    {"nuslerp_columns", v1::METHOD_NUSLERP, 2, true,
     [](TensorPlan* p) {
       Weights(p);
       p->settings.flatten = false;
       p->settings.row_wise = true;
     },
     8},
    {"multislerp", v1::METHOD_MULTISLERP, 3, true, Weights},
    {"multislerp_without_base", v1::METHOD_MULTISLERP, 3, false, Weights},
    {"karcher", v1::METHOD_KARCHER, 3, false},
    {"task_arithmetic", v1::METHOD_TASK_ARITHMETIC, 3, true, Weights},
    {"ties", v1::METHOD_TIES, 3, true, Sparse(0.5, true, v1::RESCALE_NONE)},
    {"ties_paper", v1::METHOD_TIES, 3, true, Sparse(0.5, true, v1::RESCALE_NONE, v1::ELECTION_SUM, v1::DIVISOR_COUNT)},
    {"ties_frequency", v1::METHOD_TIES, 3, true, Sparse(0.5, true, v1::RESCALE_L1, v1::ELECTION_COUNT)},
    {"dare_linear", v1::METHOD_DARE_LINEAR, 2, true, Sparse(0.6, false, v1::RESCALE_L1)},
    {"dare_linear_paper", v1::METHOD_DARE_LINEAR, 2, true, Sparse(0.6, true, v1::RESCALE_INVERSE_DENSITY)},
    {"dare_ties", v1::METHOD_DARE_TIES, 2, true, Sparse(0.6, false, v1::RESCALE_L1)},
    {"breadcrumbs", v1::METHOD_BREADCRUMBS, 2, true, Sparse(0.6, false, v1::RESCALE_NONE)},
    {"breadcrumbs_ties", v1::METHOD_BREADCRUMBS_TIES, 2, true, Sparse(0.6, false, v1::RESCALE_L1)},
    {"della", v1::METHOD_DELLA, 2, true, Sparse(0.6, true, v1::RESCALE_L1)},
    {"della_linear", v1::METHOD_DELLA_LINEAR, 2, true, Sparse(0.6, false, v1::RESCALE_INVERSE_DENSITY)},
    {"model_stock", v1::METHOD_MODEL_STOCK, 3, true},
    {"model_stock_rows", v1::METHOD_MODEL_STOCK, 3, true, [](TensorPlan* p) { p->settings.filter_wise = true; }, 64},
    {"sce", v1::METHOD_SCE, 3, true},
    {"sce_topk", v1::METHOD_SCE, 3, true, [](TensorPlan* p) { p->settings.select_topk = 0.4; }},
    {"ram", v1::METHOD_RAM, 3, true},
    {"ramplus_tl", v1::METHOD_RAMPLUS_TL, 3, true, [](TensorPlan* p) { p->settings.alpha = 1.5; }},
    {"nearswap", v1::METHOD_NEARSWAP, 1, true, [](TensorPlan* p) { p->settings.t = 0.004; }},
    {"arcee_fusion", v1::METHOD_ARCEE_FUSION, 1, true},
};

class MethodTest : public ::testing::TestWithParam<Case> {
 protected:
  TensorPlan Plan(const Family& family, std::vector<int64_t> shape, DType type = DType::kF32) const {
    TensorPlan plan = PlanOf(GetParam().method, family, std::move(shape), GetParam().base, type);
    GetParam().set(&plan);
    return plan;
  }
};

TEST_P(MethodTest, IsTheOraclesWithinAFewUnitsInTheLastPlace) {
  uint32_t seed = 1;
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{1}, {7}, {576}, {1, 65}, {33, 100}, {3, 5, 70}, {70001}}) {
    for (const DType type : {DType::kBF16, DType::kF32}) {
      if (shape[0] == 70001 && type == DType::kF32) continue;
      int64_t elements = 1;
      for (const int64_t extent : shape) elements *= extent;
      const Family family = MakeFamily(type, elements, GetParam().models, ++seed, elements < 10 ? 0.2 : 0.02);
      const TensorPlan plan = Plan(family, shape);
      const std::vector<float> ours = MergedFloats(plan);
      const std::vector<double> oracle = oracle::Merge(plan);
      ASSERT_EQ(ours.size(), oracle.size());
      const std::vector<float> base = family.base.Floats();
      std::vector<std::vector<float>> models;
      for (const Stored& model : family.models) models.push_back(model.Floats());
      for (size_t i = 0; i < ours.size(); ++i) {
        double size = std::fabs(oracle[i]) + std::fabs(static_cast<double>(base[i]));
        for (const auto& model : models) size = std::max(size, std::fabs(static_cast<double>(model[i])));
        ASSERT_NEAR(static_cast<double>(ours[i]), oracle[i], static_cast<double>(GetParam().ulps) * 0x1p-23 * size)
            << "element " << i << " of " << elements << ", " << DTypeName(type);
      }
    }
  }
}

// Rounded once: the stored number is the oracle's, rounded, or (where the oracle lies next to the middle of two, which
// float32 arithmetic may pass) the other one of the two.
TEST_P(MethodTest, IsRoundedOnce) {
  const Family family = MakeFamily(DType::kBF16, 50 * 512, GetParam().models, 77);
  const TensorPlan plan = Plan(family, {50, 512}, DType::kBF16);
  const std::vector<float> ours = MergedFloats(plan);
  const std::vector<double> oracle = oracle::Merge(plan);
  size_t others = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    const float rounded = BFloat16ToFloat(FloatToBFloat16(static_cast<float>(oracle[i])));
    if (ours[i] == rounded) continue;
    ++others;
    ASSERT_NEAR(static_cast<double>(ours[i]), oracle[i], 0.51 * 0x1p-7 * std::fabs(oracle[i]) + 1e-6) << i;
  }
  EXPECT_LT(others, ours.size() / 100);  // Equal inputs times a sum of weights lie in the middle often.
}

TEST_P(MethodTest, IsTheSameOnAnyThreadsAndTiles) {
  // Leaves and blocks at every place of a tile, and ties in plenty: bfloat16 has few differences. The second is large
  // enough for a sample.
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{3, 30011}, {130, 2047}}) {
    int64_t elements = 1;
    for (const int64_t extent : shape) elements *= extent;
    const Family family = MakeFamily(DType::kBF16, elements, GetParam().models, 5);
    const TensorPlan plan = Plan(family, shape, DType::kBF16);
    const std::string expected = Merged(plan, 1, 1 << 30);
    ASSERT_EQ(expected.size(), static_cast<size_t>(elements) * 2);
    EXPECT_EQ(Merged(plan, 4, 2048), expected);
    EXPECT_EQ(Merged(plan, 3, 65536), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(All, MethodTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Engine, WritesManyTensorsInOrder) {
  std::vector<Family> families;
  std::vector<TensorPlan> plans;
  std::vector<std::string> expected;
  for (uint32_t i = 0; i < 40; ++i) {
    families.push_back(MakeFamily(DType::kBF16, 100 + 3001 * (i % 5), 2, i));
  }
  for (size_t i = 0; i < families.size(); ++i) {
    TensorPlan plan = PlanOf(i % 2 == 0 ? v1::METHOD_TIES : v1::METHOD_LINEAR, families[i],
                             {100 + 3001 * static_cast<int64_t>(i % 5)}, i % 2 == 0);
    plan.name = "t" + std::to_string(i);
    for (Part& part : plan.parts) part.density = 0.3;
    plans.push_back(plan);
  }
  plans[3].shape = {0};  // Has no tile.
  std::vector<const TensorPlan*> pointers;
  for (const TensorPlan& plan : plans) pointers.push_back(&plan);
  MemorySink sink;
  ASSERT_OK(RunMerge(pointers, {3, 2048}, &sink));
  for (const TensorPlan& plan : plans) EXPECT_EQ(sink.Bytes(plan.name), Merged(plan, 1)) << plan.name;
}

TEST(Engine, AnEqualWeightedPairIsExact) {
  const Family family = MakeFamily(DType::kBF16, 10000, 2, 3);
  TensorPlan plan = PlanOf(v1::METHOD_LINEAR, family, {10000}, false, DType::kBF16);
  for (Part& part : plan.parts) part.weight = 0.5;
  const std::vector<float> ours = MergedFloats(plan), a = family.models[0].Floats(), b = family.models[1].Floats();
  for (size_t i = 0; i < ours.size(); ++i) {
    const double mean = (static_cast<double>(a[i]) + static_cast<double>(b[i])) / 2;
    ASSERT_EQ(ours[i], BFloat16ToFloat(FloatToBFloat16(static_cast<float>(mean)))) << i;
  }
}

TEST(Engine, ANumberThatIsNotFiniteIsNamedWithItsInputs) {
  Family family = MakeFamily(DType::kF32, 300000, 2, 3);
  const float bad = std::numeric_limits<float>::infinity();
  std::memcpy(family.models[1].bytes.data() + 4 * 250007, &bad, 4);
  TensorPlan plan = PlanOf(v1::METHOD_TASK_ARITHMETIC, family, {300, 1000}, true);
  plan.parts[1].source.model = "math";
  MemorySink sink;
  EXPECT_THAT(RunMerge({&plan}, {2, 4096}, &sink),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("tensor \"model.layers.0.mlp.up_proj.weight\" would have inf at [250, 7]"),
                             HasSubstr("\"math\" has inf"), HasSubstr("\"base\" has "))));
}

TEST(Engine, AHalfThatOverflowsIsNamed) {
  const Stored large = Store(DType::kF32, std::vector<float>(100, 60000.0f));
  const Family family = {large, {large, large}};
  const TensorPlan plan = PlanOf(v1::METHOD_LINEAR, family, {100}, false, DType::kF16);
  MemorySink sink;
  EXPECT_THAT(
      RunMerge({&plan}, {1, 4096}, &sink),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("would have 120000 at [0], which F16 cannot hold")));
}

TEST(Engine, ASinksErrorEndsIt) {
  class Full : public MemorySink {
   public:
    absl::Status Write(std::string_view) override { return absl::ResourceExhaustedError("full"); }
  } sink;
  const Family family = MakeFamily(DType::kBF16, 3000000, 2, 3);
  const TensorPlan plan = PlanOf(v1::METHOD_TASK_ARITHMETIC, family, {3000000}, true, DType::kBF16);
  EXPECT_THAT(RunMerge({&plan}, {4, 2048}, &sink), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("full")));
}

}  // namespace
}  // namespace editd::merge
