// The plugin: checks the spec, plans, and streams the result. METHODS.md has the formulas, README.md the rest.
#include <optional>
#include <string>
#include <vector>

#include "editd/plugin.hpp"
#include "editd/plugins/merge/v1/merge.pb.h"
#include "plugins/merge/engine.h"
#include "plugins/merge/files.h"
#include "plugins/merge/plan.h"
#include "storage/base/strings.h"

namespace editd::merge {
namespace {

// Writes tensors into the job's version and tells how far it is.
class JobSink : public Sink {
 public:
  JobSink(Job* job, uint64_t elements) : job_(job), elements_(elements) {}

  absl::Status Begin(const TensorPlan& plan) override {
    bytes_ = DTypeBytes(plan.type);
    return job_->BeginTensor(plan.name, DTypeName(plan.type), plan.shape);
  }
  absl::Status Write(std::string_view bytes) override {
    RETURN_IF_ERROR(job_->CheckStop());
    done_ += bytes.size() / bytes_;
    job_->Progress("merge", done_, elements_, "elements");
    return job_->Write(bytes.data(), bytes.size());
  }
  void Done(const TensorPlan& plan, int64_t begin, int64_t end) override {
    const auto release = [&](const Source& source) {
      if (source.gather != nullptr) return;
      const size_t size = DTypeBytes(source.type);
      job_->Release({source.data + static_cast<size_t>(begin) * size, static_cast<size_t>(end - begin) * size});
    };
    if (plan.base.has_value()) release(*plan.base);
    for (const Part& part : plan.parts) release(part.source);
  }

 private:
  Job* const job_;
  const uint64_t elements_;
  size_t bytes_ = 1;
  uint64_t done_ = 0;
};

class Merge : public Plugin<v1::MergeSpec, v1::MergeResult> {
 public:
  absl::Status Check(const v1::MergeSpec& spec, Job& job) override {
    Findings findings;
    const MergePlan plan = MakePlan(spec, job, nullptr, &findings);
    for (const auto& [field, message] : findings.All()) job.Finding(field, message);
    for (const std::string& line : Describe(plan.expansion->spec)) job.Info(line);
    uint64_t disk = 0;
    for (const auto& tensor : plan.tensors) {
      if (tensor->reused == nullptr)
        disk += static_cast<uint64_t>(tensor->plan.elements()) * DTypeBytes(tensor->plan.type);
    }
    // Tiles, blocks and counters of each thread; sums of a tensor's leaves.
    const uint64_t memory =
        (uint64_t{64} << 20) + uint64_t{job.threads()} * (uint64_t{8} << 20) * (1 + job.models().size());
    job.Estimate(memory, disk + (uint64_t{16} << 20));
    return absl::OkStatus();
  }

  absl::StatusOr<v1::MergeResult> Run(const v1::MergeSpec& spec, Job& job) override {
    Findings findings;
    std::optional<Vocabulary> vocabulary;
    if (spec.has_vocabulary()) {
      job.Progress("match tokens", 0, 1, "vocabularies");
      ASSIGN_OR_RETURN(vocabulary, AlignVocabularies(spec.vocabulary(), job, BaseOf(spec, job)));
      for (const std::string& note : vocabulary->notes) job.Info(note);
    } else {
      RETURN_IF_ERROR(CheckSameVocabulary(job));
    }
    const MergePlan plan = MakePlan(spec, job, vocabulary.has_value() ? &*vocabulary : nullptr, &findings);
    if (!findings.empty()) {
      const auto [field, message] = findings.All().front();
      return absl::InvalidArgumentError(StrCat("params.", field, ": ", message));
    }
    v1::MergeResult result;
    std::vector<const TensorPlan*> computed;
    for (const auto& tensor : plan.tensors) {
      if (tensor->reused != nullptr) {
        RETURN_IF_ERROR(job.Reuse(*tensor->reused, tensor->row->name));
        result.set_tensors_reused(result.tensors_reused() + 1);
      } else {
        computed.push_back(&tensor->plan);
        result.set_elements(result.elements() + static_cast<uint64_t>(tensor->plan.elements()));
      }
    }
    result.set_tensors(plan.tensors.size());
    RETURN_IF_ERROR(WriteFiles(plan, vocabulary.has_value() ? &*vocabulary : nullptr, &job));
    JobSink sink(&job, result.elements());
    EngineOptions options;
    options.threads = job.threads();
    const absl::Status status = RunMerge(computed, options, &sink);
    if (absl::IsFailedPrecondition(status)) return job.Refuse(ToStd(status.message()));
    RETURN_IF_ERROR(status);
    return result;
  }
};

}  // namespace
}  // namespace editd::merge

EDIT_PLUGIN("merge", editd::merge::Merge,
            {.version = "1.0.0",
             .summary = "makes one model out of several",
             .makes_version = true,
             .min_inputs = 1,
             .max_inputs = 64});
