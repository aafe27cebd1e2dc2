// TemplateText: the words that a chat template itself can put into a prompt.
//
// A Jinja template's output is made of the text between its tags, of string literals inside the tags, and of what the
// caller passes in. The first two are found here without running the template, so that their tokens can stay whatever
// conversation it will be given.
#ifndef EDITD_PLUGINS_TRIM_TEMPLATE_TEXT_H_
#define EDITD_PLUGINS_TRIM_TEMPLATE_TEXT_H_

#include <string>
#include <string_view>
#include <vector>

namespace editd::trim {

// The pieces, in order, empty ones left out; escapes in literals (\n, \t, \\, \', \") are resolved. Comments ({# #})
// give nothing. A template that is broken gives what was found before the fault.
std::vector<std::string> TemplateText(std::string_view jinja);

}  // namespace editd::trim

#endif  // EDITD_PLUGINS_TRIM_TEMPLATE_TEXT_H_
