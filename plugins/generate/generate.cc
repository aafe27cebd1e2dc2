// The plugin generate: reads the spec and the model, makes the answers, tells their text while they grow. README.md has
// the rules.
#include <chrono>
#include <editd/plugin.hpp>
#include <optional>

#include "absl/strings/numbers.h"
#include "editd/plugins/generate/v1/generate.pb.h"
#include "plugins/lib/generate/generator.h"
#include "plugins/lib/generate/prompts.h"
#include "plugins/lib/nn/model_weights.h"
#include "plugins/lib/nn/torch_module.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::generate {
namespace {

namespace pb = plugins::generate::v1;
using Clock = std::chrono::steady_clock;

constexpr uint32_t kMostTokens = 1 << 20;

double Since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }
double Rate(uint64_t count, double seconds) { return seconds > 0 ? static_cast<double>(count) / seconds : 0; }

nn::Compute ComputeOf(const pb::GenerateSpec& spec) {
  return spec.compute() == pb::COMPUTE_TYPE_BF16 ? nn::Compute::kBF16 : nn::Compute::kF32;
}

class GeneratePlugin : public Plugin<pb::GenerateSpec, pb::GenerateResult> {
 public:
  absl::Status Check(const pb::GenerateSpec& spec, Job& job) override;
  absl::StatusOr<pb::GenerateResult> Run(const pb::GenerateSpec& spec, Job& job) override;

 private:
  absl::Status Load(const pb::GenerateSpec& spec, Job& job);
  absl::StatusOr<std::vector<std::vector<int32_t>>> Prompts(const pb::GenerateSpec& spec, Job& job,
                                                            const jinja::ChatTemplate* chat) const;

  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<nn::Decoder> decoder_;
  std::optional<jinja::ChatTemplate> chat_;
  int64_t rows_ = 0;  // Of the head that have a token.
  std::vector<int32_t> end_tokens_;
};

absl::Status GeneratePlugin::Check(const pb::GenerateSpec& spec, Job& job) {
  if (spec.prompt_size() + spec.file_size() == 0) {
    job.Finding("prompt",
                "there is nothing to go on from; write prompt { text: \"...\" } or file { path: \"prompts.jsonl\" }");
  }
  for (int i = 0; i < spec.prompt_size(); ++i) {
    const pb::Prompt& prompt = spec.prompt(i);
    const std::string where = StrCat("prompt[", i, "]");
    if (prompt.text().empty() && prompt.message_size() == 0)
      job.Finding(where, "is empty; there is nothing to go on from");
    if (!prompt.text().empty() && prompt.message_size() > 0)
      job.Finding(where, "has a text and messages; give one of them");
    if (spec.raw() && prompt.message_size() > 0) {
      job.Finding(where, "a conversation needs the chat template, which raw: true leaves out");
    }
    for (int m = 0; m < prompt.message_size(); ++m) {
      if (prompt.message(m).role().empty())
        job.Finding(StrCat(where, ".message[", m, "].role"), "is empty; it is user, assistant or system");
    }
  }
  for (int i = 0; i < spec.file_size(); ++i) {
    if (spec.file(i).path().empty()) job.Finding(StrCat("file[", i, "].path"), "is empty; name a text or .jsonl file");
  }
  for (int i = 0; i < spec.stop_size(); ++i) {
    if (spec.stop(i).empty()) job.Finding(StrCat("stop[", i, "]"), "is empty; every answer would end at once");
  }
  const auto range = [&](const char* field, auto value, decltype(value) least, decltype(value) most) {
    if (!(value >= least && value <= most)) job.Finding(field, StrCat(value, " is not between ", least, " and ", most));
  };
  range("temperature", spec.temperature(), 0, 100);
  range("top_p", spec.top_p(), 0, 1);
  range("min_p", spec.min_p(), 0, 1);
  range("repetition_penalty", spec.repetition_penalty(), 0, 100);
  range("max_tokens", int64_t{spec.max_tokens()}, 0, kMostTokens);
  range("batch", int64_t{spec.batch()}, 0, nn::kBlockRows);
  if (spec.temperature() == 0 && (spec.top_k() > 0 || spec.top_p() > 0 || spec.min_p() > 0)) {
    job.Finding("temperature",
                "is 0, so the most likely token is taken, and top_k, top_p and min_p choose nothing; set it");
  }
  if (spec.raw() && !spec.system().empty())
    job.Finding("system", "a system message needs the chat template, which raw: true leaves out");
  for (const auto& [name, value] : spec.template_variables()) {
    if (!Json::accept(value))
      job.Finding(StrCat("template_variables[\"", name, "\"]"),
                  StrCat(value, " is no JSON value; a text has quotes in it"));
  }
  if (!pb::ComputeType_IsValid(spec.compute())) job.Finding("compute", "is not a type that is computed with");
  if (!pb::Device_IsValid(spec.device())) job.Finding("device", "is not one that is known");
  if (spec.device() == pb::DEVICE_CUDA) {
    if (const absl::Status cuda = nn::CheckCuda(); !cuda.ok()) job.Finding("device", ToStd(cuda.message()));
  }
  uint64_t memory = 400 << 20;  // libtorch, buffers, keys and values.
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

absl::Status GeneratePlugin::Load(const pb::GenerateSpec& spec, Job& job) {
  const Model& model = job.model();
  ASSIGN_OR_RETURN(const nn::DecoderConfig config, nn::ParseDecoderConfig(nn::ContentOf(model, "config.json")));
  ASSIGN_OR_RETURN(tokenizer_, text::Tokenizer::FromJson(nn::ContentOf(model, "tokenizer.json")));
  const int64_t tokens = static_cast<int64_t>(tokenizer_->size());
  if (tokens > config.vocab_size) {
    return absl::InvalidArgumentError(
        StrCat("tokenizer.json has ids up to ", tokens - 1, ", the embedding only ", config.vocab_size, " rows"));
  }
  rows_ = tokens;
  if (!spec.raw()) {
    auto chat = jinja::ChatTemplate::FromModel([&](std::string_view name) { return nn::ContentOf(model, name); });
    if (absl::IsNotFound(chat.status())) {
      return absl::InvalidArgumentError(
          StrCat(ToStd(chat.status().message()), "; set raw: true to go on from texts as they stand"));
    }
    if (!chat.ok()) return chat.status();
    chat_ = *std::move(chat);
  }
  end_tokens_ = EndTokens(nn::ContentOf(model, "generation_config.json"), config, *tokenizer_,
                          chat_.has_value() ? &*chat_ : nullptr);

  nn::DecoderOptions options;
  options.compute = ComputeOf(spec);
  options.threads = static_cast<int>(job.threads());
  ASSIGN_OR_RETURN(options.gemm, nn::LoadTorchProducts(options.compute));
  if (options.gemm == nullptr) job.Warning("this processor lacks what libtorch's products need; slower ones serve");
  ASSIGN_OR_RETURN(decoder_, nn::Decoder::Load(config, nn::WeightsOf(model), options));
  if (spec.device() == pb::DEVICE_CUDA) {
    ASSIGN_OR_RETURN(auto device, nn::LoadCudaDevice());
    RETURN_IF_ERROR(decoder_->MoveTo(std::move(device)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::vector<int32_t>>> GeneratePlugin::Prompts(const pb::GenerateSpec& spec, Job& job,
                                                                          const jinja::ChatTemplate* chat) const {
  std::vector<Prompt> prompts;
  for (int i = 0; i < spec.prompt_size(); ++i) {
    Prompt prompt = {StrCat("params.prompt[", i, "]"), spec.prompt(i).text(), nullptr};
    for (const pb::Message& message : spec.prompt(i).message()) {
      if (prompt.messages.is_null()) prompt.messages = Json::array();
      prompt.messages.push_back({{"role", message.role()}, {"content", message.content()}});
    }
    prompts.push_back(std::move(prompt));
  }
  for (int i = 0; i < spec.file_size(); ++i) {
    ASSIGN_OR_RETURN(const File file, job.FileOf(spec.file(i).path()));
    RETURN_IF_ERROR(ReadPromptFile(StrCat("params.file[", i, "].path"), file.path, file.content, &prompts));
  }
  if (prompts.empty())
    return absl::InvalidArgumentError("params.file: no prompt in it; there is nothing to go on from");
  PromptForm form = {tokenizer_.get(),
                     chat,
                     spec.system(),
                     Json::object(),
                     std::string(job.model().name),
                     decoder_->config().max_position_embeddings};
  for (const auto& [name, value] : spec.template_variables()) form.variables[name] = Json::parse(value);
  std::vector<std::vector<int32_t>> out;
  for (const Prompt& prompt : prompts) {
    RETURN_IF_ERROR(job.CheckStop());
    out.emplace_back();
    ASSIGN_OR_RETURN(out.back(), Encode(prompt, form));
  }
  return out;
}

absl::StatusOr<pb::GenerateResult> GeneratePlugin::Run(const pb::GenerateSpec& spec, Job& job) {
  const auto begun = Clock::now();
  RETURN_IF_ERROR(Annotate(Load(spec, job), job.model().name));
  ASSIGN_OR_RETURN(const auto prompts, Prompts(spec, job, chat_.has_value() ? &*chat_ : nullptr));
  nn::Stepper stepper(decoder_.get(), rows_);
  pb::GenerateResult result;
  result.set_load_seconds(Since(begun));

  Settings settings;
  settings.sampling = {spec.temperature(),
                       spec.top_k(),
                       spec.top_p(),
                       spec.min_p(),
                       spec.repetition_penalty() > 0 ? spec.repetition_penalty() : 1,
                       job.seed()};
  settings.max_tokens = spec.max_tokens() > 0 ? spec.max_tokens() : 256;
  settings.batch = spec.batch() > 0 ? spec.batch() : 8;
  settings.stops.assign(spec.stop().begin(), spec.stop().end());
  settings.end_tokens = end_tokens_;
  const uint64_t most = prompts.size() * settings.max_tokens;
  Times times;
  const Listener listener = {
      [&](size_t prompt, std::string_view text) { job.Text(static_cast<uint32_t>(prompt), text); },
      [&](uint64_t tokens) {
        job.Progress("generate", tokens, most, "tokens");
        return job.CheckStop();
      }};
  ASSIGN_OR_RETURN(const std::vector<Answer> answers,
                   Generate(decoder_.get(), &stepper, *tokenizer_, prompts, settings, listener, &times));

  std::string lines;
  for (size_t i = 0; i < answers.size(); ++i) {
    const Answer& answer = answers[i];
    pb::Completion* const completion = result.add_completion();
    completion->set_prompt(static_cast<uint32_t>(i));
    completion->set_text(answer.text);
    completion->set_finish(static_cast<pb::Finish>(answer.ending));
    completion->set_stop(answer.stop);
    completion->set_prompt_tokens(static_cast<uint32_t>(prompts[i].size()));
    completion->mutable_token()->Add(answer.tokens.begin(), answer.tokens.end());
    result.set_tokens(result.tokens() + answer.tokens.size());
    lines += Json{{"prompt", i},
                  {"text", answer.text},
                  {"finish", pb::Finish_Name(completion->finish())},
                  {"prompt_tokens", prompts[i].size()},
                  {"tokens", answer.tokens.size()}}
                 .dump() +
             "\n";
  }
  RETURN_IF_ERROR(job.BeginExport("generated.jsonl"));
  RETURN_IF_ERROR(job.WriteExport(lines));
  result.set_model(std::string(job.model().name));
  result.set_version(std::string(job.model().version));
  result.set_prompt_tokens(times.prefilled);
  result.set_prefill_seconds(times.prefill_seconds);
  result.set_prefill_tokens_per_second(Rate(times.prefilled, times.prefill_seconds));
  result.set_decode_seconds(times.decode_seconds);
  result.set_decode_tokens_per_second(Rate(times.decoded, times.decode_seconds));
  const auto number = [](double value) { return std::to_string(static_cast<int64_t>(value + 0.5)); };
  job.Info(StrCat("prefill ", times.prefilled, " tokens at ", number(result.prefill_tokens_per_second()), "/s, decode ",
                  times.decoded, " at ", number(result.decode_tokens_per_second()), "/s"));
  return result;
}

}  // namespace
}  // namespace editd::generate

EDIT_PLUGIN("generate", editd::generate::GeneratePlugin,
            {.version = "1.1.0",
             .summary = "prompts in, text out: chat template, sampling, stop strings",
             .makes_version = false,
             .min_inputs = 1,
             .max_inputs = 1});
