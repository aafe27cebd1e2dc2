#include "plugins/merge/files.h"

#include "plugins/lib/formats/checkpoint.h"
#include "plugins/lib/formats/json.h"
#include "plugins/merge/methods.h"
#include "storage/base/strings.h"

namespace editd::merge {
namespace {

using formats::Json;

Json From(size_t model, std::string_view tensor) { return Json::array({model, std::string(tensor)}); }

}  // namespace

std::string Record(const v1::MergeSpec& spec, const Job& job, const MergePlan& plan) {
  Json record = {{"format", 1}, {"method", MethodName(spec.method())}};
  if (const auto base = FindInput(job, spec.base()); base.has_value() && !spec.base().empty()) record["base"] = *base;
  Json& inputs = record["inputs"] = Json::array();
  for (const Model& model : job.models()) {
    inputs.push_back({{"name", std::string(NameOf(model))}, {"version", std::string(model.version)}});
  }
  Json& tensors = record["tensors"] = Json::object();
  for (const auto& tensor : plan.tensors) {
    Json& entry = tensors[tensor->row->name];
    if (tensor->reused != nullptr) {
      entry["same"] = From(tensor->reused->input, tensor->reused->name);
      continue;
    }
    Json& from = entry["from"] = Json::array();
    for (const Take& take : tensor->row->takes) from.push_back(From(take.model, take.tensor->name));
    if (!TraitsOf(spec.method())->weights) continue;
    Json& weights = entry["weights"] = Json::array();
    for (const Part& part : tensor->plan.parts) weights.push_back(part.weight);
  }
  return formats::DumpJson(record);
}

absl::Status WriteFiles(const v1::MergeSpec& spec, const MergePlan& plan, Job* job) {
  const Model& donor = job->model(plan.layout.donor);
  const std::optional<DType> type = DTypeFromName(spec.out_dtype());
  for (const File& file : donor.files) {
    if (file.name == kRecordFile) continue;
    if (file.name != "config.json" || (!type.has_value() && !plan.layout.unties_head)) {
      RETURN_IF_ERROR(job->ReuseFile(file));
      continue;
    }
    ASSIGN_OR_RETURN(Json config, formats::ParseJson(file.content, file.name));
    if (!config.is_object()) return absl::InvalidArgumentError("config.json: is no object");
    if (type.has_value()) formats::SetConfigDType(*type, &config);
    if (plan.layout.unties_head) config["tie_word_embeddings"] = false;
    RETURN_IF_ERROR(job->AddFile(file.name, formats::DumpJson(config)));
  }
  RETURN_IF_ERROR(job->AddFile(kRecordFile, Record(spec, *job, plan)));
  for (const auto& [key, value] : donor.attributes) {
    const bool tied = key == "vocab.tied" && plan.layout.unties_head;
    RETURN_IF_ERROR(job->SetAttribute(key, tied ? std::string_view("false") : value));
  }
  return absl::OkStatus();
}

}  // namespace editd::merge
