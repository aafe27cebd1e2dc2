// mergekit 0.1.5 in float32, method by method, over three families of small models: tests/golden/merge.json, made by
// make_merge.py, where it says how mergekit's random numbers became ours.
#include <cmath>

#include "absl/strings/escaping.h"
#include "plugins/lib/formats/json.h"
#include "plugins/merge/testing.h"
#include "storage/base/file.h"

namespace editd::merge {
namespace {

using formats::Json;

const std::map<std::string, v1::Method>& Methods() {
  static const auto* const methods = new std::map<std::string, v1::Method>([] {
    std::map<std::string, v1::Method> all;
    for (int i = v1::Method_MIN; i <= v1::Method_MAX; ++i) {
      std::string name = v1::Method_Name(static_cast<v1::Method>(i)).substr(7);
      for (char& c : name) c = static_cast<char>(std::tolower(c));
      all[name] = static_cast<v1::Method>(i);
    }
    return all;
  }());
  return *methods;
}

Stored Decode(const Json& text) {
  std::string bytes;
  EXPECT_TRUE(absl::Base64Unescape(text.get<std::string>(), &bytes));
  return {DType::kF32, bytes};
}

// mergekit's defaults are ours (METHODS.md); here only what a case sets.
void SetShared(const std::string& method, const Json& shared, Settings* s) {
  const auto elects = [&](std::string_view name) { return method == name; };
  s->normalize = elects("linear") || elects("ties") || elects("della");
  s->rescale = method.starts_with("dare") || method.starts_with("della") ? v1::RESCALE_L1 : v1::RESCALE_NONE;
  for (const auto& [key, value] : shared.items()) {
    if (key == "normalize")
      s->normalize = value;
    else if (key == "rescale")
      s->rescale = value.get<bool>() ? v1::RESCALE_L1 : v1::RESCALE_NONE;
    else if (key == "lambda")
      s->lambda = value;
    else if (key == "t")
      s->t = value;
    else if (key == "epsilon")
      s->epsilon = value;
    else if (key == "select_topk")
      s->select_topk = value;
    else if (key == "r")
      s->r = value;
    else if (key == "alpha")
      s->alpha = value;
    else if (key == "max_iter")
      s->max_iter = value;
    else if (key == "nuslerp_flatten")
      s->flatten = value;
    else if (key == "nuslerp_row_wise")
      s->row_wise = value;
    else if (key == "normalize_weights")
      s->normalize_weights = value;
    else if (key == "filter_wise")
      s->filter_wise = value;
    else
      FAIL() << "the test does not know " << key;
  }
}

TEST(Golden, EveryMethodIsMergekits) {
  const auto text = ReadWholeFile(EDITD_SOURCE_DIR "/tests/golden/merge.json");
  ASSERT_OK(text);
  const auto golden = formats::ParseJson(*text, "merge.json");
  ASSERT_OK(golden);
  size_t compared = 0;
  for (const Json& test : (*golden)["cases"]) {
    SCOPED_TRACE(test["name"].get<std::string>());
    const Json& tensors = (*golden)["families"][test["family"].get<size_t>()];
    for (size_t t = 0; t < tensors.size(); ++t) {
      const Json& tensor = tensors[t];
      Family family{Decode(tensor["base"]), {}};
      for (size_t m = 0; m < test["models"].get<size_t>(); ++m) family.models.push_back(Decode(tensor["models"][m]));
      TensorPlan plan = PlanOf(Methods().at(test["method"]), family, tensor["shape"], test["base"]);
      plan.name = tensor["name"];
      plan.settings.seed = test["seed"];
      SetShared(test["method"], test["shared"], &plan.settings);
      for (const auto& [key, values] : test["own"].items()) {
        for (size_t m = 0; m < plan.parts.size(); ++m) {
          Part& part = plan.parts[m];
          (key == "weight"    ? part.weight
           : key == "density" ? part.density
           : key == "gamma"   ? part.gamma
           : key == "scale"   ? part.scale
                              : part.epsilon) = values[m];
        }
      }
      const std::vector<float> ours = MergedFloats(plan), theirs = Decode(test["results"][t]).Floats();
      ASSERT_EQ(ours.size(), theirs.size());
      // Lengths and angles are float32 sums there and double here: a few units in the last place of the largest number.
      for (size_t i = 0; i < ours.size(); ++i) {
        ASSERT_NEAR(ours[i], theirs[i], 1e-6) << plan.name << " element " << i;
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 20000u);
}

}  // namespace
}  // namespace editd::merge
