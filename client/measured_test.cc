#include "client/measured.h"

#include <gtest/gtest.h>

#include "storage/base/testing.h"

namespace editd::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kQuestions[] =
    R"({"format":"editd questions 1","metrics":["acc"],"models":[{"version":"a"},{"version":"b"}]}
{"file":"q.jsonl","line":1,"answer":"A","acc":[1,0]}
{"file":"q.jsonl","line":2,"answer":"B","acc":[0,1]}
{"file":"q.jsonl","line":3,"answer":"A","acc":[0,1]}
)";

TEST(Measured, QuestionsCompareOneByOne) {
  const auto parsed = ParseMeasured(kQuestions);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const MeasuredFile files[2] = {*parsed, *parsed};
  const size_t first[2] = {0, 1};
  const auto compared = CompareQuestions(files, first);
  ASSERT_TRUE(compared.ok()) << compared.status();
  ASSERT_EQ(compared->size(), 1u);
  EXPECT_EQ(compared->front().metric, "acc");
  EXPECT_NEAR(compared->front().paired.difference, 1.0 / 3, 1e-15);
  EXPECT_THAT(compared->front().changed, ElementsAre(0, 1, 2));
  const size_t same[2] = {1, 1};
  EXPECT_THAT(CompareQuestions(files, same)->front().changed, ElementsAre());
}

TEST(Measured, OtherQuestionsDoNotCompare) {
  MeasuredFile files[2] = {*ParseMeasured(kQuestions), *ParseMeasured(kQuestions)};
  files[1].lines.pop_back();
  const size_t input[2] = {0, 0};
  EXPECT_THAT(CompareQuestions(files, input).status().message(), HasSubstr("different questions"));
}

TEST(Measured, WhatIsNoSuchFileIsRefused) {
  for (const char* content : {"", "x\n", "[]\n", "{}\n", "{\"models\":1}\n", "{\"models\":[]}\n{\"nll\":[1]}\n",
                              "{\"models\":[],\"metrics\":[\"acc\"]}\n{\"acc\":1,\"file\":\"f\",\"line\":1}\n",
                              "{\"models\":[],\"metrics\":[1]}\n{\"acc\":[1],\"file\":\"f\",\"line\":1}\n"}) {
    EXPECT_EQ(ParseMeasured(content).status().code(), absl::StatusCode::kDataLoss) << content;
  }
}

}  // namespace
}  // namespace editd::client
