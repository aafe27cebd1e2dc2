"""An ordinary day: what a user does with editctl, on a small model, and what is printed. Prose for people, --json for scripts."""

import json
import math
import os
import pathlib
import pty
import signal
import struct
import subprocess
import unittest

import tiny_model
from harness import PATIENCE, ROOT, TEST_PLUGINS, Editd, wait_for

TRIM = """# proto-file: editd/v1/job.proto
# proto-message: editd.v1.JobSpec
plugin: "trim"
input { model: "tiny" }
output { ref: "small" }
params { [type.googleapis.com/editd.plugins.trim.v1.TrimSpec] { keep { corpus { path: "text.txt" min_count: 1 } } } }
"""


def noop(milliseconds=0, seed=0):
    return f"""plugin: "noop" seed: {seed}
        params {{ [type.googleapis.com/editd.tests.noop.v1.NoopSpec] {{ sleep_milliseconds: {milliseconds} echo: "hello" }} }}"""


class Day(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.editd = cls.enterClassContext(Editd(config=TEST_PLUGINS))
        cls.editd.import_model(tiny_model.write(cls.editd.path("tiny")), "tiny")
        cls.editd.write("text.txt", tiny_model.ENGLISH)
        cls.editd.write("trim.pb", TRIM)
        cls.trimmed = cls.editd.submit(TRIM)

    def job(self, number):
        return next(job for job in self.editd.json("queue", "--all", "--limit", 0) if job["id"] == number)


class Jobs(Day):
    def test_wait_ends_with_the_version(self):
        self.assertEqual(self.trimmed["state"], "JOB_STATE_SUCCEEDED")
        self.assertEqual(self.trimmed["ref"], "small")
        self.assertEqual(self.trimmed["version"], self.editd.json("show", "small")[0]["id"])
        self.assertGreater(self.trimmed["result"]["vocab_before"], self.trimmed["result"]["vocab_after"])

    def test_prose_names_the_version_and_the_next_command(self):
        done = self.editd.ctl("submit", "trim.pb", "--wait")
        self.assertIn("small", done.out + done.err)
        self.assertIn("editctl show small", done.out + done.err)

    def test_the_same_edit_is_answered_at_once(self):
        again = self.editd.submit(TRIM)
        self.assertTrue(again["from_recipe"])
        self.assertEqual(again["version"], self.trimmed["version"])

    def test_force_runs_again_and_compares(self):
        again = self.editd.submit(TRIM, "--force")
        self.assertFalse(again["from_recipe"])
        self.assertEqual(again["version"], self.trimmed["version"])

    def test_text_binary_and_json_are_the_same_spec(self):
        include = ["-I", str(ROOT / "proto")]
        binary = subprocess.run(["protoc", *include, "--encode=editd.v1.JobSpec", "editd/v1/job.proto", "editd/plugins/trim/v1/trim.proto"],
                                input=TRIM.encode(), capture_output=True, check=True).stdout
        self.editd.write("binary.pb", binary)
        self.editd.write("spec.json", json.dumps({
            "plugin": "trim", "input": [{"model": "tiny"}], "output": {"ref": "small"},
            "params": {"@type": "type.googleapis.com/editd.plugins.trim.v1.TrimSpec", "keep": {"corpus": [{"path": "text.txt", "minCount": 1}]}}}))
        for name in ("trim.pb", "binary.pb", "spec.json"):
            job = self.editd.ctl("--json", "submit", name, "--wait").json()[-1]
            self.assertTrue(job["from_recipe"], name)

    def test_a_request_id_makes_one_job(self):
        first, second = (self.editd.ctl("--json", "submit", "-", "--request-id", "abc", stdin=noop()).json()[-1] for _ in range(2))
        self.assertEqual(first["id"], second["id"])

    def test_cancel_and_retry(self):
        job = self.editd.ctl("--json", "submit", "-", stdin=noop(milliseconds=20_000)).json()[-1]["id"]
        wait_for(lambda: self.job(job)["state"] == "JOB_STATE_RUNNING", "the job to run")
        self.assertIn("run", self.editd.ctl("why", job).out)
        self.editd.ctl("cancel", job)
        wait_for(lambda: self.job(job)["state"] == "JOB_STATE_CANCELLED", "the job to be cancelled")
        self.editd.ctl("retry", job)
        wait_for(lambda: self.job(job)["state"] == "JOB_STATE_RUNNING", "the job to run again")
        self.editd.ctl("cancel", job)
        wait_for(lambda: self.job(job)["state"] == "JOB_STATE_CANCELLED", "the job to be cancelled again")

    def test_a_pending_job_says_why(self):
        jobs = [self.editd.ctl("--json", "submit", "-", stdin=noop(milliseconds=20_000, seed=i)).json()[-1]["id"] for i in range(2)]
        wait_for(lambda: self.job(jobs[0])["state"] == "JOB_STATE_RUNNING", "the first to run")
        self.assertEqual(self.job(jobs[1])["state"], "JOB_STATE_PENDING")
        self.assertTrue(self.editd.ctl("why", jobs[1]).out.strip())
        queue = self.editd.ctl("queue").out
        for job in jobs:
            self.assertIn(str(job), queue)
            self.editd.ctl("cancel", job)
        wait_for(lambda: all(self.job(job)["state"] == "JOB_STATE_CANCELLED" for job in jobs), "both to be cancelled")

    def test_watch_goes_on_over_a_restart_of_the_daemon(self):
        job = self.editd.ctl("--json", "submit", "-", stdin=noop(milliseconds=int(10 * PATIENCE), seed=7)).json()[-1]["id"]
        watch = self.editd.popen("--json", "watch", job)
        wait_for(lambda: self.job(job)["state"] == "JOB_STATE_RUNNING", "the job to run")
        self.editd.kill()
        self.editd.start()
        out, err = watch.communicate(timeout=120)
        self.assertEqual(watch.returncode, 0, out + err)
        numbers = [int(event["seq"]) for event in map(json.loads, out.splitlines()) if "seq" in event]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        self.assertEqual(self.job(job)["state"], "JOB_STATE_SUCCEEDED")

    def test_logs(self):
        job = self.editd.submit("""plugin: "misbehave" output { ref: "logged" }
            params { [type.googleapis.com/editd.tests.misbehave.v1.MisbehaveSpec] { mode: MODE_LOG amount: 3 } }""")["job"]
        self.assertEqual(self.editd.ctl("logs", job).out.splitlines(), ["line 0", "line 1", "line 2"])

    def test_a_terminal_sees_a_progress_bar(self):
        leader, follower = pty.openpty()
        process = subprocess.Popen([self.editd.programs / "editctl", "submit", "-", "--wait"], stdin=subprocess.PIPE, stdout=follower,
                                   stderr=follower, env=self.editd.environment({"TERM": "xterm-256color"}), cwd=self.editd.folder)
        process.stdin.write(noop(milliseconds=1_500, seed=9).encode())
        process.stdin.close()
        os.close(follower)
        seen = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
        os.close(leader)
        self.assertEqual(process.wait(60), 0, seen)
        self.assertIn(b"\r", seen)
        self.assertIn(b"%", seen)


class Models(Day):
    def test_models(self):
        out = self.editd.ctl("models").out
        self.assertIn("tiny", out)
        self.assertIn("small", out)

    def test_log_names_each_edit_from_the_base(self):
        out = self.editd.ctl("log", "small").out
        for part in ("import", "trim", "tiny"):
            self.assertIn(part, out)
        versions = self.editd.json("log", "small")
        self.assertEqual([version["recipe"]["plugin"] for version in versions], ["import", "trim"])
        for version in versions:
            self.assertEqual(len(version["recipe"]["plugin_hash"]), 64)
        self.assertIn("text.txt", versions[1]["recipe"]["params_text"])

    def test_descendants(self):
        self.assertIn(self.trimmed["version"], [version["id"] for version in self.editd.json("descendants", "tiny")])

    def test_show(self):
        version = self.editd.json("show", "small")[0]
        self.assertIn("model.embed_tokens.weight", [tensor["name"] for tensor in version["tensors"]])
        self.assertIn("tokenizer.json", [file["name"] for file in version["files"]])
        self.assertEqual(version["attributes"]["architecture"], "LlamaForCausalLM")
        self.assertIn("model.embed_tokens.weight", self.editd.ctl("show", "small", "--tensors").out)

    def test_diff(self):
        out = self.editd.ctl("diff", "tiny", "small").out
        self.assertIn("model.embed_tokens.weight", out)
        self.assertIn("tokenizer", out)
        self.editd.json("diff", "tiny", "small")

    def test_diff_tells_by_how_much_a_tensor_changed(self):
        """The numbers are those of the definition, computed here from the files."""
        vocabulary = len(tiny_model.tokenizer()["model"]["vocab"])
        tensors = tiny_model.tensors(vocabulary, seed=1)
        name = "model.layers.0.mlp.up_proj.weight"
        shape, data = tensors[name]
        before = struct.unpack(f"<{len(data) // 4}f", data)
        after = struct.unpack(f"<{len(data) // 4}f", struct.pack(f"<{len(data) // 4}f", *(
            x + (0.25 * (i % 3) if i % 7 == 0 else 0) for i, x in enumerate(before))))
        tensors[name] = shape, struct.pack(f"<{len(after)}f", *after)
        folder = tiny_model.write(self.editd.path("changed"))
        (folder / "model.safetensors").write_bytes(tiny_model.safetensors(tensors))
        self.editd.import_model(folder, "changed")
        differences = [b - a for a, b in zip(before, after)]
        norm = math.sqrt(math.fsum(d * d for d in differences))
        lines = {line.get("tensor", line["kind"]): line for line in self.editd.json("diff", "tiny", "changed")}
        self.assertEqual(lines["tensors"]["changed"], 1)
        self.assertEqual(lines["tensors"]["same"], len(tensors) - 1)
        self.assertAlmostEqual(lines[name]["norm"], norm, delta=1e-9 * norm)  # Double precision, another order of sums.
        self.assertAlmostEqual(lines[name]["relative"], norm / math.sqrt(math.fsum(a * a for a in before)), delta=1e-9)
        self.assertEqual(lines[name]["max_abs"], max(map(abs, differences)))
        self.assertEqual(lines[name]["elements_changed"], sum(d != 0 for d in differences))
        self.assertIn(name, self.editd.ctl("diff", "tiny", "changed").out)
        self.assertNotIn("norm", next(line for line in self.editd.json("diff", "--no-norms", "tiny", "changed") if line.get("tensor") == name))

    def test_tag_and_reflog(self):
        self.editd.ctl("tag", "small@nightly", "small")
        self.assertEqual(self.editd.json("show", "small@nightly")[0]["id"], self.trimmed["version"])
        self.assertEqual(self.editd.json("show", "small@v1")[0]["id"], self.trimmed["version"])
        self.assertEqual(self.editd.json("reflog", "small")[-1]["to"], self.trimmed["version"])
        self.assertTrue(self.editd.ctl("reflog", "small").out.strip())

    def test_an_id_prefix_is_a_name(self):
        self.assertEqual(self.editd.json("show", self.trimmed["version"][:12])[0]["id"], self.trimmed["version"])

    def test_export(self):
        self.editd.ctl("export", "small", "exported")
        exported = self.editd.path("exported")
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
            self.assertTrue((exported / name).is_file(), name)
        rows = json.loads((exported / "config.json").read_text())["vocab_size"]
        self.assertEqual(rows, self.trimmed["result"]["rows_after"])
        self.assertIn("exported", self.editd.refused("export", "small", "exported"))  # Not empty.

    def test_what_was_exported_can_be_imported(self):
        self.editd.ctl("export", "tiny", "round")
        again = self.editd.import_model(self.editd.path("round"), "again")
        first, second = (self.editd.json("show", name)[0] for name in ("tiny", again["version"]))
        self.assertEqual({t["name"]: t["id"] for t in first["tensors"]}, {t["name"]: t["id"] for t in second["tensors"]})


class Store(Day):
    def test_plugins_and_init(self):
        names = {plugin["name"] for plugin in self.editd.json("plugins")}
        self.assertLessEqual({"import", "trim", "evaluate", "export"}, names)
        spec = self.editd.ctl("init", "trim").out
        self.assertIn("# proto-message: editd.v1.JobSpec", spec)
        self.assertIn("#", spec)

    def test_validate(self):
        self.editd.ctl("validate", "trim.pb")

    def test_gc_lists_and_takes_nothing_that_is_named(self):
        before = self.editd.json("models")
        self.editd.ctl("gc", "--dry-run")
        self.assertEqual(self.editd.json("models"), before)

    def test_verify(self):
        self.assertIn("all good", self.editd.ctl("verify").out)

    def test_daemon_status(self):
        self.assertEqual(self.editd.json("daemon", "status")[0]["pid"], self.editd.process.pid)

    def test_completion(self):
        script = self.editd.ctl("completion", "bash").out
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        self.assertIn("editctl", script)

    def test_every_command_has_json(self):
        """Objects, one a line, with the fields that a script looks for; nothing else on standard output."""
        failed = self.editd.ctl("--json", "submit", "-", "--wait", code=1, stdin="""plugin: "misbehave" output { ref: "bad" }
            params { [type.googleapis.com/editd.tests.misbehave.v1.MisbehaveSpec] { mode: MODE_FAIL } }""").json()[-1]
        self.assertEqual((failed["state"], failed["message"]), ("JOB_STATE_FAILED", "asked to fail"))
        slow = self.editd.ctl("--json", "submit", "-", stdin=noop(milliseconds=60_000, seed=11)).json()[-1]
        self.assertEqual(slow["spec"]["plugin"], "noop")
        job = str(self.trimmed["job"])
        fields = {
            f"import {self.editd.path('tiny')} --as json --no-wait": {"id", "state", "spec"},
            f"watch {job}": {"job", "state", "ref", "version", "from_recipe", "seconds", "bytes_written", "peak_rss_bytes", "result"},
            f"why {job}": {"job", "why"},
            "queue": {"id", "state", "reason", "spec", "submitted"},
            f"cancel {slow['id']}": {"id", "state", "cancel_requested"},
            "models": {"ref", "version"},
            "show small": {"id", "content", "parents", "tensors", "files", "attributes", "recipe"},
            "log small": {"id", "recipe"},
            "descendants tiny": {"id", "recipe"},
            "diff tiny small": {"kind"},
            "tag jason small": {"name", "version", "generation"},
            "reflog small": {"name", "from", "to", "job", "user"},
            "export small json-out": {"job", "state"},
            "plugins": {"name", "version", "hash", "path", "spec_type"},
            "init trim": {"name", "example"},
            "validate trim.pb": {"findings", "job"},
            "why-alive small": {"reasons"},
            "gc --dry-run": {"bytes", "count", "dry_run"},
            "verify": {"packs", "assets", "versions", "findings", "done"},
            "daemon status": {"pid", "state_dir", "socket", "pending", "running"},
            "daemon start": {"pid", "started"},
            "version": {"version"},
        }
        for command, wanted in fields.items():
            lines = self.editd.json(*command.split())
            self.assertTrue(lines, command)
            self.assertLessEqual(wanted, set(lines[-1]), command)
        wait_for(lambda: self.job(slow["id"])["state"] == "JOB_STATE_CANCELLED", "the job to be cancelled")
        self.assertEqual(self.editd.json("retry", slow["id"])[-1]["id"], slow["id"])
        self.editd.ctl("cancel", slow["id"])
        lines = self.editd.submit("""plugin: "misbehave" output { ref: "logged" } seed: 5
            params { [type.googleapis.com/editd.tests.misbehave.v1.MisbehaveSpec] { mode: MODE_LOG amount: 2 } }""")["job"]
        self.assertEqual([line["log"]["text"] for line in self.editd.json("logs", lines)], ["line 0", "line 1"])

    def test_every_help_has_an_example(self):
        for command in ("import submit watch logs cancel retry why queue models show log descendants diff tag reflog export plugins init "
                        "validate gc verify").split():
            out = self.editd.ctl(command, "--help").out
            self.assertIn(f"editctl {command}", out, command)


class Daemon(unittest.TestCase):
    def test_start_and_stop(self):
        editd = Editd(config="")
        try:
            editd.ctl("daemon", "start")
            pid = editd.json("daemon", "status")[0]["pid"]
            editd.ctl("daemon", "start")  # It runs: nothing to do.
            self.assertEqual(editd.json("daemon", "status")[0]["pid"], pid)
            editd.ctl("daemon", "stop")
            wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "the daemon's end")
            self.assertNotEqual(editd.ctl("daemon", "status", code=None).code, 0)
        finally:
            editd.__exit__(None, None, None)

    def test_sigterm_ends_it_in_order_and_what_ran_runs_again(self):
        with Editd(config=TEST_PLUGINS) as editd:
            job = editd.ctl("--json", "submit", "-", stdin=noop(milliseconds=500)).json()[-1]["id"]
            wait_for(lambda: editd.json("queue"), "the job")
            editd.stop()
            editd.start()
            wait_for(lambda: next(j for j in editd.json("queue", "--all") if j["id"] == job)["state"] == "JOB_STATE_SUCCEEDED", "the job")
            os.kill(editd.process.pid, signal.SIGINT)
            self.assertEqual(editd.process.wait(60), 0)
            editd.start()


del Day  # Not a test of its own.

if __name__ == "__main__":
    unittest.main()
