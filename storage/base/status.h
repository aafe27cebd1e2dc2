// Status macros: absl::Status and StatusOr carried up without noise.
#ifndef EDITD_STORAGE_BASE_STATUS_H_
#define EDITD_STORAGE_BASE_STATUS_H_

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace editd {

// FAILED_PRECONDITION, NOT_FOUND, RESOURCE_EXHAUSTED (no space), ... as errno says: "open packs/ab/cd: no space left".
absl::Status ErrnoStatus(int error, std::string_view what);

// The same code, with `where` and ": " before the message.
absl::Status Annotate(const absl::Status& status, std::string_view where);

}  // namespace editd

#define EDITD_CONCAT_INNER(a, b) a##b
#define EDITD_CONCAT(a, b) EDITD_CONCAT_INNER(a, b)

// Returns the status of `expression` from the enclosing function if it is not OK.
#define RETURN_IF_ERROR(expression)              \
  do {                                           \
    absl::Status editd_status = (expression);    \
    if (!editd_status.ok()) return editd_status; \
  } while (false)

// Assigns the value of a StatusOr to `target` (which may be a declaration), or returns its status.
#define ASSIGN_OR_RETURN(target, expression) \
  ASSIGN_OR_RETURN_INNER(EDITD_CONCAT(editd_status_or_, __LINE__), target, expression)
#define ASSIGN_OR_RETURN_INNER(status_or, target, expression) \
  auto status_or = (expression);                              \
  if (!status_or.ok()) return std::move(status_or).status();  \
  target = *std::move(status_or)

#endif  // EDITD_STORAGE_BASE_STATUS_H_
