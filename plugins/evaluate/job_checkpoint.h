// A job's checkpoint, a part for each measurement that goes on from what it has done: u64 size and bytes of each.
//
// Thread-compatible.
#ifndef EDITD_PLUGINS_EVALUATE_JOB_CHECKPOINT_H_
#define EDITD_PLUGINS_EVALUATE_JOB_CHECKPOINT_H_

#include <editd/plugin.hpp>
#include <string>
#include <string_view>

namespace editd::evaluate {

class JobCheckpoint {
 public:
  enum Part { kTexts, kChoices };

  explicit JobCheckpoint(Job* job);  // Not owned; must outlive this.

  // Of an earlier attempt, or what was saved last; empty: nothing. Valid until the part is saved.
  std::string_view part(Part part) const { return parts_[part]; }
  // Keeps the other part as it is. The job's log tells, once, if nothing can be kept.
  void Save(Part part, std::string_view bytes);

 private:
  Job* const job_;
  std::string parts_[2];
  bool told_ = false;
};

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_JOB_CHECKPOINT_H_
