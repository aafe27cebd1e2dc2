// Conversation: turns with one model, each a job of the plugin generate that has all turns so far as its input.
//
// A turn is a job like any other: it is in the queue, it can be cancelled, and asked again with the same seed it is
// answered from the store. The model is loaded anew for each, which takes a fraction of a second for the small models
// that are tried out here; in return nothing holds memory between turns, and a daemon may restart in between.
//
// Thread-compatible.
#ifndef EDITD_CLIENT_CONVERSATION_H_
#define EDITD_CLIENT_CONVERSATION_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/session.h"
#include "storage/base/status.h"

namespace editd::client {

// How answers are made; what is empty or 0 is the plugin's own.
struct ChatOptions {
  std::string system;
  uint64_t max_tokens = 512;
  double temperature = 0, top_p = 0, min_p = 0, repetition_penalty = 0;
  uint64_t top_k = 0, seed = 0;
  std::vector<std::string> stops;
  std::vector<std::string> variables;  // NAME=JSON
  bool bf16 = false;
};

// What a turn gave.
struct Turn {
  std::string text;
  std::string finish;  // "end", "stop", "max tokens", "context"
  double prefill_rate = 0, decode_rate = 0;
  uint64_t tokens = 0;
};

class Conversation {
 public:
  Conversation(Session* session, std::string model, const ChatOptions& options)
      : session_(session), model_(std::move(model)), options_(options) {}

  // Submits a user's message; the answer is waited for with Answer.
  absl::Status Ask(std::string_view message);
  // `on_text` gets the answer while it grows; CANCELLED if `*stop` turned true, then the job was cancelled as well. The
  // answer, or nothing if there was an error, becomes a part of the conversation.
  absl::StatusOr<Turn> Answer(const std::function<void(std::string_view)>& on_text, const std::atomic<bool>* stop);
  // Takes back the last question and its answer.
  void TakeBack() { messages_.resize(messages_.size() - std::min<size_t>(2, messages_.size())); }
  void Forget() { messages_.clear(); }

  const std::string& model() const { return model_; }

 private:
  Session* const session_;
  const std::string model_;
  const ChatOptions& options_;
  std::vector<std::pair<std::string, std::string>> messages_;  // Role, content.
  uint64_t job_ = 0;
};

}  // namespace editd::client

#endif  // EDITD_CLIENT_CONVERSATION_H_
