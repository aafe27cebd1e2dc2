#include "plugins/lib/nn/cuda.h"

#include <dlfcn.h>

#include "storage/base/file.h"
#include "storage/base/testing.h"

namespace editd::nn {
namespace {

using ::testing::HasSubstr;

TEST(Cuda, AMachineWithoutADriverIsToldSo) {
  const absl::Status status = CheckCudaDriver();
  if (::dlopen("libcuda.so.1", RTLD_NOW) != nullptr) GTEST_SKIP() << "this machine has a driver";
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no NVIDIA driver")));
  EXPECT_THAT(status.message(), HasSubstr("libcuda.so.1"));
}

TEST(Cuda, ALibraryThatIsNotThereOrDoesNotLoadIsNamed) {
  const TemporaryDirectory folder;
  EXPECT_THAT(CheckCudaLibrary(folder.path()), StatusIs(absl::StatusCode::kFailedPrecondition,
                                                        HasSubstr(folder.path() + "; run deploy/bootstrap cuda")));
  EXPECT_THAT(LoadCudaLibrary(folder.path()), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("is not in")));
  ASSERT_OK(WriteFileAtomically(folder.path() + "/libtorch_cuda.so", "no library"));
  EXPECT_OK(CheckCudaLibrary(folder.path()));
  EXPECT_THAT(LoadCudaLibrary(folder.path()),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("cannot be loaded")));
}

}  // namespace
}  // namespace editd::nn
