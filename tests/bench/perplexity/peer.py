"""Perplexity by transformers over windows of token ids: the peer's side of run.py. Prints one JSON object.

    peer.py FOLDER IDS.i32 CONTEXT f32|bf16|f64 BATCH THREADS
"""
import json
import pathlib
import sys
import time

import numpy as np
import torch
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from peak_memory import peak_mb  # noqa: E402

folder, ids, context, compute, batch, threads = sys.argv[1:]
context, batch = int(context), int(batch)
torch.set_num_threads(int(threads))
torch.set_grad_enabled(False)
dtype = {"f32": torch.float32, "bf16": torch.bfloat16, "f64": torch.float64}[compute]
model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
tokens = torch.from_numpy(np.fromfile(ids, np.int32)).long()
windows = tokens[: len(tokens) // context * context].view(-1, context)
nll, scored, best = 0.0, 0, 0.0
started = time.perf_counter()
for w in range(0, len(windows), batch):
    begun = time.perf_counter()
    rows = windows[w : w + batch]
    logits = model(rows).logits[:, :-1]
    logits = logits if compute == "f64" else logits.float()
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), rows[:, 1:].reshape(-1), reduction="sum")
    nll += float(loss)
    scored += rows.shape[0] * (context - 1)
    best = max(best, rows.numel() / (time.perf_counter() - begun))
    del logits, loss
print(json.dumps({"tokens_per_second": windows.numel() / (time.perf_counter() - started), "best": best,
                  "rss_mb": peak_mb(), "nll": nll / scored}))
