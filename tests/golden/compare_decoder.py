"""Logits of many small random decoders, ours against transformers': by hand, for it takes minutes.

    python tests/golden/compare_decoder.py build/release/tests/decoder_logits [--seeds 200] [--first 0] [--family Gemma3]

Each model is a folder as transformers would save it, with a config.json that says what decoder_cases.py drew; both
sides read that folder. Prints the largest difference over the largest logit, of each family; fails above 1e-4.
"""
import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers

from decoder_cases import draw

TOLERANCE = 1e-4
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def weigh(model, seed):
    """Weights that make every part matter: attention that is neither flat nor on one key alone."""
    generator = torch.Generator().manual_seed(seed)
    gemma = "Gemma" in type(model).__name__
    with torch.no_grad():
        for name, p in model.named_parameters():
            values = torch.randn(p.shape, generator=generator)
            if name.endswith("norm.weight"):
                p.copy_(values * 0.3 + (0 if gemma else 1))
            elif p.ndim == 1:
                p.copy_(values * 0.3)
            elif "embed" in name or "lm_head" in name:
                p.copy_(values / (p.shape[1] ** 0.5 if gemma else 1))
            else:
                p.copy_(values * 1.3 / p.shape[1] ** 0.5)


def fresh_rope(model):
    """The model without what dynamic scaling keeps of earlier sequences."""
    model.model.rotary_emb = type(model.model.rotary_emb)(config=model.config)


def make(folder, seed, family, kind):
    config, lengths = draw(seed, family, kind)
    kinds = {k: v for k, v in config.items() if k != "architectures"}
    built = transformers.AutoConfig.for_model(**json.loads(json.dumps(kinds)))
    model = transformers.AutoModelForCausalLM.from_config(built)
    weigh(model, seed)
    model.to((torch.float32, torch.bfloat16, torch.float16)[seed % 3]).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, config["vocab_size"], n).astype(np.int32) for n in lengths]
    np.concatenate([part for s in ids for part in (s, [-1])]).astype(np.int32).tofile(folder / "ids.i32")
    logits, error = [], 0.0
    with torch.no_grad():
        for s in ids:
            fresh_rope(model)
            logits.append(model(torch.from_numpy(s).long()[None], use_cache=False).logits[0].numpy())
        model.double()
        fresh_rope(model)
        truth = model(torch.from_numpy(ids[-1]).long()[None], use_cache=False).logits[0].numpy()
        error = np.abs(truth - logits[-1]).max() / np.abs(truth).max()
    return config, np.concatenate(logits), truth, error


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--family")
    parser.add_argument("--rope")
    parser.add_argument("--compute", default="f32")
    args = parser.parse_args()
    worst = collections.defaultdict(float)
    counts = collections.Counter()
    bad = 0
    for seed in range(args.first, args.first + args.seeds):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            config, expected, truth, theirs = make(folder, seed, args.family, args.rope)
            done = subprocess.run([args.program, args.compute, folder], capture_output=True, text=True)
            family = config["architectures"][0]
            counts[family] += 1
            if done.returncode:
                print("seed", seed, family, done.stderr.strip(), json.dumps(config), flush=True)
                bad += 1
                continue
            ours = np.fromfile(folder / "logits.f32", np.float32).reshape(expected.shape)
        error = np.abs(ours - expected).max() / np.abs(expected).max()
        exact = np.abs(ours[-len(truth):] - truth).max() / np.abs(truth).max()
        worst[family] = max(worst[family], error)
        worst[family + " (ours to float64)"] = max(worst[family + " (ours to float64)"], exact)
        worst[family + " (theirs to float64)"] = max(worst[family + " (theirs to float64)"], theirs)
        if not error <= TOLERANCE and args.compute == "f32":
            print("seed", seed, f"{error:.1e}", json.dumps(config), flush=True)
            bad += 1
    for name in sorted(worst):
        print(f"{name:44} {counts[name] or '':>5} {worst[name]:.1e}")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
