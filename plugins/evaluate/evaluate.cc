// The plugin evaluate: reads the spec and the inputs, measures, and gives the result. What the numbers mean:
// METRICS.md.
#include <cmath>
#include <editd/plugin.hpp>

#include "editd/plugins/evaluate/v1/evaluate.pb.h"
#include "plugins/evaluate/measure.h"
#include "plugins/evaluate/torch_products.h"
#include "plugins/lib/text/corpus.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::evaluate {
namespace {

namespace pb = plugins::evaluate::v1;

constexpr uint64_t kLargestContext = 1 << 17;

Settings SettingsOf(const pb::EvaluateSpec& spec) {
  Settings out;
  if (spec.context() > 0) out.context = spec.context();
  out.stride = spec.stride() > 0 ? spec.stride() : std::max<uint64_t>(1, out.context / 2);
  out.batch = spec.batch();
  return out;
}

nn::Compute ComputeOf(const pb::EvaluateSpec& spec) {
  return spec.compute() == pb::COMPUTE_TYPE_BF16 ? nn::Compute::kBF16 : nn::Compute::kF32;
}

class Evaluate : public Plugin<pb::EvaluateSpec, pb::EvaluateResult> {
 public:
  absl::Status Check(const pb::EvaluateSpec& spec, Job& job) override;
  absl::StatusOr<pb::EvaluateResult> Run(const pb::EvaluateSpec& spec, Job& job) override;

 private:
  absl::Status Load(const pb::EvaluateSpec& spec, Job& job);
  absl::Status ReadDocuments(const pb::EvaluateSpec& spec, Job& job, Documents* documents);

  std::vector<Subject> subjects_;
};

absl::Status Evaluate::Check(const pb::EvaluateSpec& spec, Job& job) {
  if (spec.data_size() == 0) job.Finding("data", "no text to evaluate on; name a file: data { path: \"heldout.txt\" }");
  for (int i = 0; i < spec.data_size(); ++i) {
    if (spec.data(i).path().empty()) job.Finding(StrCat("data[", i, "].path"), "is empty; name a text or .jsonl file");
  }
  const Settings settings = SettingsOf(spec);
  if (settings.context > kLargestContext) {
    job.Finding("context", StrCat(settings.context, " tokens are more than ", kLargestContext));
  }
  if (settings.stride > settings.context) {
    job.Finding("stride", StrCat("windows would leave tokens out: ", settings.stride, " is more than the context of ",
                                 settings.context));
  }
  if (spec.batch() > 1024) job.Finding("batch", StrCat(spec.batch(), " is more than 1024"));
  if (!pb::ComputeType_IsValid(spec.compute())) job.Finding("compute", "is not a type that is computed with");

  uint64_t memory = 400 << 20;  // libtorch, buffers.
  for (const Model& model : job.models()) {
    for (const char* file : {"config.json", "tokenizer.json"}) {
      if (model.FindFile(file) == nullptr) job.Finding("", StrCat("input \"", model.name, "\" has no ", file));
    }
    for (const Tensor& tensor : model.tensors) {
      uint64_t elements = 1;
      for (int64_t size : tensor.shape) elements *= size;
      memory += elements * nn::BytesOf(ComputeOf(spec));
    }
  }
  job.Estimate(memory, 0);
  return absl::OkStatus();
}

absl::Status Evaluate::Load(const pb::EvaluateSpec& spec, Job& job) {
  nn::DecoderOptions options;
  options.compute = ComputeOf(spec);
  options.threads = static_cast<int>(job.threads());
  ASSIGN_OR_RETURN(options.gemm, LoadTorchProducts(options.compute));
  if (options.gemm == nullptr) job.Warning("this processor lacks what libtorch's products need; slower ones serve");
  subjects_.resize(job.models().size());
  for (size_t i = 0; i < subjects_.size(); ++i) {
    RETURN_IF_ERROR(job.CheckStop());
    const Model& model = job.model(i);
    Subject& subject = subjects_[i];
    subject.name = model.name;
    subject.version = model.version;
    const auto content = [&](const char* name) {
      const File* const file = model.FindFile(name);
      return file == nullptr ? std::string_view() : file->content;
    };
    const nn::WeightSource weights = {
        [&](std::string_view name) -> std::optional<nn::TensorView> {
          const Tensor* const tensor = model.FindTensor(name);
          if (tensor == nullptr) return std::nullopt;
          // A type that is no number type of ours is refused like one that is, but not computed with.
          const std::optional<DType> dtype = DTypeFromName(tensor->dtype);
          return nn::TensorView{dtype.value_or(DType::kU8), {tensor->shape.begin(), tensor->shape.end()}, tensor->data};
        },
        [&](const void* data, size_t size) {
          job.Release({static_cast<const char*>(data), size});
        }};
    RETURN_IF_ERROR(LoadSubject(
        {content("config.json"), content("tokenizer.json"), content("editd_id_map.i32"), model.Attribute("vocab.used")},
        weights, options, &subject));
    const int64_t longest = subject.decoder->config().max_position_embeddings;
    if (static_cast<int64_t>(SettingsOf(spec).context) > longest) {
      return absl::InvalidArgumentError(StrCat("params.context: ", SettingsOf(spec).context, " is more than the ",
                                               longest, " positions that ", subject.name, " knows"));
    }
    job.Progress("load", i + 1, subjects_.size(), "models");
  }
  return absl::OkStatus();
}

absl::Status Evaluate::ReadDocuments(const pb::EvaluateSpec& spec, Job& job, Documents* documents) {
  for (int i = 0; i < spec.data_size(); ++i) {
    if (documents->full()) break;
    ASSIGN_OR_RETURN(const File file, job.FileOf(spec.data(i).path()));
    const auto added =
        text::ForEachDocument({file.content, std::string(file.path)}, [&](std::string_view text) -> absl::Status {
          documents->Add(text);
          return job.CheckStop();
        });
    if (!added.ok()) return Annotate(added.status(), StrCat("params.data[", i, "].path"));
  }
  for (size_t s = 0; s < subjects_.size(); ++s) {
    const uint64_t lost = documents->bytes_without_token(s);
    if (lost == 0) continue;
    job.Warning(StrCat(subjects_[s].name, " has no token for ", lost, " bytes of the data; they are not scored"));
  }
  return absl::OkStatus();
}

absl::StatusOr<pb::EvaluateResult> Evaluate::Run(const pb::EvaluateSpec& spec, Job& job) {
  RETURN_IF_ERROR(Load(spec, job));
  std::vector<Subject*> subjects;
  for (Subject& subject : subjects_) subjects.push_back(&subject);
  RowPairs rows;
  if (subjects.size() == 2) rows = MatchRows(subjects_[0], subjects_[1]);
  const RowPairs* const pairs = subjects.size() == 2 ? &rows : nullptr;
  Documents documents({subjects.begin(), subjects.end()}, pairs, spec.max_tokens());
  RETURN_IF_ERROR(ReadDocuments(spec, job, &documents));
  uint64_t bytes = 0;
  for (const Document& document : documents.all()) bytes += document.bytes;
  if (bytes == 0) return absl::InvalidArgumentError("params.data: no text in it; there is nothing to score");

  double reported = 0;
  const auto begun = std::chrono::steady_clock::now();
  const Watch watch = [&](size_t subject, double perplexity, uint64_t done, uint64_t total) {
    job.Progress(subject == 0 ? "evaluate" : "evaluate what is cut otherwise", done, total, "tokens");
    const double now = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    if (now - reported >= 1 || done == total) {
      reported = now;
      job.Metric(StrCat("perplexity ", subjects_[subject].name), perplexity, static_cast<int64_t>(done));
    }
    return job.CheckStop();
  };
  const Settings settings = SettingsOf(spec);
  ASSIGN_OR_RETURN(const Measurement measured, Measure(subjects, pairs, documents.all(), settings, watch));

  pb::EvaluateResult result;
  for (size_t s = 0; s < subjects.size(); ++s) {
    const Perplexity& from = measured.perplexity[s];
    pb::Perplexity* const to = result.add_perplexity();
    to->set_model(subjects_[s].name);
    to->set_version(subjects_[s].version);
    to->set_documents(documents.all().size());
    to->set_bytes(bytes);
    uint64_t tokens = 0;
    double nll = 0;
    for (size_t d = 0; d < documents.all().size(); ++d) {
      pb::Document* const document = to->add_per_document();
      document->set_bytes(documents.all()[d].bytes);
      document->set_tokens(documents.all()[d].tokens(s));
      document->set_nll(from.nll[d]);
      tokens += document->tokens();
      nll += document->nll();
    }
    to->set_tokens(tokens);
    to->set_nll(nll);
    to->set_perplexity(std::exp(nll / static_cast<double>(tokens)));
    to->set_bits_per_byte(nll / (static_cast<double>(bytes) * std::log(2.0)));
    to->set_seconds(from.seconds);
    to->set_tokens_per_second(from.seconds > 0 ? from.computed_tokens / from.seconds : 0);
    to->set_computed_tokens(from.computed_tokens);
  }
  if (measured.diff.has_value()) {
    const LogitsDiff& from = *measured.diff;
    pb::LogitsDiff* const to = result.mutable_logits_diff();
    const double positions = std::max<double>(1, from.positions);
    to->set_positions(from.positions);
    to->set_positions_left_out(from.left_out);
    to->set_rows(rows.base.size());
    to->set_rows_base_only(rows.base_only);
    to->set_rows_other_only(rows.other_only);
    to->set_rows_matched_by(rows.matched_by);
    to->set_max_abs(from.max_abs);
    to->set_rms(std::sqrt(from.squares / (positions * std::max<double>(1, rows.base.size()))));
    to->set_kl(from.kl / positions);
    to->set_top1_agreement(from.same_top / positions);
    to->set_removed_mass(from.removed_mass / positions);
  }
  return result;
}

}  // namespace
}  // namespace editd::evaluate

EDIT_PLUGIN("evaluate", editd::evaluate::Evaluate,
            {.version = "1.0.0",
             .summary = "perplexity, bits per byte, and how far two versions' logits are apart",
             .makes_version = false,
             .min_inputs = 1,
             .max_inputs = 2});
