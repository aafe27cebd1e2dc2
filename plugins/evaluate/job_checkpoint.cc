#include "plugins/evaluate/job_checkpoint.h"

#include <utility>

#include "plugins/evaluate/kept.h"
#include "storage/base/strings.h"

namespace editd::evaluate {

JobCheckpoint::JobCheckpoint(Job* job) : job_(job) {
  KeptReader in(job->LoadCheckpoint());
  std::string_view parts[2];
  if (!in.GetBytes(&parts[kTexts]) || !in.GetBytes(&parts[kChoices])) return;
  for (Part part : {kTexts, kChoices}) parts_[part] = parts[part];
}

void JobCheckpoint::Save(Part part, std::string_view bytes) {
  parts_[part] = bytes;
  KeptWriter out;
  for (const std::string& each : parts_) out.PutBytes(each);
  const absl::Status status = job_->SaveCheckpoint(out.bytes());
  if (status.ok() || std::exchange(told_, true)) return;
  job_->Warning(StrCat("what is done cannot be kept for a retry: ", status.message()));
}

}  // namespace editd::evaluate
