# proto-file: editd/v1/job.proto
# proto-message: editd.v1.JobSpec

# Perplexity of the imported and the trimmed model on text that the trim has not seen, and how far their logits are apart.
plugin: "evaluate"
input { model: "smol" }
input { model: "smol-envi" }
params {
  [type.googleapis.com/editd.plugins.evaluate.v1.EvaluateSpec] {
    data { path: "corpora/heldout.jsonl" }
    context: 512
    stride: 512  # Each token goes through the models once; the default of half the context is twice the work.
    compute: COMPUTE_TYPE_F32
  }
}
