#include "storage/refs.h"

#include <algorithm>

#include "storage/base/strings.h"
#include "storage/store.h"
#include "storage/times.h"

namespace editd::storage {
namespace {

// Table reflog's key: name, a zero byte, the generation.
std::string LogPrefix(std::string_view name) { return std::string(name) + '\0'; }

bool IsAlphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

bool IsPlainName(std::string_view name) {
  const auto allowed = [](char c) { return IsAlphanumeric(c) || c == '.' || c == '_' || c == '/' || c == '-'; };
  return !name.empty() && IsAlphanumeric(name[0]) && std::all_of(name.begin(), name.end(), allowed);
}

bool IsGeneration(std::string_view tag) {
  return tag.size() > 1 && tag[0] == 'v' && tag.find_first_not_of("0123456789", 1) == std::string_view::npos;
}

std::string Printed(const std::string& version) { return version.empty() ? "nothing" : version; }

}  // namespace

absl::Status Refs::Load() {
  return catalogue_->Scan(Table::kRefs, "", "",
                          [this](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
                            RETURN_IF_ERROR(ParseRow(Table::kRefs, key, value, &refs_[std::string(key)]));
                            return true;
                          });
}

absl::Status Refs::CheckName(std::string_view name) {
  const size_t at = name.find('@');
  const std::string_view tag = at == std::string_view::npos ? "" : name.substr(at + 1);
  if (name.size() > 128 || !IsPlainName(name.substr(0, at)) || (at != std::string_view::npos && !IsPlainName(tag))) {
    return absl::InvalidArgumentError(
        StrCat("\"", name.substr(0, 140),
               "\" is no name for a ref: at most 128 letters, digits "
               "and . _ / -, beginning with a letter or digit; a tag may follow after one @"));
  }
  if (!IsGeneration(tag)) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("\"", name, "\" is no name for a ref: @", tag, " stands for a move of \"",
                                           name.substr(0, at), "\"; choose another tag"));
}

const editd::v1::Ref* Refs::Find(std::string_view name) const {
  const auto found = refs_.find(name);
  return found == refs_.end() || found->second.version().empty() ? nullptr : &found->second;
}

std::vector<editd::v1::Ref> Refs::List() const {
  std::vector<editd::v1::Ref> list;
  for (const auto& [name, ref] : refs_) {
    if (!ref.version().empty()) list.push_back(ref);
  }
  return list;
}

std::vector<std::string> Refs::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, ref] : refs_) {
    if (!ref.version().empty()) names.push_back(name);
  }
  return names;
}

size_t Refs::size() const {
  return static_cast<size_t>(
      std::count_if(refs_.begin(), refs_.end(), [](const auto& entry) { return !entry.second.version().empty(); }));
}

absl::StatusOr<Id> Refs::AtGeneration(std::string_view name, uint64_t generation) const {
  editd::v1::RefMove move;
  ASSIGN_OR_RETURN(const bool found, catalogue_->Get(Table::kReflog, LogPrefix(name) + BigEndian(generation), &move));
  const auto ref = refs_.find(name);
  if (!found && ref != refs_.end()) {
    return absl::NotFoundError(
        StrCat("\"", name, "\" has no move ", generation, "; its last is ", ref->second.generation()));
  }
  if (!found) return absl::NotFoundError(StrCat("no ref named \"", name, "\""));
  if (move.to().empty())
    return absl::NotFoundError(StrCat("\"", name, "@v", generation, "\": this move deleted the ref"));
  return Id::FromHex(move.to());
}

absl::StatusOr<std::vector<editd::v1::RefMove>> Refs::Log(std::string_view name) const {
  std::vector<editd::v1::RefMove> moves;
  const std::string prefix = name.empty() ? "" : LogPrefix(name);
  RETURN_IF_ERROR(catalogue_->Scan(Table::kReflog, prefix, "",
                                   [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
                                     RETURN_IF_ERROR(ParseRow(Table::kReflog, key, value, &moves.emplace_back()));
                                     return true;
                                   }));
  std::stable_sort(moves.begin(), moves.end(), [](const auto& a, const auto& b) {
    const absl::Time time_a = ToTime(a.time()), time_b = ToTime(b.time());
    return time_a != time_b ? time_a > time_b : a.generation() > b.generation();
  });
  return moves;
}

absl::StatusOr<editd::v1::Ref> Refs::Prepare(std::string_view name, std::optional<Id> expected, const Id& next,
                                             const MoveCause& cause, absl::Time time, Catalogue::Batch* batch) const {
  RETURN_IF_ERROR(CheckName(name));
  const auto found = refs_.find(name);
  editd::v1::Ref ref;
  if (found != refs_.end()) ref = found->second;
  if (expected.has_value()) {
    const std::string wanted = expected->empty() ? "" : expected->Hex();
    if (ref.version() != wanted) {
      return absl::AbortedError(StrCat("\"", name, "\" points at ", Printed(ref.version()), ", not at ",
                                       Printed(wanted), "; somebody else moved it"));
    }
  }
  if (next.empty() && ref.version().empty()) return absl::NotFoundError(StrCat("no ref named \"", name, "\""));
  editd::v1::RefMove move;
  move.set_name(std::string(name));
  move.set_from(ref.version());
  move.set_to(next.empty() ? "" : next.Hex());
  move.set_generation(ref.generation() + 1);
  *move.mutable_time() = ToTimestamp(time);
  move.set_user(cause.user);
  move.set_job(cause.job);
  move.set_message(cause.message);
  ref.set_name(std::string(name));
  ref.set_version(move.to());
  ref.set_generation(move.generation());
  *ref.mutable_moved() = move.time();
  batch->Put(Table::kRefs, name, ref);
  batch->Put(Table::kReflog, LogPrefix(name) + BigEndian(move.generation()), move);
  return ref;
}

}  // namespace editd::storage
