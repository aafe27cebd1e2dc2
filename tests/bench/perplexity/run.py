#!/usr/bin/env python3
"""Perplexity of SmolLM2 by editd's decoder and by transformers, one after the other in turns; prints ratios. Then
logits-diff of the model and of itself in other weights (bf16 and float32), against the two perplexities apart.

    tests/bench/install_peers
    ninja -C build/release perplexity_bench logits_diff_bench
    build/peers/bin/python tests/bench/perplexity/run.py MODEL.gguf TEXT [--windows 16] [--rounds 3] [--exact]
                                                         [--compute bf16 f32] [--only perplexity|logits-diff]

On two quiet processors a round is about a minute: bf16 takes a third of it, logits-diff ten seconds.

The GGUF file (deploy/bootstrap fetches one into build/deps/model) is written as Hugging Face folders under
build/bench/perplexity once. --exact also runs transformers in float64, the reference for the mean NLL (slow).
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
WORK = ROOT / "build/bench/perplexity"
OURS = ROOT / "build/release/bench/perplexity_bench"
DIFF = ROOT / "build/release/bench/logits_diff_bench"
CONTEXT, THREADS = "512", str(os.cpu_count())


def prepare(gguf, text, windows):
    """Folders f32 and bf16, and the text's ids."""
    import numpy as np
    import tokenizers
    import torch
    import transformers

    WORK.mkdir(parents=True, exist_ok=True)
    if not (WORK / "bf16").exists():
        source = dict(pretrained_model_name_or_path=str(gguf.parent), gguf_file=gguf.name)
        transformers.AutoTokenizer.from_pretrained(**source).save_pretrained(WORK / "f32")
        model = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
        for o in (model, model.config):  # Marks of quantisation, with which it cannot be saved.
            for mark in ("is_quantized", "hf_quantizer", "quantization_config", "quantization_method"):
                if hasattr(o, mark):
                    delattr(o, mark)
        model.save_pretrained(WORK / "f32")
        model.to(torch.bfloat16).save_pretrained(WORK / "bf16")
    ids = tokenizers.Tokenizer.from_file(str(WORK / "f32/tokenizer.json")).encode(text.read_text()).ids
    need = windows * int(CONTEXT)
    if len(ids) < need:
        sys.exit(f"{text}: {len(ids)} tokens; {windows} windows need {need}")
    np.array(ids[:need], np.int32).tofile(WORK / "ids.i32")


def run(who, folder, compute, batch):
    command = [OURS] if who == "editd" else [sys.executable, HERE / "peer.py"]
    out = subprocess.run([*command, WORK / folder, WORK / "ids.i32", CONTEXT, compute, str(batch), THREADS],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return json.loads(out.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--compute", nargs="+", choices=("bf16", "f32"), default=("bf16", "f32"))
    parser.add_argument("--only", choices=("perplexity", "logits-diff"))
    options = parser.parse_args()
    prepare(options.gguf.resolve(), options.text, options.windows)
    if options.only != "logits-diff":
        compare_perplexity(options)
    if options.only != "perplexity":
        for compute in options.compute:
            subprocess.run([DIFF, WORK / "bf16", WORK / "f32", WORK / "f32/tokenizer.json", options.text, compute,
                            str(options.windows * int(CONTEXT)), THREADS, str(options.rounds)], check=True)


def compare_perplexity(options):
    exact = run("transformers", "bf16", "f64", 2)["nll"] if options.exact else None
    print(f"{'':28}{'tok/s':>9}{'RSS MB':>9}{'mean NLL':>14}{'- exact':>11}", flush=True)
    for compute in options.compute:
        # The best of the rounds, and the least memory: what each can do when the machine is its own.
        rows = {}
        for r in range(options.rounds):
            for name, who, batch in (("editd", "editd", 8), ("transformers, batch 8", "transformers", 8),
                                     ("transformers, batch 1", "transformers", 1)):
                print(f"{compute}, round {r + 1} of {options.rounds}: {name}", file=sys.stderr)
                got = run(who, "bf16", compute, batch)
                best = rows.setdefault(name, got)
                best["best"] = max(best["best"], got["best"])
                best["rss_mb"] = min(best["rss_mb"], got["rss_mb"])
        for name, row in rows.items():
            error = f"{row['nll'] - exact:11.1e}" if exact else ""
            print(f"{compute + ' ' + name:28}{row['best']:9.0f}{row['rss_mb']:9.0f}{row['nll']:14.7f}{error}")
        peers = [row for name, row in rows.items() if name != "editd"]
        fastest = max(peers, key=lambda row: row["best"])
        print(f"{compute + ' ratio':28}{rows['editd']['best'] / fastest['best']:8.2f}x"
              f"{rows['editd']['rss_mb'] / fastest['rss_mb']:8.2f}x", flush=True)


if __name__ == "__main__":
    main()
