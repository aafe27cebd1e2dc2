#include "plugins/merge/methods.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "storage/base/strings.h"

namespace editd::merge {
namespace {

constexpr size_t kAny = 1000;
constexpr v1::Rescale kNo = v1::RESCALE_NONE, kL1 = v1::RESCALE_L1;

#define ELECTED " election divisor"
constexpr MethodTraits kMethods[] = {
    {v1::METHOD_LINEAR, Base::kNone, 1, kAny, true, true, kNo, "weight normalize"},
    {v1::METHOD_SLERP, Base::kMust, 1, 1, false, false, kNo, "t"},
    {v1::METHOD_NUSLERP, Base::kMay, 2, 2, true, false, kNo, "weight nuslerp_flatten nuslerp_row_wise"},
    {v1::METHOD_MULTISLERP, Base::kMay, 2, kAny, true, false, kNo, "weight normalize_weights eps"},
    {v1::METHOD_KARCHER, Base::kNone, 2, kAny, false, false, kNo, "max_iter tol"},
    {v1::METHOD_TASK_ARITHMETIC, Base::kMust, 1, kAny, true, false, kNo, "weight lambda normalize"},
    {v1::METHOD_TIES, Base::kMust, 1, kAny, true, true, kNo, "weight density lambda normalize rescale" ELECTED},
    {v1::METHOD_DARE_LINEAR, Base::kMust, 1, kAny, true, false, kL1, "weight density lambda normalize rescale"},
    {v1::METHOD_DARE_TIES, Base::kMust, 1, kAny, true, false, kL1, "weight density lambda normalize rescale" ELECTED},
    {v1::METHOD_BREADCRUMBS, Base::kMust, 1, kAny, true, false, kNo, "weight density gamma lambda normalize rescale"},
    {v1::METHOD_BREADCRUMBS_TIES, Base::kMust, 1, kAny, true, false, kNo,
     "weight density gamma lambda normalize rescale" ELECTED},
    {v1::METHOD_DELLA, Base::kMust, 1, kAny, true, true, kL1,
     "weight density epsilon lambda normalize rescale" ELECTED},
    {v1::METHOD_DELLA_LINEAR, Base::kMust, 1, kAny, true, false, kL1,
     "weight density epsilon lambda normalize rescale"},
    {v1::METHOD_MODEL_STOCK, Base::kMust, 2, kAny, false, false, kNo, "filter_wise"},
    {v1::METHOD_SCE, Base::kMust, 1, kAny, false, false, kNo, "select_topk"},
    {v1::METHOD_RAM, Base::kMust, 1, kAny, false, false, kNo, "epsilon"},
    {v1::METHOD_RAMPLUS_TL, Base::kMust, 1, kAny, false, false, kNo, "r alpha epsilon"},
    {v1::METHOD_NEARSWAP, Base::kMust, 1, 1, false, false, kNo, "t"},
    {v1::METHOD_ARCEE_FUSION, Base::kMust, 1, 1, false, false, kNo, ""},
    {v1::METHOD_PASSTHROUGH, Base::kNone, 1, 1, false, false, kNo, "scale"},
};
#undef ELECTED

}  // namespace

const MethodTraits* TraitsOf(v1::Method method) {
  for (const MethodTraits& traits : kMethods) {
    if (traits.method == method) return &traits;
  }
  return nullptr;
}

std::string MethodName(v1::Method method) {
  return absl::AsciiStrToLower(v1::Method_Name(method).substr(std::string_view("METHOD_").size()));
}

std::vector<std::string> ParametersOf(v1::Method method) {
  const MethodTraits* traits = TraitsOf(method);
  if (traits == nullptr) return {};
  return absl::StrSplit(traits->parameters, ' ', absl::SkipEmpty());
}

}  // namespace editd::merge
