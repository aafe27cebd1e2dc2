// mergekit's YAML: what a user hands to editctl merge must never crash it, and what is accepted must be a spec.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "client/mergekit/config.h"
#include "client/spec_file.h"
#include "storage/base/file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const editd::client::PluginTypes* const types = [] {
    auto* const made = new editd::client::PluginTypes;
    const auto descriptors = editd::ReadWholeFile(EDITD_BINARY_DIR "/client/merge.descriptors");
    if (!descriptors.ok() || !made->Add("merge", *descriptors).ok()) std::abort();
    return made;
  }();
  if (size > 16 << 10) return 0;
  editd::client::MergekitOptions options;
  options.output_ref = "out";
  const auto spec =
      editd::client::SpecOfMergekitYaml(std::string_view(reinterpret_cast<const char*>(data), size), "f", options);
  if (spec.ok() && !editd::client::ParseSpec(spec->text, "made", *types).ok()) std::abort();
  return 0;
}
