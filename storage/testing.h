// Test helpers: a store in a temporary folder, a clock that a test moves, and small versions made as a worker makes
// them.
#ifndef EDITD_STORAGE_TESTING_H_
#define EDITD_STORAGE_TESTING_H_

#include <fcntl.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "storage/base/pack_writer.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"
#include "storage/base/tree_hash.h"
#include "storage/store.h"

namespace editd::storage {

// What a test's version is made of: names and bytes of U8 tensors, names and content of files.
struct Made {
  std::vector<std::pair<std::string, std::string>> tensors;
  std::vector<std::pair<std::string, std::string>> files;
  std::vector<Id> parents;
  std::string recipe = "recipe";
  uint64_t job = 1;
};

// Writes `made` into a staging folder of `store`, and says what a worker would say of it.
inline PublishRequest Stage(Store* store, const Made& made, uint32_t attempt = 1) {
  PublishRequest request;
  request.makes_version = true;
  absl::StatusOr<std::string> folder = store->CreateStaging(made.job, attempt);
  EXPECT_OK(folder);
  if (!made.tensors.empty()) {
    request.pack_path = *folder + "/pack";
    UniqueFd file(::open(request.pack_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    PackWriterOptions options;
    options.expected_tensors = made.tensors.size();
    absl::StatusOr<std::unique_ptr<PackWriter>> writer = PackWriter::Create(std::move(file), "pack", options);
    EXPECT_OK(writer);
    for (const auto& [name, bytes] : made.tensors) {
      const std::vector<int64_t> shape = {static_cast<int64_t>(bytes.size())};
      EXPECT_OK((*writer)->Begin(name, DType::kU8, shape));
      EXPECT_OK((*writer)->Append(bytes.data(), bytes.size()));
    }
    absl::StatusOr<WrittenPack> pack = (*writer)->Finish();
    EXPECT_OK(pack);
    request.pack = pack->id;
    for (size_t i = 0; i < made.tensors.size(); ++i) {
      const PackTensor& written = pack->tensors[i].tensor;
      editd::v1::Tensor* tensor = request.version.add_tensors();
      tensor->set_name(made.tensors[i].first);
      tensor->set_dtype("U8");
      tensor->add_shape(static_cast<int64_t>(written.size));
      tensor->set_id(written.id.Hex());
      tensor->set_pack(pack->id.Hex());
      tensor->set_offset(written.offset);
      tensor->set_size(written.size);
    }
  }
  for (const auto& [name, content] : made.files) {
    const std::string path = StrCat(*folder, "/", name);
    EXPECT_OK(WriteFileAtomically(path, content));
    request.files.push_back({name, path, {}, false});
  }
  for (const Id& parent : made.parents) request.version.add_parents()->set_version(parent.Hex());
  request.version.mutable_recipe()->set_id(Sha256::Of(made.recipe).Hex());
  request.version.set_user("tester");
  request.version.set_job(made.job);
  request.job.set_id(made.job);
  request.job.set_state(editd::v1::JOB_STATE_SUCCEEDED);
  request.finish = [](const Published& published, editd::v1::Job* job, std::vector<editd::v1::Event>*) {
    if (!published.version.empty()) job->set_output_version(published.version.Hex());
  };
  return request;
}

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() { Reopen(); }

  void Reopen() {
    store_.reset();
    absl::StatusOr<std::unique_ptr<Store>> store = Store::Open(path(), Options());
    ASSERT_OK(store);
    store_ = *std::move(store);
  }
  StoreOptions Options() {
    StoreOptions options;
    options.now = [this] { return now_; };
    return options;
  }

  Id Publish(const Made& made, const std::string& ref = "") {
    PublishRequest request = Stage(store_.get(), made);
    request.ref = ref;
    const std::optional<editd::v1::Ref> current = store_->FindRef(ref);
    if (current.has_value()) request.ref_expected = Id::FromHex(current->version()).value_or(Id{});
    absl::StatusOr<Published> published = store_->Publish(std::move(request));
    EXPECT_OK(published);
    return published.ok() ? published->version : Id{};
  }

  // Each finding of a verification.
  std::vector<std::string> Verify() {
    absl::StatusOr<std::unique_ptr<Verification>> verification = store_->StartVerify();
    EXPECT_OK(verification);
    std::vector<std::string> findings;
    EXPECT_OK((*verification)->Run([&findings](const VerifyProgress& progress) {
      if (!progress.finding.empty()) findings.push_back(progress.finding);
      return true;
    }));
    return findings;
  }

  // The files under a folder of the state directory.
  std::vector<std::string> Files(const std::string& folder) {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(StrCat(path(), "/", folder))) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    return files;
  }

  std::string path() const { return directory_ / "state"; }
  Store& store() { return *store_; }

  TemporaryDirectory directory_;
  absl::Time now_ = absl::Now();
  std::unique_ptr<Store> store_;
};

}  // namespace editd::storage

#endif  // EDITD_STORAGE_TESTING_H_
