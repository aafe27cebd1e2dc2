// completion, version. `__complete`, which the shell calls, is answered in main.
#include "client/completion.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "client/commands/commands.h"
#include "storage/base/strings.h"

namespace editd::client {

void AddCompletionCommands(CLI::App* app, Session* session) {
  {
    auto shell = std::make_shared<std::string>();
    CLI::App* const command = AddCommand(app, "completion", "Print the completion script for a shell", kStore,
                                         "source <(editctl completion bash)");
    command->add_option("shell", *shell, "bash")->type_name("SHELL")->required()->check(CLI::IsMember({"bash"}));
    command->callback([session, shell] {  // The option fills `shell`, so it must live as long as the command.
      session->command = [session]() -> absl::StatusOr<int> {
        session->Print(BashCompletion());
        return kExitOk;
      };
    });
  }
  {
    CLI::App* const command = AddCommand(app, "version", "Print the version of editctl", kStore, "editctl version");
    command->callback([=] {
      session->command = [=]() -> absl::StatusOr<int> {
        session->Print(session->json ? StrCat("{\"version\":\"", EDITD_VERSION, "\"}\n")
                                     : StrCat("editctl ", EDITD_VERSION, "\n"));
        return kExitOk;
      };
    });
  }
}

}  // namespace editd::client
