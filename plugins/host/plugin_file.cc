#include "plugins/host/plugin_file.h"

#include <dlfcn.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>

#include "plugins/host/elf_note.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"
#include "storage/base/tree_hash.h"

namespace editd::host {
namespace {

absl::Status CheckTable(const edit_plugin_v1* table, const PluginNote& note) {
  constexpr size_t kFirst = offsetof(edit_plugin_v1, run) + sizeof(table->run);  // What ABI 1.0 has.
  if (table == nullptr || table->struct_size < kFirst) {
    return absl::InvalidArgumentError(StrCat("plugin \"", note.name, "\" has a table that is too short"));
  }
  const char* const texts[] = {table->name,      table->version,     table->summary,
                               table->spec_type, table->result_type, table->example};
  for (const char* text : texts) {
    if (text == nullptr) return absl::InvalidArgumentError(StrCat("plugin \"", note.name, "\" leaves a text null"));
  }
  if (table->descriptors == nullptr || table->check == nullptr || table->run == nullptr) {
    return absl::InvalidArgumentError(StrCat("plugin \"", note.name, "\" leaves check, run or descriptors null"));
  }
  if (table->abi_major != note.abi_major || table->abi_minor != note.abi_minor || note.name != table->name) {
    return absl::InvalidArgumentError(StrCat("plugin \"", note.name, "\" says something else in its table (\"",
                                             table->name, "\", ABI ", table->abi_major, ".", table->abi_minor, ")"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<const edit_plugin_v1*> LoadPlugin(const std::string& path, const std::string& hash) {
  PluginNote note;
  {
    ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
    if (!hash.empty()) {
      const std::string found = Sha256::Of(file.view()).Hex();
      if (found != hash) {
        return absl::FailedPreconditionError(
            StrCat(path, " has changed: its SHA-256 is ", found, ", the job is for ", hash, "; submit the job again"));
      }
    }
    absl::StatusOr<PluginNote> read = ReadPluginNote(file.view());
    if (!read.ok()) return Annotate(read.status(), path);
    note = *std::move(read);
  }
  if (absl::Status abi = CheckAbi(note); !abi.ok()) return Annotate(abi, path);
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = ::dlerror();
    return absl::FailedPreconditionError(StrCat("cannot be loaded: ", why == nullptr ? path : why));
  }
  const auto entry = reinterpret_cast<edit_plugin_entry>(::dlsym(handle, EDIT_PLUGIN_ENTRY));
  if (entry == nullptr) return absl::InvalidArgumentError(StrCat(path, ": exports no ", EDIT_PLUGIN_ENTRY));
  const edit_plugin_v1* table = entry();
  RETURN_IF_ERROR(CheckTable(table, note));
  return table;
}

std::string DescribePlugin(const edit_plugin_v1& plugin) {
  using google::protobuf::internal::WireFormatLite;
  std::string out;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  const auto text = [&coded](int field, const std::string& value) { WireFormatLite::WriteBytes(field, value, &coded); };
  text(1, plugin.name);
  text(2, plugin.version);
  text(5, plugin.spec_type);
  text(6, plugin.result_type);
  text(7, std::string(static_cast<const char*>(plugin.descriptors), plugin.descriptors_size));
  text(8, plugin.summary);
  text(9, plugin.example);
  WireFormatLite::WriteBool(10, (plugin.flags & EDIT_PLUGIN_MAKES_VERSION) != 0, &coded);
  WireFormatLite::WriteUInt32(11, plugin.min_inputs, &coded);
  WireFormatLite::WriteUInt32(12, plugin.max_inputs, &coded);
  coded.Trim();
  return out;
}

}  // namespace editd::host
