// The plugin evaluate: reads the spec and the inputs, measures, and gives the result. What the numbers mean:
// METRICS.md.
#include <algorithm>
#include <editd/plugin.hpp>

#include "editd/plugins/evaluate/v1/evaluate.pb.h"
#include "plugins/evaluate/data.h"
#include "plugins/evaluate/job_checkpoint.h"
#include "plugins/evaluate/leak_jobs.h"
#include "plugins/evaluate/measure.h"
#include "plugins/evaluate/question_jobs.h"
#include "plugins/evaluate/report.h"
#include "plugins/evaluate/speed.h"
#include "plugins/evaluate/speed_jobs.h"
#include "plugins/evaluate/stopwatch.h"
#include "plugins/lib/nn/model_weights.h"
#include "plugins/lib/nn/torch_module.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::evaluate {
namespace {

namespace pb = plugins::evaluate::v1;

constexpr uint64_t kLargestContext = 1 << 17;
constexpr char kDocumentsFile[] = "measured-documents.jsonl";

Convention ConventionOf(const pb::EvaluateSpec& spec) {
  switch (spec.convention()) {
    case pb::CONVENTION_LLAMA_CPP:
      return Convention::kLlamaCpp;
    case pb::CONVENTION_LM_EVAL:
      return Convention::kLmEval;
    case pb::CONVENTION_HF_STRIDED:
      return Convention::kHfStrided;
    default:
      return Convention::kBytes;
  }
}

// `longest`: positions that all models know.
Settings SettingsOf(const pb::EvaluateSpec& spec, uint64_t longest) {
  Settings out;
  out.convention = ConventionOf(spec);
  const bool all = out.convention == Convention::kLmEval || out.convention == Convention::kHfStrided;
  out.context = spec.context() > 0 ? spec.context() : (all ? longest : 512);
  switch (out.convention) {
    case Convention::kBytes:
      out.stride = spec.stride() > 0 ? spec.stride() : std::max<uint64_t>(1, out.context / 2);
      break;
    case Convention::kHfStrided:
      out.stride = spec.stride() > 0 ? spec.stride() : std::min<uint64_t>(512, out.context);
      break;
    default:
      out.stride = out.context;
  }
  out.batch = spec.batch();
  out.max_tokens = spec.max_tokens();
  out.top_k = spec.top_k() > 0 ? static_cast<int>(spec.top_k()) : 10;
  return out;
}

nn::Compute ComputeOf(const pb::EvaluateSpec& spec) {
  return spec.compute() == pb::COMPUTE_TYPE_BF16 ? nn::Compute::kBF16 : nn::Compute::kF32;
}

Form FormOf(const pb::Data& data) {
  if (data.form() == pb::FORM_TEXT) return Form::kText;
  return data.form() == pb::FORM_JSON_LINES ? Form::kJsonLines : Form::kByContent;
}

// What is done goes into the job's checkpoint, and comes from there.
Keeping KeepWith(Job* job, JobCheckpoint* checkpoint, const Documents& documents) {
  return {checkpoint->part(JobCheckpoint::kTexts),
          [checkpoint](std::string_view bytes) { checkpoint->Save(JobCheckpoint::kTexts, bytes); },
          [job, &documents](uint64_t done, uint64_t tokens) {
            job->Info(StrCat("goes on after ", done, " of ", documents.all().size(), " documents, ", tokens,
                             " tokens: an earlier attempt has measured them"));
          }};
}

class Evaluate : public Plugin<pb::EvaluateSpec, pb::EvaluateResult> {
 public:
  absl::Status Check(const pb::EvaluateSpec& spec, Job& job) override;
  absl::StatusOr<pb::EvaluateResult> Run(const pb::EvaluateSpec& spec, Job& job) override;

 private:
  absl::Status Load(const pb::EvaluateSpec& spec, Job& job);
  absl::Status ReadDocuments(const pb::EvaluateSpec& spec, Job& job, Documents* documents, pb::EvaluateResult* result);
  absl::Status MeasureText(const pb::EvaluateSpec& spec, Job& job, JobCheckpoint* checkpoint,
                           pb::EvaluateResult* result);

  std::vector<Subject> subjects_;
  std::vector<std::string> files_;  // Of the data, as messages name them.
  uint64_t longest_ = 0;            // Positions that all models know.
  StartTimes times_;
};

absl::Status Evaluate::Check(const pb::EvaluateSpec& spec, Job& job) {
  const bool measures_more =
      spec.has_multiple_choice() || spec.has_generated_answers() || spec.has_script_leak() || spec.has_speed();
  if (spec.data_size() == 0 && !measures_more) {
    job.Finding("data", "no text to evaluate on; name a file: data { path: \"heldout.txt\" }");
  }
  for (int i = 0; i < spec.data_size(); ++i) {
    const pb::Data& data = spec.data(i);
    if (data.path().empty()) job.Finding(StrCat("data[", i, "].path"), "is empty; name a text or a JSON lines file");
    if (!pb::Form_IsValid(data.form())) job.Finding(StrCat("data[", i, "].form"), "is not a form that is known");
    if (data.form() == pb::FORM_TEXT && !data.field().empty()) {
      job.Finding(StrCat("data[", i, "].field"), "a text has no fields; set form: FORM_JSON_LINES, or leave it out");
    }
  }
  if (!pb::Convention_IsValid(spec.convention())) job.Finding("convention", "is not one that is known");
  const Settings settings = SettingsOf(spec, kLargestContext);
  if (settings.context > kLargestContext) {
    job.Finding("context", StrCat(settings.context, " tokens are more than ", kLargestContext));
  }
  const bool strides = settings.convention == Convention::kBytes || settings.convention == Convention::kHfStrided;
  if (spec.stride() > 0 && !strides) {
    job.Finding("stride", "this convention has windows side by side; leave it out");
  } else if (settings.stride > settings.context) {
    job.Finding("stride", StrCat("windows would leave tokens out: ", settings.stride, " is more than the context of ",
                                 settings.context));
  }
  if (settings.convention == Convention::kLlamaCpp && settings.context < 4) {
    job.Finding("context", "LLAMA_CPP scores the second half of each window; 4 tokens are least");
  }
  if (settings.convention == Convention::kHfStrided && settings.context < 2) {
    job.Finding("context", "HF_STRIDED scores no window's first token; 2 tokens are least");
  }
  if (spec.data_size() == 0 && measures_more) {
    const std::pair<const char*, bool> of_data[] = {{"convention", spec.convention() != pb::CONVENTION_UNSPECIFIED},
                                                    {"stride", spec.stride() > 0},
                                                    {"max_tokens", spec.max_tokens() > 0},
                                                    {"top_k", spec.top_k() > 0},
                                                    {"context", spec.context() > 0 && !spec.has_multiple_choice()}};
    for (const auto& [field, given] : of_data) {
      if (given) job.Finding(field, "says how data is scored, and there is none; leave it out, or name a text in data");
    }
  }
  if (spec.batch() > 1024) job.Finding("batch", StrCat(spec.batch(), " is more than 1024"));
  if (spec.top_k() > 100) job.Finding("top_k", StrCat(spec.top_k(), " is more than 100"));
  if (!pb::ComputeType_IsValid(spec.compute())) job.Finding("compute", "is not a type that is computed with");
  if (!pb::Device_IsValid(spec.device())) job.Finding("device", "is not one that is known");
  if (spec.device() == pb::DEVICE_CUDA) {
    if (const absl::Status cuda = nn::CheckCuda(); !cuda.ok()) job.Finding("device", ToStd(cuda.message()));
  }
  CheckQuestions(spec, job);
  CheckLeak(spec, job);
  CheckSpeed(spec, job);

  uint64_t memory = job.models().size() > 1 ? 900 << 20 : 400 << 20;  // libtorch, buffers, logits that are compared.
  for (const Model& model : job.models()) {
    for (const char* file : {"config.json", "tokenizer.json"}) {
      if (model.FindFile(file) == nullptr) job.Finding("", StrCat("input \"", model.name, "\" has no ", file));
    }
    memory += nn::PackedBytes(model, ComputeOf(spec));
  }
  if (spec.device() == pb::DEVICE_CUDA) memory += nn::kCudaHostMemory;
  job.Estimate(memory, 0);
  return absl::OkStatus();
}

absl::Status Evaluate::Load(const pb::EvaluateSpec& spec, Job& job) {
  nn::DecoderOptions options;
  options.compute = ComputeOf(spec);
  options.threads = static_cast<int>(job.threads());
  const Stopwatch products;
  ASSIGN_OR_RETURN(options.gemm, nn::LoadTorchProducts(options.compute));
  times_.products_seconds = products.seconds();
  if (options.gemm == nullptr) job.Warning("this processor lacks what libtorch's products need; slower ones serve");
  subjects_.resize(job.models().size());
  for (size_t i = 0; i < subjects_.size(); ++i) {
    RETURN_IF_ERROR(job.CheckStop());
    const Stopwatch watch;
    const Model& model = job.model(i);
    Subject& subject = subjects_[i];
    subject.name = model.name;
    subject.version = model.version;
    const auto content = [&model](const char* name) { return nn::ContentOf(model, name); };
    RETURN_IF_ERROR(LoadSubject(
        {content("config.json"), content("tokenizer.json"), content("editd_id_map.i32"),
         content("tokenizer_config.json"), content("special_tokens_map.json"), model.Attribute("vocab.used")},
        nn::WeightsOf(model), options, SettingsOf(spec, 1).padding_counts(), &subject));
    if (spec.device() == pb::DEVICE_CUDA) {
      ASSIGN_OR_RETURN(auto device, nn::LoadCudaDevice());
      RETURN_IF_ERROR(subject.decoder->MoveTo(std::move(device)));
    }
    times_.load_seconds.push_back(watch.seconds());
    const uint64_t longest = subject.decoder->config().max_position_embeddings;
    if (spec.context() > longest) {
      return absl::InvalidArgumentError(StrCat("params.context: ", spec.context(), " is more than the ", longest,
                                               " positions that ", subject.name, " knows"));
    }
    longest_ = i == 0 ? longest : std::min(longest_, longest);
    job.Progress("load", i + 1, subjects_.size(), "models");
  }
  return absl::OkStatus();
}

absl::Status Evaluate::ReadDocuments(const pb::EvaluateSpec& spec, Job& job, Documents* documents,
                                     pb::EvaluateResult* result) {
  for (int i = 0; i < spec.data_size(); ++i) {
    const pb::Data& data = spec.data(i);
    pb::DataRead* const read = result->add_data();
    read->set_content(data.path());
    const std::vector<File> files = job.FilesOf(data.path());
    if (files.empty()) return absl::NotFoundError(StrCat("params.data[", i, "].path: no file came with the job"));
    for (const File& file : files) {
      if (documents->full()) break;
      read->set_path(std::string(file.path));
      files_.push_back(file.name.empty() ? std::string(file.path) : StrCat(file.path, "/", file.name));
      const uint32_t index = files_.size() - 1;
      const absl::Status added =
          ForEachText({file.content, files_.back()}, FormOf(data), data.field().empty() ? "text" : data.field(),
                      [&](uint64_t line, std::string_view text) -> absl::Status {
                        if (documents->full()) return absl::OkStatus();
                        read->set_documents(read->documents() + 1);
                        read->set_empty_documents(read->empty_documents() + text.empty());
                        read->set_bytes(read->bytes() + text.size());
                        documents->Add(index, line, text);
                        return job.CheckStop();
                      });
      if (!added.ok()) return Annotate(added, StrCat("params.data[", i, "].path"));
    }
  }
  RETURN_IF_ERROR(Annotate(documents->Finish(), "params.data"));
  for (size_t s = 0; s < subjects_.size(); ++s) {
    const uint64_t lost = documents->bytes_without_token(static_cast<int>(s));
    if (lost == 0) continue;
    job.Warning(StrCat(subjects_[s].name, " has no token for ", lost, " bytes of the data; they are not scored"));
  }
  return absl::OkStatus();
}

absl::StatusOr<pb::EvaluateResult> Evaluate::Run(const pb::EvaluateSpec& spec, Job& job) {
  times_.start_seconds = ProcessSeconds();
  RETURN_IF_ERROR(Load(spec, job));
  pb::EvaluateResult result;
  // First, for it measures what the first logits take.
  if (spec.has_speed()) RETURN_IF_ERROR(MeasureSpeeds(spec, subjects_, times_, job, &result));
  if (spec.has_script_leak()) RETURN_IF_ERROR(MarkLeak(spec, &subjects_));
  JobCheckpoint checkpoint(&job);
  if (spec.data_size() > 0) RETURN_IF_ERROR(MeasureText(spec, job, &checkpoint, &result));
  if (spec.has_multiple_choice()) RETURN_IF_ERROR(MeasureMultipleChoice(spec, subjects_, job, &checkpoint, &result));
  if (spec.has_generated_answers()) RETURN_IF_ERROR(MeasureAnswers(spec, subjects_, job, &result));
  if (spec.script_leak().prompt_path_size() > 0) RETURN_IF_ERROR(MeasureWriting(spec, subjects_, job, &result));
  return result;
}

// Perplexity and logits-diff.
absl::Status Evaluate::MeasureText(const pb::EvaluateSpec& spec, Job& job, JobCheckpoint* checkpoint,
                                   pb::EvaluateResult* result) {
  const Settings settings = SettingsOf(spec, longest_);
  pb::Settings* const used = result->mutable_settings();
  used->set_convention(spec.convention() == pb::CONVENTION_UNSPECIFIED ? pb::CONVENTION_BYTES : spec.convention());
  used->set_context(settings.context);
  used->set_stride(settings.stride);
  used->set_compute(spec.compute() == pb::COMPUTE_TYPE_BF16 ? pb::COMPUTE_TYPE_BF16 : pb::COMPUTE_TYPE_F32);
  used->set_max_tokens(settings.max_tokens);
  used->set_top_k(settings.top_k);

  std::vector<Subject*> subjects;
  for (Subject& subject : subjects_) subjects.push_back(&subject);
  RowPairs rows;
  if (subjects.size() == 2) {
    rows = MatchRows(subjects_[0], subjects_[1]);
    if (rows.base.empty()) {
      return absl::InvalidArgumentError(
          StrCat(subjects_[0].name, " and ", subjects_[1].name, " have no token in common; evaluate each by itself"));
    }
  }
  const std::vector<const Subject*> constant(subjects.begin(), subjects.end());
  Documents documents(constant, settings);
  RETURN_IF_ERROR(ReadDocuments(spec, job, &documents, result));

  double reported = 0;
  const Stopwatch watched;
  const Watch watch = [&](double perplexity, uint64_t done, uint64_t total) {
    job.Progress("evaluate", done, total, "tokens");
    const double now = watched.seconds();
    if (done > 0 && (now - reported >= 1 || done == total)) {
      reported = now;
      job.Metric(StrCat("perplexity ", subjects_[0].name), perplexity, static_cast<int64_t>(done));
    }
    return job.CheckStop();
  };
  const Keeping keeping = KeepWith(&job, checkpoint, documents);
  ASSIGN_OR_RETURN(const Measurement measured,
                   Measure(subjects, subjects.size() == 2 ? &rows : nullptr, documents, settings, watch, &keeping));
  for (size_t s = 0; s < subjects.size(); ++s) {
    ReportPerplexity(measured, s, subjects_[s], documents, result->add_perplexity());
  }
  if (measured.diff.has_value()) {
    ReportDiff(*measured.diff, rows, result->perplexity(0).bytes_scored(),
               static_cast<int>(std::min<uint64_t>(settings.top_k, rows.base.size())), result->mutable_logits_diff());
  }
  if (spec.has_script_leak()) ReportLeak(spec, measured, subjects_, result->mutable_script_leak());
  RETURN_IF_ERROR(job.BeginExport(kDocumentsFile));
  return job.WriteExport(ReportDocuments(measured, constant, documents, files_));
}

}  // namespace
}  // namespace editd::evaluate

EDIT_PLUGIN("evaluate", editd::evaluate::Evaluate,
            {.version = "1.3.0",
             .summary = "perplexity, logits-diff of two versions, questions with choices, script leak, speed",
             .makes_version = false,
             .min_inputs = 1,
             .max_inputs = 2});
