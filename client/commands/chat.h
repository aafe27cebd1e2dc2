// The command chat; commands.h has the others.
#ifndef EDITD_CLIENT_COMMANDS_CHAT_H_
#define EDITD_CLIENT_COMMANDS_CHAT_H_

#include "client/commands/commands.h"

namespace editd::client {

void AddChatCommand(CLI::App* app, Session* session);

}  // namespace editd::client

#endif  // EDITD_CLIENT_COMMANDS_CHAT_H_
