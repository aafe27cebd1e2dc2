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

// `text 0 "piece"`: how the plugin tells a growing answer.
std::string PieceOf(const v1::Event& event) {
  constexpr std::string_view kMark = "text 0 ";
  if (!event.has_log() || event.log().level() != v1::LogLine::LEVEL_DEBUG || !event.log().text().starts_with(kMark))
    return "";
  const Json piece = Json::parse(event.log().text().substr(kMark.size()), nullptr, /*allow_exceptions=*/false);
  return piece.is_string() ? piece.get<std::string>() : "";
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
  std::string told;
  WatchOptions watch;
  watch.socket = paths.socket;
  watch.job = job_;
  watch.stop = stop;
  watch.on_event = [&](const v1::Event& event) {
    const std::string piece = PieceOf(event);
    if (piece.empty()) return;
    told += piece;
    on_text(piece);
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
