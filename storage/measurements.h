// The index of measurements: which jobs measured a version, found without a look at any other job.
//
// A job measures its input versions if it made no version and exported a file named "measured-..."
// (plugins/sdk/ABI.md). Its rows are written in the batch that ends the job. A row's key has the version first, then
// what it was measured with (data and settings, the same for measurements that compare), then the job.
//
// Free functions over the catalogue, thread-safe as it is.
#ifndef EDITD_STORAGE_MEASUREMENTS_H_
#define EDITD_STORAGE_MEASUREMENTS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "editd/v1/job.pb.h"
#include "storage/catalogue.h"
#include "storage/store.h"

namespace editd::storage {

// What the names of exported files begin with that tell of the job's inputs.
inline constexpr std::string_view kMeasured = "measured-";

// What the job measured; empty if nothing.
std::vector<Measurement> MeasurementsOf(const editd::v1::Job& job);
// The key of its row.
std::string MeasurementKey(const Measurement& measurement);
void PutMeasurements(const editd::v1::Job& job, Catalogue::Batch* batch);
// Of one version, the oldest first.
absl::StatusOr<std::vector<Measurement>> ReadMeasurements(const Catalogue& catalogue, const Id& version);
// Makes the index of a store that has none.
absl::Status IndexMeasurements(Catalogue* catalogue);

}  // namespace editd::storage

#endif  // EDITD_STORAGE_MEASUREMENTS_H_
