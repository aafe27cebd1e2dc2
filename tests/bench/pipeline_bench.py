#!/usr/bin/env python3
"""Times what a user waits for, against what the user does today. Every figure is a ratio to a peer of the same run.

    tests/bench/install_peers                                  # once: build/peers
    tests/bench/pipeline_bench.py [--build build/release] [--rounds 3] [--skip-peers]

Ours and the peer's runs alternate; the best of the rounds counts. Needs the model that deploy/bootstrap fetches.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPS = Path(os.environ.get("EDITD_DEPS_DIR", ROOT / "build/deps"))


class Daemon:
    """A daemon with a state directory of its own."""

    def __init__(self, build: Path):
        self.bin = build / "bin"
        self.dir = tempfile.mkdtemp(prefix="editd-bench-")
        config = Path(self.dir) / "editd.conf"
        config.write_text(f"plugin_dirs = {build}/lib/editd/plugins:{build}/tests/plugins\n")
        self.ctl("daemon", "start", "--config", str(config))

    def ctl(self, *words: str) -> list[dict]:
        """Runs editctl; returns what it printed, an object a line."""
        done = subprocess.run([self.bin / "editctl", "--state-dir", self.dir, "--json", *words],
                              stdout=subprocess.PIPE, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def submit(self, spec: str, *words: str) -> tuple[float, dict]:
        """Submits a text spec and waits; returns seconds and the last object."""
        path = Path(self.dir) / "spec.pb"
        path.write_text(spec)
        start = time.perf_counter()
        lines = self.ctl("submit", str(path), "--wait", *words)
        return time.perf_counter() - start, lines[-1]

    def job(self, job_id: int) -> dict:
        return self.ctl("why", str(job_id))[-1]

    def close(self) -> None:
        subprocess.run([self.bin / "editctl", "--state-dir", self.dir, "daemon", "stop"], check=False,
                       stdout=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)


def peer(python: Path, script: str, *words: str) -> float:
    done = subprocess.run([python, ROOT / "tests/bench" / script, *words], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return float(done.stdout.split()[-1])


def rss(job: dict) -> float:
    """Peak resident memory of a job's last worker, MB."""
    return int(job["job"]["attempts"][-1]["peak_rss_bytes"]) / 1e6


def row(what: str, ours: float, theirs: float | None, bar: str, more: str = "") -> None:
    ratio = f"{theirs / ours:7.1f}x" if theirs is not None else "       -"
    other = f"{theirs:9.3f}" if theirs is not None else "        -"
    print(f"{what:34} {ours:9.3f} {other} {ratio}   {bar:14} {more}", flush=True)


TRIM = """plugin: "trim" input {{ model: "smol" }} output {{ ref: "half{n}" }} seed: {n}
params {{ [type.googleapis.com/editd.plugins.trim.v1.TrimSpec] {{ keep {{ target_size: {size} }} }} }}"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, default=ROOT / "build/release")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-peers", action="store_true")
    options = parser.parse_args()
    build = options.build.resolve()
    python = ROOT / "build/peers/bin/python"
    gguf = next((DEPS / "model").glob("*.gguf"))
    daemon = Daemon(build)
    try:
        print(f"{'':34} {'ours s':>9} {'peer s':>9} {'ratio':>8}   bar")
        ours, theirs, memory = [], [], 0.0
        for n in range(options.rounds):
            if not options.skip_peers:
                theirs.append(peer(python, "peer_import.py", str(gguf)))
            start = time.perf_counter()
            last = daemon.ctl("import", str(gguf), "--as", "smol", "--force")[-1]
            ours.append(time.perf_counter() - start)
            memory = max(memory, rss(daemon.job(last["job"])))
        row("import GGUF", min(ours), min(theirs, default=None), ">= 30x", f"worker {memory:.0f} MB (<= 300)")

        ours, theirs, memory = [], [], 0.0
        source, out = Path(daemon.dir) / "smol", Path(daemon.dir) / "half"
        daemon.ctl("export", "smol", str(source))
        rows = json.loads((source / "config.json").read_text())["vocab_size"]
        for n in range(options.rounds):
            seconds, last = daemon.submit(TRIM.format(n=n, size=rows // 2))
            ours.append(seconds)
            job = daemon.job(last["job"])
            memory = max(memory, rss(job))
            written = int(job["job"]["bytes_written"])
            if not options.skip_peers:
                keep = Path(daemon.dir) / "keep.json"
                daemon.ctl("export", f"half{n}", str(Path(daemon.dir) / f"e{n}"))
                vocabulary = json.loads((Path(daemon.dir) / f"e{n}" / "tokenizer.json").read_text())["model"]["vocab"]
                old = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
                keep.write_text(json.dumps([old[token] for token in vocabulary]))
                theirs.append(peer(python, "peer_trim.py", str(source), str(keep), str(out)))
                shutil.rmtree(out)
        row("trim to half", min(ours), min(theirs, default=None), ">= 5x",
            f"worker {memory:.0f} MB (<= 150), {written / 1e6:.1f} MB written")

        ours = [daemon.submit(f'plugin: "noop" labels {{ key: "n" value: "{n}" }} seed: {n}')[0] for n in range(30)]
        row("no-op job, editctl's start included", sorted(ours)[len(ours) // 2], None, "<= 0.050 s", "median of 30")
        for words in (["queue"], ["models"], ["show", "smol"], ["log", "half0"], ["plugins"], ["daemon", "status"]):
            times = []
            for _ in range(15):
                start = time.perf_counter()
                daemon.ctl(*words)
                times.append(time.perf_counter() - start)
            row("editctl " + " ".join(words), sorted(times)[7], None, "<= 0.030 s", "median of 15")
    finally:
        daemon.close()


if __name__ == "__main__":
    sys.exit(main())
