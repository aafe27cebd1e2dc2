#include "client/message_json.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "client/outcome.h"
#include "editd/v1/job.pb.h"
#include "editd/v1/service.pb.h"
#include "storage/base/file.h"
#include "storage/base/testing.h"

namespace editd::client {
namespace {

using Json = nlohmann::json;

v1::Job SomeJob() {
  v1::Job job;
  job.set_id(1234567890123456789u);
  job.set_state(v1::JOB_STATE_SUCCEEDED);
  job.mutable_spec()->mutable_output()->set_ref("smol\n\"vi\"");
  (*job.mutable_spec()->mutable_labels())["b"] = "2";
  (*job.mutable_spec()->mutable_labels())["a"] = "1";
  job.mutable_submitted()->set_seconds(1'700'000'000);
  job.mutable_submitted()->set_nanos(5'000'000);
  job.add_attempts()->set_exit_status(-9);
  job.set_output_version("41f0");
  return job;
}

TEST(ToJson, ReadsBackAsProtobufJson) {
  const v1::Job job = SomeJob();
  const std::string json = ToJson(job, nullptr);
  EXPECT_EQ(json.find('\n'), std::string::npos);
  v1::Job back;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json, &back).ok()) << json;
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(job, back)) << json;
}

TEST(ToJson, HasProtoNamesNumbersAndDefaults) {
  const Json json = Json::parse(ToJson(SomeJob(), nullptr));
  EXPECT_EQ(json["id"], 1234567890123456789u);
  EXPECT_EQ(json["state"], "JOB_STATE_SUCCEEDED");
  EXPECT_EQ(json["from_recipe"], false);
  EXPECT_EQ(json["input_versions"], Json::array());
  EXPECT_EQ(json["submitted"], "2023-11-14T22:13:20.005Z");
  EXPECT_FALSE(json.contains("ended"));
  EXPECT_EQ(json["spec"]["labels"]["a"], "1");
}

TEST(ToJson, EventsHaveOnlyTheirKind) {
  v1::Event event;
  event.mutable_metric()->set_value(std::numeric_limits<double>::infinity());
  const Json json = Json::parse(ToJson(event, nullptr));
  EXPECT_EQ(json["metric"]["value"], "Infinity");
  EXPECT_FALSE(json.contains("log"));
}

TEST(ToJson, AnyNeedsThePluginsTypes) {
  PluginTypes types;
  ASSERT_OK_AND_ASSIGN(const std::string descriptors, ReadWholeFile(EDITD_BINARY_DIR "/client/trim.descriptors"));
  ASSERT_OK(types.Add("trim", descriptors));
  v1::Job job = SomeJob();
  job.mutable_result()->set_type_url("type.googleapis.com/editd.plugins.trim.v1.TrimResult");
  job.mutable_result()->set_value("\x08\x05");  // vocab_before: 5
  const Json known = Json::parse(ToJson(job, &types))["result"];
  EXPECT_EQ(known["@type"], "type.googleapis.com/editd.plugins.trim.v1.TrimResult");
  EXPECT_EQ(known["vocab_before"], 5);
  const Json unknown = Json::parse(ToJson(job, nullptr))["result"];
  EXPECT_EQ(unknown["value"], "CAU=");
  const Json outcome = Json::parse(OutcomeJson(job, types));
  EXPECT_EQ(outcome["job"], 1234567890123456789u);
  EXPECT_EQ(outcome["version"], "41f0");
  EXPECT_EQ(outcome["result"]["vocab_before"], 5);
}

TEST(JsonString, BrokenUtf8BecomesReplacement) { EXPECT_EQ(JsonString("a\xff\"\n"), "\"a\uFFFD\\\"\\n\""); }

TEST(JsonNumber, ReadsBackTheSame) {
  for (const double value : {0.1, 1e300, 5e-324, -0.0, 1.0 / 3})
    EXPECT_EQ(Json::parse(JsonNumber(value)).get<double>(), value);
  EXPECT_EQ(JsonNumber(NAN), "\"NaN\"");
}

}  // namespace
}  // namespace editd::client
