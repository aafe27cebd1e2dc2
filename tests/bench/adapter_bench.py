"""Merging an adapter into its base against PEFT, whole: from the command to a durable result, at 1.1 B parameters.

    python3 tests/bench/adapter_bench.py [--work DIR] [--layers 22] [--rank 16] [--rounds 3] [--peer PYTHON]

Makes a base of TinyLlama's shape and a LoRA adapter on all of its linear layers (random numbers), imports both into an editd
of its own, and merges in turns: ours from `editctl submit --wait` to its end, with the result published and on disk; PEFT's
as a script that loads both, calls merge_and_unload and saves the model. Printed: the best of the rounds, the ratio,
processor seconds, and memory as merge_bench.py has it. The store is a fresh copy for each of our runs, and both begin with
their inputs in the page cache.

PYTHON has torch, transformers and peft: the tests' own. Needs 9 GB of disk at full size.
"""

import argparse
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import time

import numpy as np

import merge_bench
from merge_bench import ROOT, WorkerMemory, settle

PEER = """
import sys, torch, transformers, peft
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
peft.PeftModel.from_pretrained(model, sys.argv[2]).merge_and_unload().save_pretrained(sys.argv[3])
"""


def write_adapter(folder, layers, rank):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    tensors = {}
    for name, shape in merge_bench.shapes(layers):
        if "_proj" not in name:
            continue
        at = "base_model.model." + name.removesuffix("weight")
        tensors[at + "lora_A.weight"] = rng.standard_normal((rank, shape[1]), dtype=np.float32) * 0.02
        tensors[at + "lora_B.weight"] = rng.standard_normal((shape[0], rank), dtype=np.float32) * 0.02
    entries, offset = {}, 0
    for name, x in tensors.items():
        entries[name] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [offset, offset + x.nbytes]}
        offset += x.nbytes
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with (folder / "adapter_model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for x in tensors.values():
            file.write(x.tobytes())
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "base", "r": rank, "lora_alpha": 2 * rank,
        "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]}))


def peer(python, work):
    out = work / "peer-out"
    settle(work.glob("*/*.safetensors"))
    start = time.monotonic()
    process = subprocess.Popen([python, "-c", PEER, work / "base", work / "adapter", out], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - start
    if process.returncode != 0:
        sys.exit(f"{python} ended with {process.returncode}:\n{said.decode()[-3000:]}")
    shutil.rmtree(out)
    return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss * 1024}


def ours(editd):
    settle((editd.state / "packs").rglob("*.safetensors"))
    memory = WorkerMemory(editd.process.pid)
    start = time.monotonic()
    done = editd.submit("""plugin: "adapter" input { model: "base" name: "base" } input { model: "lora" name: "adapter" }
        output { ref: "merged" } params { [type.googleapis.com/editd.plugins.adapter.v1.AdapterSpec] { merge { } } }""")
    seconds = time.monotonic() - start
    memory.stopping = True
    memory.join()
    if done["state"] != "JOB_STATE_SUCCEEDED" or done["from_recipe"]:
        sys.exit(f"our job: {done}")
    return {"seconds": seconds, "cpu": memory.cpu, "memory": memory.peak}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/adapter_bench")
    parser.add_argument("--layers", type=int, default=22)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", default=ROOT / "build/deps/python/bin/python3")
    options = parser.parse_args()
    work = options.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    try:
        merge_bench.write_checkpoint(work / "base", options.layers, "base")
        write_adapter(work / "adapter", options.layers, options.rank)
        store = merge_bench.import_all(work, {"base": "base", "adapter": "lora"})
        theirs, mine = [], []
        for _ in range(options.rounds):
            with merge_bench.store_copy(store, work / "editd") as editd:
                mine.append(ours(editd))
            theirs.append(peer(options.peer, work))
        a, b = (min(run["seconds"] for run in runs) for runs in (theirs, mine))
        cpu = [min(run["cpu"] for run in runs) for runs in (theirs, mine)]
        memory = [max(run["memory"] for run in runs) for runs in (theirs, mine)]
        size = (work / "base/model.safetensors").stat().st_size
        print(f"{size / 2e9:.2f} B parameters, bfloat16, rank {options.rank}, {os.cpu_count()} processors, best of {options.rounds}\n")
        print("| PEFT | editd | ratio | cpu | memory |\n|---|---|---|---|---|")
        print(f"| {a:.1f} s | {b:.2f} s | {a / b:.1f}x | {cpu[0]:.1f} s, {cpu[1]:.1f} s | "
              f"{memory[0] / 1e9:.1f} GB, {memory[1] / 1e6:.0f} MB |")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
