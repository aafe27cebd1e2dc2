#include "plugins/host/elf_note.h"

#include <elf.h>

#include <cstring>
#include <optional>
#include <span>

#include "editd/plugin.h"
#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::host {
namespace {

constexpr size_t kMaxProgramHeaders = 256;

absl::Status Malformed(std::string_view what) {
  return absl::InvalidArgumentError(StrCat("a damaged shared object: ", what, "; build or install the plugin again"));
}

// The part [offset, offset + size) of the object; nullopt if it is not wholly inside.
std::optional<std::string_view> Part(std::string_view object, uint64_t offset, uint64_t size) {
  if (offset > object.size() || size > object.size() - offset) return std::nullopt;
  return object.substr(offset, size);
}

// Reads a T at `offset`; the caller has checked that it is inside.
template <typename T>
T At(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

absl::StatusOr<std::vector<Elf64_Phdr>> ProgramHeaders(std::string_view object) {
  if (object.size() < sizeof(Elf64_Ehdr) || std::memcmp(object.data(), ELFMAG, SELFMAG) != 0) {
    return absl::InvalidArgumentError("not a shared object (no ELF header); a plugin is built with editd_plugin()");
  }
  const auto header = At<Elf64_Ehdr>(object, 0);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_DYN) {
    return absl::InvalidArgumentError("not a shared object of a 64-bit little-endian machine");
  }
#if defined(__x86_64__)
  constexpr uint16_t kMachine = EM_X86_64;
#elif defined(__aarch64__)
  constexpr uint16_t kMachine = EM_AARCH64;
#endif
  if (header.e_machine != kMachine) {
    return absl::InvalidArgumentError(
        StrCat("built for another machine (ELF machine ", header.e_machine, ", this one is ", kMachine, ")"));
  }
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > kMaxProgramHeaders) {
    return Malformed("its program headers");
  }
  const auto table = Part(object, header.e_phoff, uint64_t{header.e_phnum} * sizeof(Elf64_Phdr));
  if (!table.has_value()) return Malformed("program headers beyond the file's end");
  std::vector<Elf64_Phdr> out;
  for (size_t i = 0; i < header.e_phnum; ++i) out.push_back(At<Elf64_Phdr>(*table, i * sizeof(Elf64_Phdr)));
  return out;
}

uint64_t RoundUp(uint64_t value, uint64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Calls `found` with the description of each of our notes in a PT_NOTE segment.
template <typename Found>
absl::Status ForEachNote(std::string_view segment, uint64_t alignment, const Found& found) {
  const uint64_t multiple = alignment == 8 ? 8 : 4;
  while (segment.size() >= sizeof(Elf64_Nhdr)) {
    const auto note = At<Elf64_Nhdr>(segment, 0);
    const uint64_t description = RoundUp(sizeof(Elf64_Nhdr) + uint64_t{note.n_namesz}, multiple);
    const auto vendor = Part(segment, sizeof(Elf64_Nhdr), note.n_namesz);
    const auto text = Part(segment, description, note.n_descsz);
    if (!vendor.has_value() || !text.has_value()) return Malformed("a note beyond its segment's end");
    constexpr std::string_view kVendor(EDIT_NOTE_VENDOR, sizeof(EDIT_NOTE_VENDOR));  // With its zero.
    if (*vendor == kVendor && note.n_type == EDIT_NOTE_TYPE) RETURN_IF_ERROR(found(*text));
    segment.remove_prefix(std::min<uint64_t>(segment.size(), RoundUp(description + note.n_descsz, multiple)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PluginNote> ReadPluginNote(std::string_view object) {
  ASSIGN_OR_RETURN(const std::vector<Elf64_Phdr> headers, ProgramHeaders(object));
  std::optional<PluginNote> result;
  for (const Elf64_Phdr& header : headers) {
    if (header.p_type != PT_NOTE) continue;
    const auto segment = Part(object, header.p_offset, header.p_filesz);
    if (!segment.has_value()) return Malformed("a note segment beyond the file's end");
    RETURN_IF_ERROR(ForEachNote(*segment, header.p_align, [&](std::string_view description) -> absl::Status {
      if (result.has_value()) return Malformed("two plugin notes");
      // A later minor may have made it longer.
      if (description.size() < sizeof(edit_note)) return Malformed("a plugin note that is too short");
      const auto note = At<edit_note>(description, 0);
      const size_t length = ::strnlen(note.name, sizeof(note.name));
      const std::string_view name(note.name, length);
      if (name.empty() || length == sizeof(note.name) || !IsUtf8(name))
        return Malformed("a plugin note without a name");
      result = PluginNote{note.abi_major, note.abi_minor, std::string(name)};
      return absl::OkStatus();
    }));
  }
  if (!result.has_value()) {
    return absl::InvalidArgumentError(
        "not a plugin of editd (no note .note.editd); use EDIT_PLUGIN and editd_plugin()");
  }
  return *std::move(result);
}

absl::Status CheckAbi(const PluginNote& note) {
  if (note.abi_major == EDIT_ABI_MAJOR && note.abi_minor <= EDIT_ABI_MINOR) return absl::OkStatus();
  const bool newer = note.abi_major > EDIT_ABI_MAJOR || note.abi_major == EDIT_ABI_MAJOR;
  return absl::FailedPreconditionError(
      StrCat("plugin \"", note.name, "\" is built for ABI ", note.abi_major, ".", note.abi_minor,
             ", this edit-worker has ", EDIT_ABI_MAJOR, ".", EDIT_ABI_MINOR, "; ",
             newer ? "install a newer editd, or build the plugin against this one's headers"
                   : "build the plugin against this editd's headers"));
}

absl::StatusOr<std::vector<std::string>> ReadLibraryFolders(std::string_view object, std::string_view origin) {
  ASSIGN_OR_RETURN(const std::vector<Elf64_Phdr> headers, ProgramHeaders(object));
  // Entries of PT_DYNAMIC give addresses; a PT_LOAD segment says where in the file an address lies.
  const auto from_address = [&](uint64_t address, uint64_t size) -> std::optional<std::string_view> {
    for (const Elf64_Phdr& header : headers) {
      if (header.p_type != PT_LOAD || address < header.p_vaddr) continue;
      const uint64_t within = address - header.p_vaddr;
      if (within > header.p_filesz || size > header.p_filesz - within) continue;
      const auto segment = Part(object, header.p_offset, header.p_filesz);
      if (segment.has_value()) return segment->substr(within, size);
    }
    return std::nullopt;
  };
  std::vector<std::string> out;
  for (const Elf64_Phdr& header : headers) {
    if (header.p_type != PT_DYNAMIC) continue;
    const auto dynamic = Part(object, header.p_offset, header.p_filesz);
    if (!dynamic.has_value()) return Malformed("a dynamic segment beyond the file's end");
    uint64_t strings = 0, strings_size = 0;
    std::vector<uint64_t> paths;
    for (size_t at = 0; at + sizeof(Elf64_Dyn) <= dynamic->size(); at += sizeof(Elf64_Dyn)) {
      const auto entry = At<Elf64_Dyn>(*dynamic, at);
      if (entry.d_tag == DT_NULL) break;
      if (entry.d_tag == DT_STRTAB) strings = entry.d_un.d_ptr;
      if (entry.d_tag == DT_STRSZ) strings_size = entry.d_un.d_val;
      if (entry.d_tag == DT_RUNPATH || entry.d_tag == DT_RPATH) paths.push_back(entry.d_un.d_val);
    }
    if (paths.empty()) continue;
    const auto table = from_address(strings, strings_size);
    if (!table.has_value()) return Malformed("a string table beyond the file's end");
    for (const uint64_t path : paths) {
      if (path >= table->size()) return Malformed("a library path beyond the string table's end");
      std::string_view rest = table->substr(path);
      rest = rest.substr(0, rest.find('\0'));
      while (!rest.empty()) {
        const size_t colon = std::min(rest.find(':'), rest.size());
        std::string folder(rest.substr(0, colon));
        rest.remove_prefix(std::min(colon + 1, rest.size()));
        for (const std::string_view token : {"${ORIGIN}", "$ORIGIN"}) {
          const size_t place = folder.find(token);
          if (place != std::string::npos) folder.replace(place, token.size(), origin);
        }
        if (folder.starts_with('/')) out.push_back(std::move(folder));
      }
    }
  }
  return out;
}

}  // namespace editd::host
