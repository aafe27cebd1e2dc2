// chat: a conversation with one version, or with two side by side.
#include "client/commands/chat.h"

#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "client/conversation.h"
#include "client/format.h"
#include "client/side_by_side.h"
#include "client/table.h"
#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::client {
namespace {

constexpr size_t kPipeWidth = 100;  // Columns of two answers where there is no terminal.

std::atomic<bool> interrupted = false;

// While it lives, Ctrl-C ends the answer and not the program.
class CatchInterrupt {
 public:
  CatchInterrupt() {
    interrupted = false;
    struct sigaction action = {};
    action.sa_handler = [](int) { interrupted = true; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    ::sigaction(SIGINT, &action, &before_);
  }
  ~CatchInterrupt() { ::sigaction(SIGINT, &before_, nullptr); }

 private:
  struct sigaction before_ = {};
};

// What goes to a terminal is no terminal's command: everything below a blank but newline and tab goes.
void Show(Session* session, std::string_view text) {
  session->Print(Printable(text));
  std::fflush(stdout);
}

std::string Rates(const Turn& turn) {
  return StrCat(Plural(turn.tokens, "token"), ", prefill ", FormatCount(turn.prefill_rate), "/s, decode ",
                FormatCount(turn.decode_rate), "/s", turn.finish == "end" ? "" : StrCat(", ended by ", turn.finish));
}

absl::Status OneTurn(Session* session, std::vector<Conversation>* models, const std::string& message) {
  const CatchInterrupt catch_interrupt;
  // All are asked before the first answer is waited for: where there is room they run beside each other.
  for (Conversation& model : *models) RETURN_IF_ERROR(model.Ask(message));
  const bool alone = models->size() == 1;
  const auto on_text = [&](std::string_view text) {
    if (alone && !session->json) Show(session, text);
  };
  std::vector<absl::StatusOr<Turn>> turns;
  for (Conversation& model : *models) turns.push_back(model.Answer(on_text, &interrupted));
  for (size_t i = 0; i < turns.size(); ++i) {
    if (!turns[i].ok()) {
      if (alone && !session->json) Show(session, "\n");
      // Neither keeps the question, so that both go on from the same conversation.
      for (size_t other = 0; other < turns.size(); ++other) {
        if (turns[other].ok()) (*models)[other].TakeBack();
      }
      return turns[i].status();
    }
    if (!session->json) continue;
    const Turn& turn = *turns[i];
    session->Print(nlohmann::ordered_json{{"model", (*models)[i].model()},
                                          {"text", turn.text},
                                          {"finish", turn.finish},
                                          {"tokens", turn.tokens},
                                          {"prefill_tokens_per_second", turn.prefill_rate},
                                          {"decode_tokens_per_second", turn.decode_rate}}
                       .dump() +
                   "\n");
  }
  if (session->json) return absl::OkStatus();
  if (alone) {
    Show(session, "\n");
    session->Note(StrCat("  (", Rates(*turns[0]), ")\n"));
    return absl::OkStatus();
  }
  const size_t width = session->width() > 0 ? session->width() : kPipeWidth;
  const auto answer = [&](size_t i) { return StrCat((*models)[i].model(), ":\n", turns[i]->text); };
  session->Print(SideBySide(answer(0), answer(1), width));
  session->Note(SideBySide(Rates(*turns[0]), Rates(*turns[1]), width));
  return absl::OkStatus();
}

constexpr std::string_view kHelp =
    "  /new    forget what was said\n  /quit   end (so does Ctrl-D)\n  Ctrl-C while an answer comes ends the answer\n";

absl::StatusOr<int> Chat(Session* session, const std::vector<std::string>& names, const ChatOptions& options) {
  std::vector<Conversation> models;
  for (const std::string& name : names) models.emplace_back(session, name, options);
  const bool person = ::isatty(STDIN_FILENO) == 1 && session->terminal() && !session->json;
  if (person) session->Note("Type a message; /help tells more.\n");
  std::string line;
  for (size_t number = 1;; ++number) {
    if (person) Show(session, "> ");
    if (!std::getline(std::cin, line)) break;
    if (line.ends_with('\r')) line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    if (!IsUtf8(line)) return absl::InvalidArgumentError(StrCat("line ", number, " of the input is not UTF-8"));
    if (person && line[0] == '/') {
      if (line == "/quit" || line == "/exit") break;
      if (line == "/new") {
        for (Conversation& model : models) model.Forget();
      } else {
        session->Note(kHelp);
      }
      continue;
    }
    const absl::Status status = OneTurn(session, &models, line);
    if (status.ok()) continue;
    if (!person) return absl::IsCancelled(status) ? absl::StatusOr<int>(kExitInterrupted) : status;
    session->Note(StrCat(
        absl::IsCancelled(status) ? "the answer was ended; the question is forgotten" : ToStd(status.message()), "\n"));
  }
  if (person) Show(session, "\n");
  return kExitOk;
}

}  // namespace

void AddChatCommand(CLI::App* app, Session* session) {
  CLI::App* const command =
      AddCommand(app, "chat", "Talks to a version, or to two side by side", kModels,
                 "editctl chat smol --temperature 0.7\n  echo 'Why is the sky blue?' | editctl chat smol smol-envi");
  auto names = std::make_shared<std::vector<std::string>>();
  auto options = std::make_shared<ChatOptions>();
  command->add_option("model", *names, "The version; a second one answers beside it")
      ->type_name("REF")
      ->required()
      ->expected(1, 2);
  command->add_option("--system", options->system, "A system message before the conversation")->type_name("TEXT");
  command->add_option("--max-tokens", options->max_tokens, "Tokens of an answer at most")
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--temperature", options->temperature, "0: always the most likely token")->type_name("T");
  command->add_option("--top-k", options->top_k, "Only the k most likely tokens")->type_name("K");
  command->add_option("--top-p", options->top_p, "Only the most likely tokens that reach this probability")
      ->type_name("P");
  command->add_option("--min-p", options->min_p, "Only tokens with this share of the largest probability")
      ->type_name("P");
  command
      ->add_option("--repetition-penalty", options->repetition_penalty, "Above 1: tokens that occurred come less often")
      ->type_name("X");
  command->add_option("--seed", options->seed, "Of the sampling")->type_name("N");
  command->add_option("--stop", options->stops, "An answer ends before this text; may be given several times")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command->add_option("--set", options->variables, "A variable of the chat template: enable_thinking=false")
      ->type_name("NAME=JSON")
      ->allow_extra_args(false);
  command->add_flag("--bf16", options->bf16, "Multiply in bf16: faster, rounded");
  command->callback([=] { session->command = [=] { return Chat(session, *names, *options); }; });
}

}  // namespace editd::client
