"""Every write that fails: the message is clear, what was acknowledged is there, the store verifies.

    fault_test.py [--every N] [--how ENOSPC,EIO,SHORT] [--program editd,edit-worker] [--at N]

A short scenario (start, import, trim, tag, stop) runs once to count how many changes of files it makes; then again with
the first of them failing, and the second, and so on (with --every N each Nth, from a start that differs with the kind of
failure). After each, the daemon is started on a good disk and the checker looks:

  - a command that failed said why, in a sentence; none was ended by a signal, and neither was the daemon
  - what a command acknowledged (exit status 0) is there
  - `editctl verify` has no finding, and the next edit works

The failing disk is failfs.c, preloaded. ENOSPC stays (the disk is full until the restart), EIO and SHORT happen once.
"""

import argparse
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import tiny_model
from harness import BIN, PATIENCE, Editd, make_removable

TRIM = """plugin: "trim" input { model: "tiny" } output { ref: "small" }
    params { [type.googleapis.com/editd.plugins.trim.v1.TrimSpec] { keep { corpus { path: "text.txt" } } } }"""
FAILFS = BIN.parent / "tests/failfs.so"


class Scenario:
    """The user's steps, and what each was told."""

    def __init__(self, program, how, at):
        self.program, self.how, self.at = program, how, at
        self.editd = Editd()
        self.counter = self.editd.path("counter")
        self.acknowledged = set()
        self.errors = []

    def failing(self):
        """The environment of the process whose disk fails."""
        return {"LD_PRELOAD": str(FAILFS), "FAILFS_UNDER": str(self.editd.state), "FAILFS_COUNTER": str(self.counter),
                "FAILFS_AT": str(self.at), "FAILFS_HOW": self.how} | ({"FAILFS_STICKY": "1"} if self.how == "ENOSPC" else {})

    def run(self):
        tiny_model.write(self.editd.path("tiny"))
        self.editd.write("text.txt", tiny_model.ENGLISH)
        environment = None
        if self.program == "editd":
            environment = self.failing()
        else:  # A worker's environment is the daemon's choice: a script in its place sets it.
            wrapper = self.editd.write("edit-worker", "#!/bin/sh\n" + "".join(f"export {k}='{v}'\n" for k, v in self.failing().items()) +
                                       f"exec '{BIN}/edit-worker' \"$@\"\n")
            wrapper.chmod(0o755)
            self.editd.config.write_text(f"worker = {wrapper}\n")
        try:
            self.editd.start(environment)
        except AssertionError:
            self.daemon_ended()
            return
        self.step("import", "import", self.editd.path("tiny"), "--as", "tiny")
        self.step("trim", "submit", "-", "--wait", stdin=TRIM)
        self.step("tag", "tag", "tiny@keep", "tiny")
        process = self.editd.process
        if process.poll() is None:
            process.terminate()
        process.wait(60)
        self.daemon_ended()

    def step(self, name, *arguments, stdin=None):
        client = self.editd.popen(*arguments, stdin=subprocess.PIPE)
        if stdin:
            client.stdin.write(stdin)
        client.stdin.close()
        client.stdin = None
        deadline = time.monotonic() + PATIENCE / 4  # It does not wait for a daemon that has ended.
        while client.poll() is None:
            if time.monotonic() > deadline:
                client.kill()
                raise AssertionError(f"editctl {name} does not end: {client.communicate()}")
            time.sleep(0.005)
        out, err = client.communicate()
        told = (out + err).strip()
        if client.returncode == 0:
            self.acknowledged.add(name)
        else:
            self.errors.append(told)
            assert client.returncode > 0, f"signal {-client.returncode} ended editctl {name}: {told}"
            assert len(told) > 20, f"no clear message of editctl {name}: {told}"
            if self.editd.process.poll() is not None:
                assert "daemon" in told, f"the daemon ended, and editctl {name} says: {told}"

    def daemon_ended(self):
        code = self.editd.process.returncode
        log = self.editd.log.read_text(errors="replace")
        assert code >= 0, f"signal {-code} ended the daemon\n{log[-3000:]}"
        assert code == 0 or log.strip(), f"the daemon ended with {code} and said nothing"
        self.editd.process = None

    def check(self):
        editd = self.editd
        editd.config.write_text("")
        editd.start()
        editd.verify()
        refs = {model["ref"]["name"] for model in editd.json("models")}
        for step, ref in (("import", "tiny"), ("trim", "small"), ("tag", "tiny@keep")):
            assert step not in self.acknowledged or ref in refs, f"{ref} was acknowledged and is not there: {refs}"
        editd.ctl("import", editd.path("tiny"), "--as", "tiny")
        editd.ctl("submit", "-", "--wait", stdin=TRIM)
        editd.verify()
        editd.stop()

    def counts(self):
        if not self.counter.exists():
            return 0, 0
        return struct.unpack("<QQ", self.counter.read_bytes())

    def remove(self):
        if self.editd.process:
            self.editd.kill()
        if not os.environ.get("EDITD_TEST_KEEP"):
            make_removable(self.editd.folder)
            shutil.rmtree(self.editd.folder)


def one(program, how, at):
    scenario = Scenario(program, how, at)
    try:
        scenario.run()
        changes, failures = scenario.counts()
        scenario.check()
        return changes, failures, scenario
    except BaseException:
        print(f"--program {program} --how {how} --at {at}; told: {scenario.errors}", flush=True)
        print(scenario.editd.log.read_text(errors="replace")[-3000:] if scenario.editd.log.exists() else "")
        raise
    finally:
        scenario.remove()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--how", default="ENOSPC,EIO,SHORT")
    parser.add_argument("--program", default="editd,edit-worker")
    parser.add_argument("--at", type=int)
    arguments = parser.parse_args()
    kinds = arguments.how.split(",")
    for program in arguments.program.split(","):
        changes, _, scenario = one(program, "EIO", 0)
        assert scenario.acknowledged == {"import", "trim", "tag"}, scenario.errors
        print(f"{program}: {changes} changes of files", flush=True)
        for k, how in enumerate(kinds):
            first = 1 + k * arguments.every // len(kinds)
            points = [arguments.at] if arguments.at else range(first, changes + 1, arguments.every)
            told = failed = 0
            errors = []
            for at in points:
                _, failures, scenario = one(program, how, at)
                failed += failures > 0
                told += bool(scenario.errors)
                errors += scenario.errors
            print(f"{program} {how}: {len(points)} points, {failed} failures made, {told} told to the user; "
                  "the store verified after each", flush=True)
            assert how == "SHORT" or arguments.at or any(("No space left" if how == "ENOSPC" else "Input/output") in e for e in errors), errors


if __name__ == "__main__":
    main()
