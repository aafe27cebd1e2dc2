// Counts how deeply the parser stands, so that no template makes it run out of stack.
#ifndef EDITD_PLUGINS_LIB_JINJA_NESTING_H_
#define EDITD_PLUGINS_LIB_JINJA_NESTING_H_

#include "plugins/lib/jinja/parser.h"

namespace editd::jinja {

class Parser::Nesting {
 public:
  explicit Nesting(Parser* parser) : parser_(parser) {
    if (++parser_->depth_ > kDeepest) parser_->Fail("the template is nested too deeply");
  }
  ~Nesting() { --parser_->depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  static constexpr int kDeepest = 100;
  Parser* const parser_;
};

}  // namespace editd::jinja

#endif  // EDITD_PLUGINS_LIB_JINJA_NESTING_H_
