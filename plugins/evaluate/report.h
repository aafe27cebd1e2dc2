// What was measured, as the result and the file of documents tell it.
#ifndef EDITD_PLUGINS_EVALUATE_REPORT_H_
#define EDITD_PLUGINS_EVALUATE_REPORT_H_

#include <string>
#include <vector>

#include "editd/plugins/evaluate/v1/evaluate.pb.h"
#include "plugins/evaluate/measure.h"

namespace editd::evaluate {

// The measurement of subject `s`.
void ReportPerplexity(const Measurement& measured, size_t s, const Subject& subject, const Documents& documents,
                      plugins::evaluate::v1::Perplexity* out);
void ReportDiff(const LogitsDiff& diff, const RowPairs& rows, uint64_t bytes_scored, int top_k,
                plugins::evaluate::v1::LogitsDiff* out);
// The file of documents, JSON lines: a head, then one line for each document. `files`: their names, by Document::file.
std::string ReportDocuments(const Measurement& measured, const std::vector<const Subject*>& subjects,
                            const Documents& documents, const std::vector<std::string>& files);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_REPORT_H_
