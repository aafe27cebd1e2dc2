/* A plugin of a minor ABI that this tree has not reached: only its note is read, and it is never loaded. */
#include <stdlib.h>

#include "editd/plugin.h"

#undef EDIT_ABI_MINOR
#define EDIT_ABI_MINOR 99
EDIT_PLUGIN_NOTE("newer_abi");

__attribute__((constructor)) static void loaded(void) { abort(); }

EDIT_PLUGIN_EXPORT const edit_plugin_v1* edit_plugin_entry_v1(void) { return NULL; }
