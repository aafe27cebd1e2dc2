#include "storage/measurements.h"

#include "storage/testing.h"

namespace editd::storage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Id Version(uint64_t number) { return Sha256::Of(StrCat("version ", number)); }

// A job that measured these versions with `params`.
editd::v1::Job Measuring(uint64_t id, const std::vector<Id>& versions, const std::string& params) {
  editd::v1::Job job;
  job.set_id(id);
  job.set_state(editd::v1::JOB_STATE_SUCCEEDED);
  job.mutable_spec()->set_plugin("evaluate");
  job.mutable_canonical_params()->set_value(params);
  for (const Id& version : versions) job.add_input_versions(version.Hex());
  job.add_exported()->set_name("measured-documents.jsonl");
  return job;
}

class MeasurementsTest : public StoreTest {
 protected:
  std::vector<uint64_t> JobsThatMeasured(const Id& version) {
    std::vector<uint64_t> jobs;
    const auto found = store().MeasurementsOf(version);
    EXPECT_OK(found);
    for (const Measurement& measurement : *found) jobs.push_back(measurement.job);
    return jobs;
  }
};

TEST_F(MeasurementsTest, AJobThatMeasuredIsFoundByEachOfItsVersions) {
  ASSERT_OK(store().PutJob(Measuring(1, {Version(1), Version(2)}, "a")));
  ASSERT_OK(store().PutJob(Measuring(2, {Version(2)}, "a")));
  ASSERT_OK(store().PutJob(Measuring(3, {Version(2)}, "b")));
  Reopen();
  EXPECT_THAT(JobsThatMeasured(Version(1)), ElementsAre(1));
  EXPECT_THAT(JobsThatMeasured(Version(2)), ElementsAre(1, 2, 3));
  EXPECT_THAT(JobsThatMeasured(Version(3)), IsEmpty());
  const auto all = store().MeasurementsOf(Version(2));
  EXPECT_EQ((*all)[0].data, (*all)[1].data);
  EXPECT_NE((*all)[0].data, (*all)[2].data);
  EXPECT_EQ((*all)[0].input, 1u);
}

TEST_F(MeasurementsTest, OnlyWhatWasMeasuredIsThere) {
  editd::v1::Job job = Measuring(1, {Version(1)}, "a");
  job.set_state(editd::v1::JOB_STATE_RUNNING);
  ASSERT_OK(store().PutJob(job));
  EXPECT_THAT(JobsThatMeasured(Version(1)), IsEmpty());
  job.set_state(editd::v1::JOB_STATE_SUCCEEDED);
  ASSERT_OK(store().PutJob(job));
  EXPECT_THAT(JobsThatMeasured(Version(1)), ElementsAre(1));
  editd::v1::Job answered = Measuring(2, {Version(1)}, "a");
  answered.set_from_recipe(true);
  ASSERT_OK(store().PutJob(answered));
  editd::v1::Job exporting = Measuring(3, {Version(1)}, "a");
  exporting.mutable_exported(0)->set_name("model.gguf");
  ASSERT_OK(store().PutJob(exporting));
  EXPECT_THAT(JobsThatMeasured(Version(1)), ElementsAre(1));
}

// The batch that ends a job has its measurements: there is no job without them.
TEST_F(MeasurementsTest, TheyAreWrittenWithTheEndOfTheJob) {
  PublishRequest request;
  request.job = Measuring(7, {Version(1)}, "a");
  request.job.set_state(editd::v1::JOB_STATE_COMMITTING);
  request.finish = [](const Published&, editd::v1::Job* job, std::vector<editd::v1::Event>*) {
    job->set_state(editd::v1::JOB_STATE_SUCCEEDED);
  };
  ASSERT_OK(store().Publish(std::move(request)));
  EXPECT_THAT(JobsThatMeasured(Version(1)), ElementsAre(7));
}

// Ten thousand jobs of a store of the first format: the index is made at the first start, and a look at one version
// then reads its own rows and no others.
TEST_F(MeasurementsTest, ALookReadsWhatItFindsHoweverManyJobsThereAre) {
  store_.reset();
  {
    const auto catalogue = Catalogue::Open(path() + "/db");
    ASSERT_OK(catalogue);
    Catalogue::Batch batch;
    for (uint64_t id = 1; id <= 10'000; ++id) {
      batch.Put(Table::kJobs, BigEndian(id), Measuring(id, {Version(id % 2500)}, StrCat("data ", id % 3)));
    }
    ASSERT_OK((*catalogue)->Write(batch, Catalogue::Durability::kSynced));
  }
  ASSERT_OK(WriteFileAtomically(path() + "/format", "editd store 1\n"));
  Reopen();
  EXPECT_EQ(*ReadWholeFile(path() + "/format"), "editd store 2\n");
  for (int round = 0; round < 2; ++round) {
    const uint64_t before = store().Stats().rows_read;
    EXPECT_THAT(JobsThatMeasured(Version(77)), ElementsAre(77, 2577, 5077, 7577));
    EXPECT_EQ(store().Stats().rows_read - before, 4u);
    Reopen();
  }
}

// Where a job's row cannot be read the store stays of the first format: its own daemon can still open it.
TEST_F(MeasurementsTest, AStoreThatCannotBeBroughtUpToDateStaysAsItWas) {
  store_.reset();
  const auto put = [&](const std::string& row) {
    const auto catalogue = Catalogue::Open(path() + "/db");
    ASSERT_OK(catalogue);
    Catalogue::Batch batch;
    batch.Put(Table::kJobs, BigEndian(1), Measuring(1, {Version(1)}, "a"));
    batch.PutBytes(Table::kJobs, BigEndian(2), row);
    ASSERT_OK((*catalogue)->Write(batch, Catalogue::Durability::kSynced));
  };
  put("\xff");
  ASSERT_OK(WriteFileAtomically(path() + "/format", "editd store 1\n"));
  EXPECT_THAT(Store::Open(path(), Options()).status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("of table jobs cannot be read")));
  EXPECT_EQ(*ReadWholeFile(path() + "/format"), "editd store 1\n");
  put(Measuring(2, {Version(1)}, "a").SerializeAsString());
  Reopen();
  EXPECT_EQ(*ReadWholeFile(path() + "/format"), "editd store 2\n");
  EXPECT_THAT(JobsThatMeasured(Version(1)), ElementsAre(1, 2));
}

TEST_F(MeasurementsTest, VerifyHoldsJobsAndIndexTogether) {
  const Id version = Publish({{{"a", "1"}}, {}, {}, "1"}, "smol");
  ASSERT_OK(store().PutJob(Measuring(2, {version}, "a")));
  EXPECT_THAT(Verify(), IsEmpty());
  store_.reset();
  {
    const auto catalogue = Catalogue::Open(path() + "/db");
    Catalogue::Batch batch;
    batch.Delete(Table::kMeasurements, MeasurementKey(MeasurementsOf(Measuring(2, {version}, "a"))[0]));
    ASSERT_OK((*catalogue)->Write(batch, Catalogue::Durability::kSynced));
  }
  Reopen();
  EXPECT_THAT(Verify(), ElementsAre(HasSubstr("job 2: the index lacks that it measured version")));
}

}  // namespace
}  // namespace editd::storage
