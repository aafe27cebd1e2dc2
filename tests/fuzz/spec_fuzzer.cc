// Job specs in any form: what a user hands to editctl must never crash it. What is accepted must survive being written
// and read again.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "client/message_json.h"
#include "client/spec_file.h"
#include "client/spec_paths.h"
#include "storage/base/file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const editd::client::PluginTypes* const types = [] {
    auto* const made = new editd::client::PluginTypes;
    const auto descriptors = editd::ReadWholeFile(EDITD_BINARY_DIR "/client/trim.descriptors");
    if (!descriptors.ok() || !made->Add("trim", *descriptors).ok()) std::abort();
    return made;
  }();
  if (size > 64 << 10) return 0;
  const std::string_view content(reinterpret_cast<const char*>(data), size);
  editd::client::PluginOf(content, "f").status().IgnoreError();
  const auto spec = editd::client::ParseSpec(content, "f", *types);
  if (!spec.ok()) return 0;
  editd::client::FindPathUses(*spec, *types).status().IgnoreError();
  editd::client::ToJson(*spec, types);
  const std::string wire = spec->SerializeAsString();
  if (editd::client::FormOf(wire) == editd::client::SpecForm::kBinary &&
      !editd::client::ParseSpec(wire, "f", *types).ok()) {
    std::abort();
  }
  return 0;
}
