// Damage on the disk: verification finds it and says where.
#include <fcntl.h>
#include <sys/stat.h>

#include "editd/v1/catalogue.pb.h"
#include "storage/catalogue.h"
#include "storage/testing.h"

namespace editd::storage {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class CorruptionTest : public StoreTest {
 protected:
  CorruptionTest() {
    id_ = Publish(
        {{{"a", std::string(5000, 'a')}, {"b", std::string(3 << 20, 'b')}}, {{"config.json", "{\"a\": 1}"}}, {}},
        "smol");
    EXPECT_THAT(Verify(), IsEmpty());
    pack_ = Files("packs").at(0);
    asset_ = Files("assets").at(0);
  }

  static void Flip(const std::string& path, uint64_t offset) {
    ::chmod(path.c_str(), 0600);
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    char byte;
    ASSERT_EQ(::pread(fd.get(), &byte, 1, static_cast<off_t>(offset)), 1);
    byte ^= 1;
    ASSERT_EQ(::pwrite(fd.get(), &byte, 1, static_cast<off_t>(offset)), 1);
  }
  // Changes the catalogue behind the store's back.
  void ChangeCatalogue(const std::function<void(Catalogue*, Catalogue::Batch*)>& change) {
    store_.reset();
    {
      absl::StatusOr<std::unique_ptr<Catalogue>> catalogue = Catalogue::Open(path() + "/db");
      ASSERT_OK(catalogue);
      Catalogue::Batch batch;
      change(catalogue->get(), &batch);
      ASSERT_OK((*catalogue)->Write(batch, Catalogue::Durability::kSynced));
    }
    Reopen();
  }

  Id id_;
  std::string pack_, asset_;
};

TEST_F(CorruptionTest, AFlippedByteOfATensor) {
  ASSERT_OK_AND_ASSIGN(const editd::v1::Version version, store().GetVersion(id_, true));
  const editd::v1::Tensor& tensor = version.tensors(1);
  Flip(pack_, tensor.offset() + tensor.size() - 1);
  EXPECT_THAT(Verify(),
              ElementsAre(AllOf(HasSubstr(tensor.pack()), HasSubstr(tensor.id()), HasSubstr("has other bytes"))));
}

TEST_F(CorruptionTest, AFlippedByteOfAHeader) {
  Flip(pack_, 20);
  EXPECT_THAT(Verify(), SizeIs(1));
  Flip(pack_, 20);
  Flip(pack_, 4000);  // Between the text and the data: a space.
  EXPECT_THAT(Verify(), ElementsAre(HasSubstr("pack header, byte 4000")));
}

TEST_F(CorruptionTest, ATruncatedPack) {
  ::chmod(pack_.c_str(), 0600);
  std::filesystem::resize_file(pack_, std::filesystem::file_size(pack_) - 4096);
  EXPECT_THAT(Verify(), ElementsAre(HasSubstr("the header announces")));
}

TEST_F(CorruptionTest, AMissingPack) {
  std::filesystem::remove(pack_);
  EXPECT_THAT(Verify(), ElementsAre(AllOf(HasSubstr("open "), HasSubstr(pack_))));
}

TEST_F(CorruptionTest, ADamagedAsset) {
  Flip(asset_, 3);
  EXPECT_THAT(Verify(), ElementsAre(AllOf(HasSubstr("asset "), HasSubstr("has other bytes"), HasSubstr(asset_))));
  std::filesystem::resize_file(asset_, 2);
  EXPECT_THAT(Verify(), ElementsAre(HasSubstr("its file has 2 bytes, not 8")));
  std::filesystem::remove(asset_);
  EXPECT_THAT(Verify(), ElementsAre(HasSubstr(asset_)));
}

TEST_F(CorruptionTest, ATensorWithoutItsRow) {
  ASSERT_OK_AND_ASSIGN(const editd::v1::Version version, store().GetVersion(id_, true));
  const Id tensor = *Id::FromHex(version.tensors(0).id());
  ChangeCatalogue([&](Catalogue*, Catalogue::Batch* batch) { batch->Delete(Table::kTensors, tensor.view()); });
  EXPECT_THAT(Verify(), Contains(AllOf(HasSubstr("its tensor \"a\""), HasSubstr("is not there"))));
  EXPECT_THAT(store().GetVersion(id_, true),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("tensor \"a\" is not in the store")));
}

TEST_F(CorruptionTest, ATensorRowThatPointsElsewhere) {
  ASSERT_OK_AND_ASSIGN(const editd::v1::Version version, store().GetVersion(id_, true));
  const Id tensor = *Id::FromHex(version.tensors(0).id());
  ChangeCatalogue([&](Catalogue* catalogue, Catalogue::Batch* batch) {
    editd::v1::TensorRow row;
    ASSERT_OK(catalogue->Get(Table::kTensors, tensor.view(), &row));
    row.set_offset(row.offset() + 64);
    batch->Put(Table::kTensors, tensor.view(), row);
  });
  EXPECT_THAT(Verify(), ElementsAre(HasSubstr("its record is not what pack")));
}

TEST_F(CorruptionTest, AVersionThatWasChanged) {
  ChangeCatalogue([&](Catalogue* catalogue, Catalogue::Batch* batch) {
    editd::v1::Version row;
    ASSERT_OK(catalogue->Get(Table::kVersions, id_.view(), &row));
    (*row.mutable_attributes())["architecture"] = "forged";
    batch->Put(Table::kVersions, id_.view(), row);
  });
  EXPECT_THAT(Verify(), ElementsAre(HasSubstr("its content is not what its id says")));
}

TEST_F(CorruptionTest, ALostVersion) {
  ChangeCatalogue([&](Catalogue*, Catalogue::Batch* batch) {
    batch->Delete(Table::kLineage, id_.view());
    batch->PutBytes(Table::kJobs, BigEndian(3), "\xff no job");
  });
  EXPECT_THAT(Verify(), Contains(AllOf(HasSubstr("ref smol: its version"), HasSubstr("is not there"))));
  EXPECT_THAT(Verify(), Contains(HasSubstr("row 0000000000000003 of table jobs cannot be read")));
}

TEST_F(CorruptionTest, VerificationCanBeStopped) {
  Flip(asset_, 3);
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Verification> verification, store().StartVerify());
  int reports = 0;
  ASSERT_OK_AND_ASSIGN(const VerifyProgress progress, verification->Run([&](const VerifyProgress&) {
    ++reports;
    return false;
  }));
  EXPECT_EQ(reports, 1);
  EXPECT_EQ(progress.versions, 0u);
}

TEST_F(CorruptionTest, WhatGcTakesMeanwhileIsNoFinding) {
  ASSERT_OK(store().MoveRef("smol", id_, Id{}, {}));
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Verification> verification, store().StartVerify());
  now_ += absl::Hours(24 * 30);
  ASSERT_OK_AND_ASSIGN(const std::vector<GarbageItem> items, store().CollectGarbage({}));
  EXPECT_THAT(items, SizeIs(3));
  ASSERT_OK_AND_ASSIGN(const VerifyProgress progress, verification->Run([](const VerifyProgress& progress) {
    EXPECT_EQ(progress.finding, "");
    return true;
  }));
  EXPECT_EQ(progress.findings, 0u);
}

}  // namespace
}  // namespace editd::storage
