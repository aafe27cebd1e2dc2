#!/usr/bin/env python3
"""Decoding of SmolLM2 by editd's stepper and by transformers, one after the other in turns; prints ratios.

    tests/bench/install_peers
    ninja -C build/release generate_bench
    build/peers/bin/python tests/bench/generate/run.py MODEL.gguf [--rounds 5] [--tokens 128]

The GGUF file (deploy/bootstrap fetches one into build/deps/model) is written as Hugging Face folders under
build/bench/perplexity once. Tokens/s is the best of the rounds; cpu is the least processor time a token, which other work
on the machine disturbs less.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "perplexity"))
import run as perplexity  # noqa: E402  (its folders)

OURS = perplexity.ROOT / "build/release/bench/generate_bench"
PROMPT = "Once upon a time, in a small village by the sea, there lived an old fisherman who "


def run(who, compute, tokens, batch, threads):
    command = [OURS] if who == "editd" else [sys.executable, HERE / "peer.py"]
    out = subprocess.run([*command, perplexity.WORK / compute, perplexity.WORK / "prompt.i32", compute, str(tokens), str(batch), str(threads)],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return json.loads(out.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    text = perplexity.WORK / "prompt.txt"
    perplexity.WORK.mkdir(parents=True, exist_ok=True)
    text.write_text(PROMPT * 200)
    perplexity.prepare(options.gguf.resolve(), text, 1)
    import numpy as np
    import tokenizers
    ids = tokenizers.Tokenizer.from_file(str(perplexity.WORK / "f32/tokenizer.json")).encode(PROMPT).ids
    np.array(ids, np.int32).tofile(perplexity.WORK / "prompt.i32")
    print(f"{'':24}{'tok/s':>9}{'cpu ms/tok':>12}{'prefill/s':>11}{'load s':>8}{'RSS MB':>8}")
    for compute in ("bf16", "f32"):
        for batch in (1, 8):
            rows = {}
            for _ in range(options.rounds):
                for who in ("editd", "transformers"):
                    got = run(who, compute, options.tokens, batch, options.threads)
                    best = rows.setdefault(who, got)
                    for key in ("tokens_per_second", "prefill_per_second"):
                        best[key] = max(best[key], got[key])
                    for key in ("cpu_ms_per_token", "load_s", "rss_mb"):
                        best[key] = min(best[key], got[key])
            for who, row in rows.items():
                print(f"{f'{compute}, {batch}, {who}':24}{row['tokens_per_second']:9.1f}{row['cpu_ms_per_token']:12.2f}{row['prefill_per_second']:11.0f}"
                      f"{row['load_s']:8.2f}{row['rss_mb']:8.0f}")
            ours, theirs = rows["editd"], rows["transformers"]
            print(f"{f'{compute}, {batch}, ratio':24}{ours['tokens_per_second'] / theirs['tokens_per_second']:8.2f}x"
                  f"{theirs['cpu_ms_per_token'] / ours['cpu_ms_per_token']:11.2f}x")
            if compute == "f32":
                same = sum(1 for a, b in zip(ours["tokens"], theirs["tokens"]) if a == b)
                print(f"  the same tokens: {same} of {options.tokens}")


if __name__ == "__main__":
    main()
