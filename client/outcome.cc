#include "client/outcome.h"

#include <google/protobuf/message.h>

#include "absl/strings/str_split.h"
#include "client/format.h"
#include "client/message_json.h"
#include "client/table.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

namespace pb = ::google::protobuf;

constexpr int kShownElements = 20;

// Long lists (a number for each document) are for scripts.
void DropLongLists(pb::Message* message) {
  const pb::Reflection& reflection = *message->GetReflection();
  std::vector<const pb::FieldDescriptor*> fields;
  reflection.ListFields(*message, &fields);
  for (const pb::FieldDescriptor* field : fields) {
    if (field->is_repeated() && reflection.FieldSize(*message, field) > kShownElements) {
      reflection.ClearField(message, field);
    } else if (field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE && !field->is_map()) {
      for (int i = 0; i < (field->is_repeated() ? reflection.FieldSize(*message, field) : 1); ++i) {
        DropLongLists(field->is_repeated() ? reflection.MutableRepeatedMessage(message, field, i)
                                           : reflection.MutableMessage(message, field));
      }
    }
  }
}

std::string ResultText(const v1::Job& job, const PluginTypes& types) {
  if (job.result().type_url().empty()) return "";
  const auto result = types.Unpack(job.result());
  if (!result.ok()) return "";
  DropLongLists(result->get());
  std::string text;
  for (const absl::string_view line : absl::StrSplit(types.ToText(**result), '\n', absl::SkipEmpty())) {
    StrAppend(&text, "  ", line, "\n");
  }
  return Printable(text);
}

std::string LastMessage(const v1::Job& job) {
  for (auto attempt = job.attempts().rbegin(); attempt != job.attempts().rend(); ++attempt) {
    if (!attempt->message().empty()) return attempt->message();
  }
  return job.reason_text();
}

}  // namespace

double RunSeconds(const v1::Job& job) {
  return job.attempts().empty() ? 0 : SecondsBetween(job.attempts(0).started(), job.ended());
}

Outcome DescribeOutcome(const v1::Job& job, const PluginTypes& types) {
  Outcome outcome;
  const std::string& ref = job.spec().output().ref();
  switch (job.state()) {
    case v1::JOB_STATE_SUCCEEDED:
      outcome.result = ResultText(job, types);
      outcome.summary = StrCat(
          "job ", job.id(), " succeeded",
          job.from_recipe() ? ": the same edit was made before" : StrCat(" in ", FormatSeconds(RunSeconds(job))));
      if (!job.output_version().empty()) {
        StrAppend(&outcome.summary, job.from_recipe() ? "; " : ": ", ref.empty() ? "the version" : ref, " is ",
                  ShortId(job.output_version()));
        if (!job.from_recipe()) {
          StrAppend(&outcome.summary, ", ", FormatBytes(static_cast<double>(job.bytes_written())), " new");
        }
      }
      outcome.next = job.output_version().empty()
                         ? StrCat("editctl logs ", job.id())
                         : StrCat("editctl show ", ref.empty() ? ShortId(job.output_version()) : ref);
      break;
    case v1::JOB_STATE_FAILED:
      outcome.summary = StrCat("job ", job.id(), " failed: ", Printable(LastMessage(job)));
      outcome.next = StrCat("editctl logs ", job.id(), ", or editctl retry ", job.id());
      break;
    case v1::JOB_STATE_CANCELLED:
      outcome.summary = StrCat("job ", job.id(), " was cancelled");
      outcome.next = StrCat("editctl retry ", job.id());
      break;
    default:
      outcome.summary = StrCat("job ", job.id(), " is ", EnumWord(v1::JobState_Name(job.state()), "JOB_STATE_"));
      outcome.next = StrCat("editctl watch ", job.id());
  }
  return outcome;
}

std::string OutcomeJson(const v1::Job& job, const PluginTypes& types) {
  uint64_t peak = 0;
  for (const v1::Attempt& attempt : job.attempts()) peak = std::max<uint64_t>(peak, attempt.peak_rss_bytes());
  std::string json = StrCat("{\"job\":", job.id(), ",\"state\":\"", v1::JobState_Name(job.state()), "\"");
  StrAppend(&json, ",\"ref\":", JsonString(job.spec().output().ref()),
            ",\"version\":", JsonString(job.output_version()));
  StrAppend(&json, ",\"from_recipe\":", job.from_recipe() ? "true" : "false",
            ",\"seconds\":", JsonNumber(RunSeconds(job)));
  StrAppend(&json, ",\"bytes_written\":", job.bytes_written(), ",\"peak_rss_bytes\":", peak);
  if (job.state() != v1::JOB_STATE_SUCCEEDED) StrAppend(&json, ",\"message\":", JsonString(LastMessage(job)));
  if (!job.result().type_url().empty()) StrAppend(&json, ",\"result\":", ToJson(job.result(), &types));
  return json + "}";
}

}  // namespace editd::client
