#include "plugins/host/elf_note.h"

#include <elf.h>

#include <cstring>

#include "editd/plugin.h"
#include "storage/base/file.h"
#include "storage/base/testing.h"

namespace editd::host {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

void Put(std::string* out, size_t at, const void* data, size_t size) {
  if (out->size() < at + size) out->resize(at + size);
  std::memcpy(out->data() + at, data, size);
}

// A shared object of nothing but notes and a library path: headers at 0, notes at 512, dynamic at 1024, strings at
// 1536.
struct Object {
  std::string bytes = std::string(2048, '\0');
  Elf64_Phdr headers[3] = {};

  explicit Object(uint32_t major = EDIT_ABI_MAJOR, uint32_t minor = EDIT_ABI_MINOR) {
    Elf64_Ehdr header = {};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_DYN;
#if defined(__aarch64__)
    header.e_machine = EM_AARCH64;
#else
    header.e_machine = EM_X86_64;
#endif
    header.e_phoff = sizeof(header);
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 3;
    Put(&bytes, 0, &header, sizeof(header));
    headers[0] = {PT_LOAD, PF_R, 0, 0x10000, 0x10000, 2048, 2048, 4096};
    headers[1] = {PT_NOTE, PF_R, 512, 0x10200, 0x10200, 0, 0, 4};
    headers[2] = {PT_DYNAMIC, PF_R, 1024, 0x10400, 0x10400, 0, 0, 8};
    AddNote("GNU", 3, "whatever");
    edit_note note = {major, minor, "sample"};
    AddNote("editd", 1, std::string(reinterpret_cast<const char*>(&note), sizeof(note)));
  }
  void AddNote(const std::string& vendor, uint32_t type, const std::string& description) {
    size_t at = headers[1].p_offset + headers[1].p_filesz;
    const Elf64_Nhdr note = {static_cast<uint32_t>(vendor.size() + 1), static_cast<uint32_t>(description.size()), type};
    Put(&bytes, at, &note, sizeof(note));
    Put(&bytes, at + sizeof(note), vendor.c_str(), vendor.size() + 1);
    at += (sizeof(note) + vendor.size() + 1 + 3) / 4 * 4;
    Put(&bytes, at, description.data(), description.size());
    at += (description.size() + 3) / 4 * 4;
    headers[1].p_filesz = at - headers[1].p_offset;
  }
  void AddRunPath(const std::string& path) {
    Put(&bytes, 1537, path.c_str(), path.size() + 1);
    const Elf64_Dyn entries[] = {
        {DT_STRTAB, {0x10600}}, {DT_STRSZ, {path.size() + 2}}, {DT_RUNPATH, {1}}, {DT_NULL, {0}}};
    Put(&bytes, 1024, entries, sizeof(entries));
    headers[2].p_filesz = sizeof(entries);
  }
  std::string Finish() {
    Put(&bytes, sizeof(Elf64_Ehdr), headers, sizeof(headers));
    return bytes;
  }
};

TEST(ElfNote, IsFoundAmongOthers) {
  ASSERT_OK_AND_ASSIGN(PluginNote note, ReadPluginNote(Object().Finish()));
  EXPECT_EQ(note.name, "sample");
  EXPECT_EQ(note.abi_major, uint32_t{EDIT_ABI_MAJOR});
}

TEST(ElfNote, ARealPluginHasOne) {
  ASSERT_OK_AND_ASSIGN(std::string object, ReadWholeFile(std::string(EDITD_BINARY_DIR) + "/tests/plugins/noop.so"));
  ASSERT_OK_AND_ASSIGN(PluginNote note, ReadPluginNote(object));
  EXPECT_EQ(note.name, "noop");
  EXPECT_OK(CheckAbi(note));
}

TEST(ElfNote, TwoAreRefused) {
  Object object;
  edit_note note = {1, 0, "other"};
  object.AddNote("editd", 1, std::string(reinterpret_cast<const char*>(&note), sizeof(note)));
  EXPECT_THAT(ReadPluginNote(object.Finish()), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("two")));
}

TEST(ElfNote, NoPartOfAFileIsBelieved) {
  Object object;
  const std::string whole = object.Finish();
  for (size_t size = 0; size < object.headers[1].p_offset + object.headers[1].p_filesz; ++size)
    EXPECT_FALSE(ReadPluginNote(whole.substr(0, size)).ok()) << size;
  Object beyond;
  beyond.headers[1].p_offset = ~0ull - 10;
  EXPECT_THAT(ReadPluginNote(beyond.Finish()), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("beyond")));
  Object executable;
  executable.bytes[16] = ET_EXEC;
  EXPECT_FALSE(ReadPluginNote(executable.Finish()).ok());
  Object other_machine;
  other_machine.bytes[18] = EM_386;
  EXPECT_THAT(ReadPluginNote(other_machine.Finish()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("another machine")));
}

TEST(ElfNote, AbiErrorsNameBothVersionsAndWhatToDo) {
  const auto check = [](uint32_t major, uint32_t minor) { return CheckAbi({major, minor, "sample"}); };
  EXPECT_OK(check(EDIT_ABI_MAJOR, EDIT_ABI_MINOR));
  EXPECT_THAT(check(EDIT_ABI_MAJOR + 1, 0),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("ABI 2.0"), HasSubstr("has 1."), HasSubstr("install a newer editd"))));
  EXPECT_FALSE(check(EDIT_ABI_MAJOR, EDIT_ABI_MINOR + 1).ok());
  EXPECT_THAT(check(0, 9), StatusIs(absl::StatusCode::kFailedPrecondition,
                                    AllOf(HasSubstr("ABI 0.9"), HasSubstr("build the plugin against this"))));
}

TEST(LibraryFolders, AreTheRunPathWithItsOrigin) {
  Object object;
  object.AddRunPath("/opt/torch/lib:$ORIGIN/../x:relative");
  EXPECT_THAT(*ReadLibraryFolders(object.Finish(), "/a/b"), ElementsAre("/opt/torch/lib", "/a/b/../x"));
  EXPECT_THAT(*ReadLibraryFolders(Object().Finish(), "/a/b"), IsEmpty());
  object.headers[2].p_filesz = ~0ull;
  EXPECT_FALSE(ReadLibraryFolders(object.Finish(), "/").ok());
}

}  // namespace
}  // namespace editd::host
