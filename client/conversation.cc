#include "client/conversation.h"

#include <nlohmann/json.hpp>

#include "client/format.h"
#include "client/outcome.h"
#include "client/submission.h"
#include "client/watch.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

using Json = nlohmann::ordered_json;

// A spec in JSON: no text of a message can be mistaken for a part of it.
absl::StatusOr<std::string> SpecText(const std::string& model, const std::string& spec_type, const ChatOptions& options,
                                     const std::vector<std::pair<std::string, std::string>>& messages) {
  Json prompt = {{"message", Json::array()}};
  for (const auto& [role, content] : messages) prompt["message"].push_back({{"role", role}, {"content", content}});
  Json params = {{"@type", "type.googleapis.com/" + spec_type},
                 {"prompt", Json::array({prompt})},
                 {"max_tokens", options.max_tokens},
                 {"temperature", options.temperature},
                 {"top_k", options.top_k},
                 {"top_p", options.top_p},
                 {"min_p", options.min_p},
                 {"repetition_penalty", options.repetition_penalty},
                 {"system", options.system},
                 {"stop", options.stops},
                 {"compute", options.bf16 ? "COMPUTE_TYPE_BF16" : "COMPUTE_TYPE_F32"},
                 {"template_variables", Json::object()}};
  for (const std::string& variable : options.variables) {
    const size_t equals = variable.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(StrCat("--set ", variable, ": is not NAME=JSON, as in enable_thinking=false"));
    }
    params["template_variables"][variable.substr(0, equals)] = variable.substr(equals + 1);
  }
  return Json{
      {"plugin", "generate"}, {"input", Json::array({{{"model", model}}})}, {"seed", options.seed}, {"params", params}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

absl::Status Conversation::Ask(std::string_view message) {
  ASSIGN_OR_RETURN(const v1::Plugin plugin, session_->GetPlugin("generate"));
  std::vector<std::pair<std::string, std::string>> messages = messages_;
  messages.emplace_back("user", message);
  ASSIGN_OR_RETURN(const std::string spec, SpecText(model_, plugin.spec_type(), options_, messages));
  ASSIGN_OR_RETURN(const v1::SubmitRequest request, PrepareSubmission(session_, spec, "chat", ""));
  const auto job = SubmitJob(session_, request, /*will_wait=*/true);
  if (!job.ok()) return WithNext(job.status(), "editctl models");
  job_ = job->id();
  messages_ = std::move(messages);
  return absl::OkStatus();
}

absl::StatusOr<Turn> Conversation::Answer(const std::function<void(std::string_view)>& on_text,
                                          const std::atomic<bool>* stop) {
  ASSIGN_OR_RETURN(const Paths paths, session_->FindPaths());
  std::string told, grown;  // What on_text got; what the present attempt has made.
  uint32_t attempt = 0;
  WatchOptions watch;
  watch.socket = paths.socket;
  watch.job = job_;
  watch.stop = stop;
  watch.on_event = [&](const v1::Event& event) {
    if (!event.has_text() || event.text().stream() != 0) return;
    // After a crash another attempt makes the same text; what was told is not told again.
    if (event.text().attempt() != attempt) grown.clear();
    attempt = event.text().attempt();
    grown += event.text().text();
    if (grown.size() <= told.size() || !grown.starts_with(told)) return;
    on_text(std::string_view(grown).substr(told.size()));
    told = grown;
  };
  watch.on_tick = [] {};
  watch.on_trouble = [this](const std::string& text) { session_->Note(text + "\n"); };
  const auto ended = WatchJob(watch);
  if (!ended.ok() || ended->state() != v1::JOB_STATE_SUCCEEDED) {
    messages_.pop_back();  // A question without an answer is none of the conversation.
    if (absl::IsCancelled(ended.status())) {
      if (const auto connection = session_->Connect(); connection.ok()) (void)(*connection)->CancelJob(job_);
    }
    if (!ended.ok()) return ended.status();
    return absl::FailedPreconditionError(DescribeOutcome(*ended, *session_->types()).summary);
  }
  session_->TryLoadTypes("generate");
  const Json outcome = Json::parse(OutcomeJson(*ended, *session_->types()), nullptr, /*allow_exceptions=*/false);
  if (!outcome.is_object() || !outcome.contains("result") || !outcome["result"].contains("completion") ||
      outcome["result"]["completion"].empty()) {
    return absl::InternalError(StrCat("job ", job_, " has no answer"));
  }
  const Json& result = outcome["result"];
  const Json& completion = result["completion"][0];
  Turn turn;
  turn.text = completion.value("text", "");
  turn.finish = EnumWord(completion.value("finish", ""), "FINISH_");
  turn.prefill_rate = result.value("prefill_tokens_per_second", 0.0);
  turn.decode_rate = result.value("decode_tokens_per_second", 0.0);
  turn.tokens = result.value("tokens", uint64_t{0});
  // A turn that was answered from the store has told nothing.
  if (turn.text.starts_with(told) && turn.text.size() > told.size()) on_text(turn.text.substr(told.size()));
  messages_.emplace_back("assistant", turn.text);
  return turn;
}

}  // namespace editd::client
