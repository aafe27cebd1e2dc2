"""Greedy decoding by transformers: the peer's side of run.py. Prints one JSON object.

    peer.py FOLDER IDS.i32 f32|bf16 TOKENS BATCH THREADS

A loop of its own around the model with its cache: generate() does more between tokens, so this is the faster peer.
"""
import json
import pathlib
import resource
import sys
import time

import numpy as np
import torch
from transformers import AutoModelForCausalLM, DynamicCache

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from peak_memory import peak_mb  # noqa: E402

folder, ids, compute, tokens, batch, threads = sys.argv[1:]
tokens, batch = int(tokens), int(batch)
torch.set_num_threads(int(threads))
torch.set_grad_enabled(False)
begun = time.perf_counter()
model = AutoModelForCausalLM.from_pretrained(folder, dtype={"f32": torch.float32, "bf16": torch.bfloat16}[compute]).eval()
load = time.perf_counter() - begun
prompt = torch.from_numpy(np.fromfile(ids, np.int32)).long()[None].repeat(batch, 1)
cache = DynamicCache(config=model.config)
begun = time.perf_counter()
last = model(prompt, past_key_values=cache, logits_to_keep=1).logits[:, -1].argmax(-1)
prefill = time.perf_counter() - begun
made, best = [int(last[0])], 1e9


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


before, begun = cpu(), time.perf_counter()
for _ in range(tokens - 1):
    start = time.perf_counter()
    last = model(last[:, None], past_key_values=cache).logits[:, -1].argmax(-1)
    made.append(int(last[0]))
    best = min(best, time.perf_counter() - start)
count = batch * (tokens - 1)
print(json.dumps({"tokens_per_second": count / (time.perf_counter() - begun), "best": batch / best, "cpu_ms_per_token": (cpu() - before) * 1000 / count,
                  "prefill_per_second": prompt.numel() / prefill, "load_s": load,
                  "rss_mb": peak_mb(), "tokens": made}))
