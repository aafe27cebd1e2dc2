"""merge against mergekit, whole: from the command to a durable result, on three checkpoints of 1.1 B parameters.

    python3 tests/bench/merge_bench.py [--work DIR] [--layers 22] [--rounds 3] [--methods linear,slerp] [--peer MERGEKIT_YAML]

Makes a base and two fine-tunes of TinyLlama's shape (bfloat16; --layers 2 for a short run), imports them into an editd of its
own, and then, method by method and in turns, merges with both. Ours is timed from `editctl submit --wait` to its end: the
result is published and on disk. mergekit is timed as its whole command, output written. A weight differs from round to
round, so that nothing is answered from the store, and each of our runs begins with a copy (hard links) of the store that
has only the three checkpoints. Printed: the best of the rounds, the ratio, processor seconds, and
memory: mergekit's peak, and our worker's largest anonymous memory (mapped files left out; looked at every 10 ms). Both
begin with their inputs in the page cache.

tests/bench/install_peers installs mergekit 0.1.5. Needs 18 GB of disk and of page cache at full size.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import struct
import subprocess
import sys
import threading
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))
import tiny_model  # noqa: E402
from harness import Editd  # noqa: E402

HIDDEN, INNER, HEADS, KV_HEADS, VOCABULARY = 2048, 5632, 32, 4, 32000

# Name: mergekit's YAML and our params; W is a weight that changes with the round.
METHODS = {
    "linear": ("""merge_method: linear
models:
  - {{model: {a}, parameters: {{weight: W}}}}
  - {{model: {b}, parameters: {{weight: 0.4}}}}
""", """method: METHOD_LINEAR models { input: "a" parameters { weight { value: W } } }
        models { input: "b" parameters { weight { value: 0.4 } } }"""),
    "slerp": ("""merge_method: slerp
base_model: {base}
models:
  - {{model: {a}}}
parameters: {{t: W}}
""", """method: METHOD_SLERP base: "base" models { input: "a" } parameters { t { value: W } }"""),
    "ties": ("""merge_method: ties
base_model: {base}
models:
  - {{model: {a}, parameters: {{weight: W, density: 0.5}}}}
  - {{model: {b}, parameters: {{weight: 0.4, density: 0.5}}}}
""", """method: METHOD_TIES base: "base" parameters { density { value: 0.5 } }
        models { input: "a" parameters { weight { value: W } } } models { input: "b" parameters { weight { value: 0.4 } } }"""),
    "dare_ties": ("""merge_method: dare_ties
base_model: {base}
models:
  - {{model: {a}, parameters: {{weight: W, density: 0.5}}}}
  - {{model: {b}, parameters: {{weight: 0.4, density: 0.5}}}}
""", """method: METHOD_DARE_TIES base: "base" parameters { density { value: 0.5 } }
        models { input: "a" parameters { weight { value: W } } } models { input: "b" parameters { weight { value: 0.4 } } }"""),
}
INPUTS = {"linear": ("a", "b"), "slerp": ("base", "a")}
BARS = {"linear": 3, "slerp": 5, "ties": 30, "dare_ties": 15}


def shapes(layers):
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    head = HIDDEN // HEADS * KV_HEADS
    for i in range(layers):
        at = f"model.layers.{i}."
        yield at + "input_layernorm.weight", (HIDDEN,)
        yield at + "mlp.down_proj.weight", (HIDDEN, INNER)
        yield at + "mlp.gate_proj.weight", (INNER, HIDDEN)
        yield at + "mlp.up_proj.weight", (INNER, HIDDEN)
        yield at + "post_attention_layernorm.weight", (HIDDEN,)
        yield at + "self_attn.k_proj.weight", (head, HIDDEN)
        yield at + "self_attn.o_proj.weight", (HIDDEN, HIDDEN)
        yield at + "self_attn.q_proj.weight", (HIDDEN, HIDDEN)
        yield at + "self_attn.v_proj.weight", (head, HIDDEN)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def write_checkpoint(folder, layers, kind):
    """The base is normal of size 0.02; a fine-tune is the base and normal numbers of size 0.001. Pieces of one pool of
    numbers, so that it takes seconds."""
    folder.mkdir(parents=True)
    pool = np.random.default_rng(1).standard_normal(1 << 22, dtype=np.float32)
    where = np.random.default_rng(2)
    noise = np.random.default_rng({"base": 3, "a": 4, "b": 5}[kind])
    entries, offset = {}, 0
    for name, shape in shapes(layers):
        size = 2 * int(np.prod(shape))
        entries[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for name, shape in shapes(layers):
            left = int(np.prod(shape))
            while left:
                n = min(left, 1 << 20)
                x = 0.02 * pool[(at := int(where.integers(len(pool) - n))) : at + n] + (1.0 if name.endswith("norm.weight") else 0.0)
                if kind != "base":
                    x = bfloat16(x).astype(np.uint32).__lshift__(16).view(np.float32)
                    x = x + 0.001 * pool[(at := int(noise.integers(len(pool) - n))) : at + n]
                file.write(bfloat16(x).tobytes())
                left -= n
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": HIDDEN,
        "num_hidden_layers": layers, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "intermediate_size": INNER,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 1, "torch_dtype": "bfloat16"}))
    (folder / "tokenizer.json").write_text(json.dumps(tiny_model.tokenizer(), ensure_ascii=False))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))


def bfloat16(x):
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


class WorkerMemory(threading.Thread):
    """The largest anonymous memory of any edit-worker below a process, and the processor seconds of the last one seen."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.parent, self.peak, self.cpu, self.stopping = daemon, 0, 0.0, False
        self.start()

    def run(self):
        while not self.stopping:
            for line in pathlib.Path(f"/proc/{self.parent}/task/{self.parent}/children"), *pathlib.Path(f"/proc/{self.parent}/task").glob("*/children"):
                try:
                    children = line.read_text().split()
                except OSError:
                    continue
                for child in children:
                    self.look(child)
            time.sleep(0.01)

    def look(self, pid):
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            times = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("RssAnon:"):
                self.peak = max(self.peak, int(line.split()[1]) * 1024)
        self.cpu = max(self.cpu, (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"))


def peer(executable, work, method, weight):
    yaml = METHODS[method][0].format(base=work / "base", a=work / "a", b=work / "b").replace("W", str(weight)) + "dtype: bfloat16\n"
    (work / "peer.yml").write_text(yaml)
    out = work / "peer-out"
    shutil.rmtree(out, ignore_errors=True)
    settle(work.glob("*/model.safetensors"))
    start = time.monotonic()
    process = subprocess.Popen([executable, work / "peer.yml", out], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env=os.environ | {"HF_HUB_OFFLINE": "1"})
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - start
    if process.returncode != 0:
        sys.exit(f"{executable} ended with {process.returncode}:\n{said.decode()[-3000:]}")
    shutil.rmtree(out)
    return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss * 1024}


def import_all(work, refs):
    """A store with the folders of `work` that `refs` names, under its refs. An import's file stays in it as an asset: the
    folder's becomes a link to that."""
    store = work / "store"
    store.mkdir()
    editd = Editd(folder=store)
    editd.start()
    seen = set()
    for folder, ref in refs.items():
        editd.import_model(work / folder, ref)
        file = next((work / folder).glob("*.safetensors"))
        for asset in set((editd.state / "assets").glob("*/*")) - seen:
            seen.add(asset)
            if asset.stat().st_size == file.stat().st_size:
                file.unlink()
                os.link(asset, file)
    editd.stop()
    return store


def store_copy(store, folder):
    """An editd with all that `store` has. Files that are never written again are linked."""
    shutil.copytree(store, folder, copy_function=lambda a, b: (os.link if {"assets", "packs"} & set(pathlib.Path(a).parts) else shutil.copy2)(a, b))
    return Editd(folder=folder)


def settle(files):
    """Before a timed run: what other runs wrote is on the disk, and the inputs are in the page cache. A peer of 11 GB drives
    the one side's inputs out, and then the disk would be measured."""
    os.sync()
    for file in files:
        with open(file, "rb", buffering=0) as source:
            while source.read(16 << 20):
                pass


def ours(editd, method, weight):
    inputs = " ".join(f'input {{ model: "{name}" name: "{name}" }}' for name in INPUTS.get(method, ("base", "a", "b")))
    spec = f"""plugin: "merge" {inputs} output {{ ref: "merged" }} seed: 1 params {{
        [type.googleapis.com/editd.plugins.merge.v1.MergeSpec] {{ {METHODS[method][1].replace("W", str(weight))} }} }}"""
    settle((editd.state / "packs").rglob("*.safetensors"))
    memory = WorkerMemory(editd.process.pid)
    start = time.monotonic()
    done = editd.submit(spec)
    seconds = time.monotonic() - start
    memory.stopping = True
    memory.join()
    if done["state"] != "JOB_STATE_SUCCEEDED" or done["from_recipe"]:
        sys.exit(f"our job: {done}")
    return {"seconds": seconds, "cpu": memory.cpu, "memory": memory.peak}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/merge_bench")
    parser.add_argument("--layers", type=int, default=22)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--peer", default=ROOT / "build/peers/bin/mergekit-yaml")
    options = parser.parse_args()
    work = options.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    for kind in ("base", "a", "b"):
        write_checkpoint(work / kind, options.layers, kind)
    size = (work / "base/model.safetensors").stat().st_size
    print(f"{size / 2e9:.2f} B parameters, bfloat16, {os.cpu_count()} processors, best of {options.rounds}\n")
    print("| method | mergekit | editd | ratio | bar | cpu | memory |\n|---|---|---|---|---|---|---|")
    try:
        store = import_all(work, {kind: kind for kind in ("base", "a", "b")})
        for method in options.methods.split(","):
            theirs, mine = [], []
            for i in range(options.rounds):
                weight = round(0.3 + 0.05 * i, 2)
                # The first pays for memory that a virtual machine fetches from its host, which what ran before gave back.
                for repeat in range(3):
                    with store_copy(store, work / "editd") as editd:
                        mine.append(ours(editd, method, round(weight + 0.01 * repeat, 2)))
                theirs.append(peer(options.peer, work, method, weight))
            a, b = (min(run["seconds"] for run in runs) for runs in (theirs, mine))
            cpu = [min(run["cpu"] for run in runs) for runs in (theirs, mine)]
            memory = [max(run["memory"] for run in runs) for runs in (theirs, mine)]
            print(f"| {method} | {a:.1f} s | {b:.2f} s | {a / b:.1f}x | {BARS[method]}x | {cpu[0]:.1f} s, {cpu[1]:.1f} s | "
                  f"{memory[0] / 1e9:.1f} GB, {memory[1] / 1e6:.0f} MB |", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
