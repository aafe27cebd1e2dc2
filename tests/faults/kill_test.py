"""kill -9 of the daemon, a worker or a client at random moments: what was acknowledged is there afterwards.

    kill_test.py [--rounds 200] [--seed N]

One store lives through all rounds. In a round some clients submit jobs at once, a random moment later one process is
killed, the daemon comes back if it was the one, and then the checker looks:

  - every job whose submission was answered exists and ends as SUCCEEDED, whoever was killed
  - every version that a client was told of can be read, and its ref's log has it
  - the jobs that ended have not run more often than they may
  - every tenth round and at the end: `editctl verify` re-reads and re-hashes all of it, without a finding

The seed is printed; the same seed makes the same choices (not the same timing).
"""

import argparse
import json
import os
import pathlib
import random
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import tiny_model
from harness import Editd, TEST_PLUGINS, wait_for

FINAL = {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"}


def trim(rng, ref):
    return f"""plugin: "trim" input {{ model: "tiny" }} output {{ ref: "{ref}" }} seed: {rng.getrandbits(40)}
        params {{ [type.googleapis.com/editd.plugins.trim.v1.TrimSpec] {{
          keep {{ corpus {{ path: "text.txt" }} target_size: {rng.randint(300, 440)} }} pad_to_multiple: 1 }} }}"""


def noop(rng):
    return f"""plugin: "noop" seed: {rng.getrandbits(40)}
        params {{ [type.googleapis.com/editd.tests.noop.v1.NoopSpec] {{ sleep_milliseconds: {rng.randint(0, 120)} }} }}"""


def workers_of(daemon):
    """The daemon's children that are workers, by /proc."""
    found = []
    for task in os.listdir(f"/proc/{daemon}/task"):
        try:
            children = open(f"/proc/{daemon}/task/{task}/children").read().split()
        except FileNotFoundError:
            continue
        found += [int(child) for child in children]
    return found


class Checker:
    def __init__(self, editd):
        self.editd = editd
        self.jobs = set()      # Acknowledged: the submission was answered.
        self.versions = {}     # Version to the ref that a client was told.
        self.checked = set()   # Jobs already seen to be final.
        self.attempts = 0

    def hear(self, client):
        """Takes down what a client was told before it ended."""
        out, err = client.communicate(timeout=120)
        for line in out.splitlines():
            try:
                told = json.loads(line)
            except json.JSONDecodeError:  # It was killed while it printed.
                continue
            self.jobs.add(told.get("job") or told.get("id"))
            if told.get("version"):
                self.versions[told["version"]] = told["ref"]
        if client.returncode not in (0, -signal.SIGKILL) and "daemon" not in err:
            raise AssertionError(f"a client ended with {client.returncode}: {out}{err}")

    def settle(self):
        """Waits until every job has ended (one that was not acknowledged would race the next round's for its ref), and
        looks at each that was acknowledged."""
        waiting = self.jobs - self.checked

        def ended():
            if self.editd.json("queue"):  # A short list, unlike all jobs of all rounds.
                return None
            jobs = {job["id"]: job for job in self.editd.json("queue", "--all", "--limit", 0)}
            missing = [job for job in waiting if job not in jobs]
            assert not missing, f"acknowledged jobs are gone: {missing}"
            return jobs if all(job["state"] in FINAL for job in jobs.values()) else None

        jobs = wait_for(ended, f"jobs {sorted(waiting)}")
        for number in waiting:
            job = jobs[number]
            assert job["state"] == "JOB_STATE_SUCCEEDED", f"job {number} ended as {job['state']}: {job['attempts']}"
            assert len(job["attempts"]) <= 3, f"job {number} ran {len(job['attempts'])} times"
            self.attempts += len(job["attempts"])
            if job["output_version"]:
                self.versions[job["output_version"]] = job["spec"]["output"]["ref"]
        self.checked |= waiting

    def look_at_versions(self):
        logs = {}
        for version, ref in self.versions.items():
            shown = self.editd.json("show", version)[0]
            assert shown["id"] == version and not shown["tombstone"], shown
            if ref not in logs:
                logs[ref] = {move["to"] for move in self.editd.json("reflog", ref)}
            assert version in logs[ref], f"{ref} never pointed at {version}"


def round_of(editd, checker, rng):
    victim = rng.choice(["daemon", "daemon", "worker", "client"])
    clients = []
    for i in range(rng.randint(1, 3)):
        spec = trim(rng, f"m{rng.randint(0, 9)}-{i}") if rng.random() < 0.6 else noop(rng)
        path = editd.write(f"spec{i}.pb", spec)
        clients.append(editd.popen("--json", "submit", path, *(["--wait"] if rng.random() < 0.5 else [])))
    time.sleep(rng.uniform(0, 0.25))
    if victim == "daemon":
        editd.kill()
        editd.start()
    elif victim == "client":
        clients[0].kill()
    else:
        for worker in workers_of(editd.process.pid)[:1]:
            os.kill(worker, signal.SIGKILL)
    for client in clients:
        checker.hear(client)
    checker.settle()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    arguments = parser.parse_args()
    print(f"--rounds {arguments.rounds} --seed {arguments.seed}", flush=True)
    with Editd(config=TEST_PLUGINS + "max_running = 2\n") as editd:
        editd.import_model(tiny_model.write(editd.path("tiny")), "tiny")
        editd.write("text.txt", tiny_model.ENGLISH)
        checker = Checker(editd)
        for number in range(1, arguments.rounds + 1):
            try:
                round_of(editd, checker, random.Random(f"{arguments.seed}/{number}"))
                if number % 10 == 0:
                    editd.verify()
            except BaseException:
                print(f"round {number} of seed {arguments.seed}", file=sys.stderr, flush=True)
                raise
        checker.look_at_versions()
        editd.restart()
        checker.look_at_versions()
        editd.verify()
        print(f"{arguments.rounds} rounds: {len(checker.jobs)} jobs acknowledged and done in {checker.attempts} attempts, "
              f"{len(checker.versions)} versions")


if __name__ == "__main__":
    main()
