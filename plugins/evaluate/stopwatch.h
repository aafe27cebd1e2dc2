// Seconds since it was made.
#ifndef EDITD_PLUGINS_EVALUATE_STOPWATCH_H_
#define EDITD_PLUGINS_EVALUATE_STOPWATCH_H_

#include <chrono>

namespace editd::evaluate {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count(); }

 private:
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_STOPWATCH_H_
