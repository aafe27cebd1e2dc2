#!/usr/bin/env python3
"""Times what a user waits for, against what the user does today. Every figure is a ratio to a peer of the same run.

    tests/bench/install_peers                                  # once: build/peers
    ninja -C build/release submit_bench
    tests/bench/pipeline_bench.py [--rounds 3] [--skip-peers]

Ours and the peer's runs alternate; the best of the rounds counts. Each import goes into a new store. --only-small leaves
import and trim out. Needs the model that deploy/bootstrap fetches.
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))
from harness import BIN, DEPS, TEST_PLUGINS, Editd  # noqa: E402


def timed(action):
    """Seconds and the value of a call."""
    start = time.perf_counter()
    value = action()
    return time.perf_counter() - start, value


def peer(script, *words):
    """The seconds that a peer's script prints."""
    python = ROOT / "build/peers/bin/python"
    done = subprocess.run([python, ROOT / "tests/bench" / script, *map(str, words)], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return float(done.stdout.split()[-1])


def row(what, ours, theirs, bar, more=""):
    ratio = f"{theirs / ours:7.1f}x" if theirs is not None else "       -"
    other = f"{theirs:9.3f}" if theirs is not None else "        -"
    print(f"{what:34} {ours:9.3f} {other} {ratio}   {bar:14} {more}", flush=True)


TRIM = """plugin: "trim" input {{ model: "smol" }} output {{ ref: "half{n}" }} seed: {n}
params {{ [type.googleapis.com/editd.plugins.trim.v1.TrimSpec] {{ keep {{ target_size: {size} }} }} }}"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-peers", action="store_true")
    parser.add_argument("--only-small", action="store_true")
    options = parser.parse_args()
    gguf = next((DEPS / "model").glob("*.gguf"))
    print(f"{'':34} {'ours s':>9} {'peer s':>9} {'ratio':>8}   bar")
    if not options.only_small:
        time_import(gguf, options)
    with Editd(config=TEST_PLUGINS) as editd:
        editd.import_model(gguf, "smol")
        if options.only_small:
            editd.submit(TRIM.format(n=0, size=24000))
        else:
            time_trim(editd, options)
        small_things(editd)


def time_import(gguf, options):
    ours, theirs, memory = [], [], 0.0
    for _ in range(options.rounds):
        if not options.skip_peers:
            theirs.append(peer("peer_import.py", gguf))
        # Three, each into a new store: the first pays for memory that a virtual machine fetches from its host, which what
        # ran before (a peer of several GB, or nothing) gave back. A daemon on a new store asks each plugin what it is, once
        # for ever; that is not a part of an import, so it is waited for.
        for _ in range(3):
            with Editd(config=TEST_PLUGINS) as editd:
                editd.ctl("plugins")
                seconds, last = timed(lambda: editd.import_model(gguf, "smol"))
            ours.append(seconds)
            memory = max(memory, last["peak_rss_bytes"] / 1e6)
    row("import GGUF", min(ours), min(theirs, default=None), ">= 30x", f"worker {memory:.0f} MB (<= 300)")


def time_trim(editd, options):
    ours, theirs, memory = [], [], 0.0
    source, out, keep = editd.path("smol"), editd.path("half"), editd.path("keep.json")
    editd.ctl("export", "smol", source)
    old = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
    for n in range(options.rounds):
        spec = editd.write("trim.pb", TRIM.format(n=n, size=len(old) // 2 - n))  # Other content each time: nothing is there already.
        seconds, last = timed(lambda: editd.json("submit", spec, "--wait")[-1])
        ours.append(seconds)
        memory = max(memory, last["peak_rss_bytes"] / 1e6)
        if not options.skip_peers:
            editd.ctl("export", f"half{n}", editd.path(f"export{n}"))
            kept = json.loads((editd.path(f"export{n}") / "tokenizer.json").read_text())["model"]["vocab"]
            keep.write_text(json.dumps([old[token] for token in kept]))
            theirs.append(peer("peer_trim.py", source, keep, out))
            shutil.rmtree(out)
    row("trim to half", min(ours), min(theirs, default=None), ">= 5x",
        f"worker {memory:.0f} MB (<= 150), {last['bytes_written'] / 1e6:.1f} MB written")


def small_things(editd):
    done = subprocess.run([BIN / "submit_bench", editd.state / "editd.sock", "200"], stdout=subprocess.PIPE, text=True, check=True)
    acknowledged, acknowledged99, succeeded, succeeded99 = (float(number) / 1e3 for number in done.stdout.split())
    row("submit acknowledged, p99 of 200", acknowledged99, None, "<= 0.005 s", f"median {acknowledged:.4f}")
    row("no-op job to SUCCEEDED, median", succeeded, None, "<= 0.050 s", f"p99 {succeeded99:.3f}")
    spec = editd.write("small.pb", TRIM.format(n=0, size=24000))
    for words in (["queue"], ["queue", "--all"], ["models"], ["show", "smol"], ["log", "half0"], ["descendants", "smol"],
                  ["diff", "smol", "half0"], ["reflog", "smol"], ["tag", "smol@tagged", "half0"], ["plugins"],
                  ["init", "trim"], ["validate", spec], ["why", "1"], ["logs", "1"], ["gc", "--dry-run"], ["daemon", "status"],
                  ["completion", "bash"]):
        command(editd, words)


def command(editd, words):
    """A command without a job, 20 times; what counts is the best, the machine may be busy."""
    wall, cpu = [], []
    for _ in range(20):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall.append(timed(lambda: editd.ctl(*words))[0])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    row("editctl " + " ".join(pathlib.Path(word).name for word in words), min(wall), None, "<= 0.030 s",
        f"best of 20; processor {min(cpu):.3f} s")


if __name__ == "__main__":
    main()
