// A plugin file's note and library path, read before anything is loaded.
#include "plugins/host/elf_note.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view object(reinterpret_cast<const char*>(data), size);
  const auto note = editd::host::ReadPluginNote(object);
  if (note.ok()) (void)editd::host::CheckAbi(*note);
  (void)editd::host::ReadLibraryFolders(object, "/origin");
  return 0;
}
