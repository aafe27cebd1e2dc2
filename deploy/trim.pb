# proto-file: editd/v1/job.proto
# proto-message: editd.v1.JobSpec

# Keeps what English and Vietnamese need: every token that Debian's guide for maintainers and its manual pages use.
# The paths are relative to this file's folder; deploy/demo puts the corpora there.
plugin: "trim"
input { model: "smol" }
output { ref: "smol-envi" }
params {
  [type.googleapis.com/editd.plugins.trim.v1.TrimSpec] {
    keep {
      corpus { path: "corpora/en.jsonl" min_count: 1 }
      corpus { path: "corpora/vi.jsonl" min_count: 1 }
    }
  }
}
