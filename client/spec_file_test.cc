#include "client/spec_file.h"

#include <google/protobuf/util/message_differencer.h>

#include "storage/base/file.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kText[] = R"(# proto-file: editd/v1/job.proto
# proto-message: editd.v1.JobSpec
plugin: "trim"
input { model: "smol" }
output { ref: "smol-envi" }
params {
  [type.googleapis.com/editd.plugins.trim.v1.TrimSpec] {
    keep { corpus { path: "envi.txt" min_count: 2 } script: "Latin" }
    invalid_utf8: INVALID_UTF8_REPLACE
  }
}
)";

constexpr char kJson[] = R"({
  "plugin": "trim",
  "input": [{"model": "smol"}],
  "output": {"ref": "smol-envi"},
  "params": {
    "@type": "type.googleapis.com/editd.plugins.trim.v1.TrimSpec",
    "keep": {"corpus": [{"path": "envi.txt", "minCount": 2}], "script": ["Latin"]},
    "invalid_utf8": "INVALID_UTF8_REPLACE"
  }
})";

class SpecFile : public ::testing::Test {
 protected:
  SpecFile() {
    // The messages of a plugin that this program is not built with.
    const auto descriptors = ReadWholeFile(EDITD_BINARY_DIR "/client/trim.descriptors");
    EXPECT_OK(descriptors);
    EXPECT_OK(types_.Add("trim", *descriptors));
  }
  absl::StatusOr<v1::JobSpec> Parse(std::string_view content) { return ParseSpec(content, "t.pb", types_); }
  // The text with one piece replaced.
  static std::string Changed(std::string text, const std::string& from, const std::string& to) {
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }
  // What is said of a broken spec.
  std::string Said(std::string_view content) {
    const auto spec = Parse(content);
    EXPECT_THAT(spec, StatusIs(absl::StatusCode::kInvalidArgument, testing::_));
    return std::string(spec.status().message());
  }

  PluginTypes types_;
};

TEST_F(SpecFile, TextBinaryAndJsonAreTheSame) {
  ASSERT_OK_AND_ASSIGN(const v1::JobSpec text, Parse(kText));
  ASSERT_OK_AND_ASSIGN(const v1::JobSpec json, Parse(kJson));
  ASSERT_OK_AND_ASSIGN(const v1::JobSpec binary, Parse(text.SerializeAsString()));
  EXPECT_EQ(text.plugin(), "trim");
  ASSERT_OK_AND_ASSIGN(const auto params, types_.Unpack(text.params()));
  EXPECT_THAT(types_.ToText(*params), AllOf(HasSubstr("path: \"envi.txt\""), HasSubstr("min_count: 2")));
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(text, binary));
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(text, json));
}

TEST_F(SpecFile, FormIsToldByContent) {
  EXPECT_EQ(FormOf(kText), SpecForm::kText);
  EXPECT_EQ(FormOf(kJson), SpecForm::kJson);
  EXPECT_EQ(FormOf("\n\t {}"), SpecForm::kJson);
  EXPECT_EQ(FormOf("\x0a\x04trim"), SpecForm::kBinary);
  EXPECT_EQ(FormOf("plugin: \"trim\"  # giữ tiếng Việt\n"), SpecForm::kText);
  EXPECT_EQ(FormOf("plugin: \"\xff\""), SpecForm::kBinary);
}

TEST_F(SpecFile, PluginIsFoundBeforeItsTypesAreKnown) {
  ASSERT_OK_AND_ASSIGN(const v1::JobSpec spec, Parse(kText));
  for (const std::string& content : {std::string(kText), std::string(kJson), spec.SerializeAsString()}) {
    ASSERT_OK_AND_ASSIGN(const std::string plugin, PluginOf(content, "t.pb"));
    EXPECT_EQ(plugin, "trim");
  }
  // Not one in a message, in a comment or in a string.
  ASSERT_OK_AND_ASSIGN(
      const std::string plugin,
      PluginOf("# plugin: \"a\"\nlabels { key: \"plugin: \\\"b\\\"\" }\nparams { [x/y] { plugin: \"c\" } }\n"
               "plugin : 'd' \"e\"",
               "t.pb"));
  EXPECT_EQ(plugin, "d");
  EXPECT_THAT(PluginOf("input { model: \"x\" }", "t.pb"),
              StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("plugin"), HasSubstr("editctl plugins"))));
}

TEST_F(SpecFile, UnknownFieldInTextHasItsPlaceAndTheNearestName) {
  EXPECT_EQ(Said(Changed(kText, "output", "outptu")),
            "t.pb:5:1: JobSpec has no field \"outptu\"; did you mean \"output\"?");
  EXPECT_EQ(Said(Changed(kText, "min_count", "min_cuont")),
            "t.pb:8:38: Corpus has no field \"min_cuont\"; did you mean \"min_count\"?");
}

TEST_F(SpecFile, UnknownFieldInJsonHasItsPathAndTheNearestName) {
  EXPECT_EQ(Said(Changed(kJson, "\"output\"", "\"outptu\"")),
            "t.pb:4:3: JobSpec has no field \"outptu\"; did you mean \"output\"?");
  EXPECT_EQ(Said(Changed(kJson, "minCount", "minCuont")),
            "t.pb:7:46: params.keep.corpus[0]: Corpus has no field \"minCuont\"; did you mean \"min_count\"?");
}

TEST_F(SpecFile, UnknownFieldInBinaryHasItsPathAndNumber) {
  ASSERT_OK_AND_ASSIGN(v1::JobSpec spec, Parse(kText));
  spec.mutable_output()->GetReflection()->MutableUnknownFields(spec.mutable_output())->AddVarint(77, 1);
  spec.mutable_params()->mutable_value()->append("\xb8\x06\x01", 3);  // Field 103, 1.
  EXPECT_EQ(
      Said(spec.SerializeAsString()),
      "t.pb: output: Output has no field with the number 77\nt.pb: params: TrimSpec has no field with the number 103");
}

TEST_F(SpecFile, WrongTypeAndWrongValueHaveTheirPlace) {
  EXPECT_THAT(Said(Changed(kText, "min_count: 2", "min_count: \"2\"")),
              StartsWith("t.pb:8:49: min_count: expected integer"));
  EXPECT_THAT(Said(Changed(kJson, "\"minCount\": 2", "\"minCount\": \"two\"")), HasSubstr("two"));
  EXPECT_THAT(Said(Changed(kJson, "\"minCount\": 2", "\"minCount\": 1e999")), HasSubstr("larger than any type"));
}

TEST_F(SpecFile, UnknownValueOfAnEnumerationHasTheNearest) {
  const std::string meant = "is none of its values; did you mean \"INVALID_UTF8_REPLACE\"?";
  EXPECT_EQ(Said(Changed(kText, "INVALID_UTF8_REPLACE", "INVALID_UTF8_REPLCAE")),
            "t.pb:9:19: invalid_utf8: \"INVALID_UTF8_REPLCAE\" " + meant);
  EXPECT_EQ(Said(Changed(kText, "INVALID_UTF8_REPLACE", "replace")), "t.pb:9:19: invalid_utf8: \"replace\" " + meant);
  EXPECT_THAT(Said(Changed(kText, "INVALID_UTF8_REPLACE", "NONSENSE")),
              AllOf(StartsWith("t.pb:9:19: invalid_utf8: \"NONSENSE\" is none of its values; they are "),
                    HasSubstr("INVALID_UTF8_REPLACE, INVALID_UTF8_SKIP_LINE")));
  EXPECT_EQ(Said(Changed(kJson, "INVALID_UTF8_REPLACE", "INVALID_UTF8_REPLCAE")),
            "t.pb:8:21: params.invalid_utf8: \"INVALID_UTF8_REPLCAE\" " + meant);
}

TEST_F(SpecFile, AllTypingErrorsAreToldAtOnce) {
  std::string text = Changed(Changed(kText, "output {", "outptu {"), "min_count", "min_cuont");
  text = Changed(Changed(text, "invalid_utf8: INVALID_UTF8_REPLACE", "invalid_utf8: REPLACE  sed: -1, pda: [1, 2];"),
                 "script: \"Latin\"", "scrpt: \"Lat\"\n\t\"in\"");
  EXPECT_EQ(Said(text),
            "t.pb:5:1: JobSpec has no field \"outptu\"; did you mean \"output\"?\n"
            "t.pb:8:38: Corpus has no field \"min_cuont\"; did you mean \"min_count\"?\n"
            "t.pb:8:53: Keep has no field \"scrpt\"; did you mean \"script\"?\n"
            "t.pb:10:19: invalid_utf8: \"REPLACE\" is none of its values; did you mean \"INVALID_UTF8_REPLACE\"?\n"
            "t.pb:10:28: TrimSpec has no field \"sed\"\n"
            "t.pb:10:37: TrimSpec has no field \"pda\"");
  // What follows a field that breaks off is not known.
  EXPECT_EQ(Said("plugin: \"trim\"\noutptu { ref: \"x\""),
            "t.pb:2:1: JobSpec has no field \"outptu\"; did you mean \"output\"?");
}

TEST_F(SpecFile, BrokenOffHasItsPlace) {
  EXPECT_THAT(Said("plugin: \"trim\"\ninput {"), StartsWith("t.pb:2:8: "));
  EXPECT_THAT(Said("{\"plugin\":\n \"trim\","), StartsWith("t.pb:2:9: "));
  EXPECT_THAT(PluginOf("{\"plugin\":\n", "t.pb"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("t.pb:")));
}

TEST_F(SpecFile, AnotherPluginsMessageIsRefused) {
  EXPECT_THAT(Said(Changed(kText, "trim.v1.TrimSpec", "merge.v1.MergeSpec")),
              AllOf(StartsWith("t.pb:7:"), HasSubstr("editd.plugins.merge.v1.MergeSpec"), HasSubstr("editctl init")));
  EXPECT_THAT(Said(Changed(kJson, "trim.v1.TrimSpec", "merge.v1.MergeSpec")),
              HasSubstr("params: the plugin has no message \"editd.plugins.merge.v1.MergeSpec\""));
  EXPECT_THAT(Said(Changed(kJson, "@type", "@typ")), HasSubstr("params: has no \"@type\""));
}

TEST_F(SpecFile, DepthIsLimited) {
  std::string text = "plugin: \"trim\" params { [type.googleapis.com/google.protobuf.Any] { ";
  std::string json = "{\"plugin\":";
  for (int i = 0; i < 10'000; ++i) {
    text += "[type.googleapis.com/google.protobuf.Any] { ";
    json += "[";
  }
  EXPECT_THAT(Said(text), HasSubstr("nested more than"));
  EXPECT_THAT(Said(json), HasSubstr("nested more than"));
}

TEST_F(SpecFile, EmptyAndHugeFilesAreRefused) {
  TemporaryDirectory dir;
  ASSERT_OK(WriteFileAtomically(dir / "empty", " \n"));
  EXPECT_THAT(ReadSpecFile(dir / "empty"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("editctl init")));
  ASSERT_OK(WriteFileAtomically(dir / "huge", std::string((1 << 20) + 1, 'x')));
  EXPECT_THAT(ReadSpecFile(dir / "huge"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1 MiB")));
  EXPECT_THAT(ReadSpecFile(dir / "none"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("none")));
}

}  // namespace
}  // namespace editd::client
