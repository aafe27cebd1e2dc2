"""Bad input: a clear error, and nothing lost. After each test the store must verify and the next edit must work."""

import hashlib
import itertools
import json
import re
import shutil
import struct
import subprocess
import unittest

import tiny_model
from harness import SANITIZED, TEST_PLUGINS, Editd, wait_for


def trim(keep='corpus { path: "text.txt" }', model="tiny", more=""):
    return f"""plugin: "trim" input {{ model: "{model}" }} output {{ ref: "small" }} {more}
        params {{ [type.googleapis.com/editd.plugins.trim.v1.TrimSpec] {{ keep {{ {keep} }} }} }}"""


def misbehave(mode, more="", job=""):
    return f"""plugin: "misbehave" output {{ ref: "bad" }} {job}
        params {{ [type.googleapis.com/editd.tests.misbehave.v1.MisbehaveSpec] {{ mode: {mode} {more} }} }}"""


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # A hung worker is noticed soon; one crash is no reason to wait for a second.
        cls.editd = cls.enterClassContext(Editd(config=TEST_PLUGINS + "heartbeat = 200 ms\nhung_after = 2 s\ncancel_grace = 1 s\n"))
        cls.editd.import_model(tiny_model.write(cls.editd.path("tiny")), "tiny")
        cls.editd.write("text.txt", tiny_model.ENGLISH)

    def tearDown(self):
        self.editd.verify()
        self.assertEqual({model["ref"]["name"] for model in self.editd.json("models")} - {"small", "good"}, {"tiny"})

    def says(self, message, *parts):
        for part in parts:
            self.assertIn(part, message)
        self.assertNotIn("terminate called", message)

    def submit_says(self, spec, *parts, options=()):
        self.says(self.editd.refused("submit", "-", "--wait", *options, stdin=spec), *parts)


class Specs(BadInput):
    def test_an_unknown_plugin(self):
        self.submit_says(trim().replace('"trim"', '"trimm"', 1), '"trimm"', '"trim"')

    def test_an_unknown_field(self):
        self.submit_says(trim('corpse { path: "text.txt" }'), "corpse", "corpus")

    def test_an_unknown_field_of_the_job(self):
        self.submit_says(trim(more="outputs { }"), "outputs", "output")

    def test_a_field_of_another_type(self):
        self.submit_says(trim('target_size: "many"'), "2:", "integer", "many")

    def test_an_unknown_field_in_json(self):
        spec = {"plugin": "noop", "params": {"@type": "type.googleapis.com/editd.tests.noop.v1.NoopSpec", "ecko": "x"}}
        self.submit_says(json.dumps(spec), "ecko", "echo")

    def test_a_spec_that_breaks_off(self):
        self.submit_says('plugin: "trim" input {', "1:")

    def test_a_missing_ref(self):
        self.submit_says(trim(model="tinny"), '"tinny"', '"tiny"')

    def test_a_prefix_of_several_versions(self):
        """Two versions whose ids begin alike; ids can be known before (storage/FORMAT.md, 4)."""
        first = self.editd.submit(misbehave("MODE_UNSPECIFIED").replace('"bad"', '"good"') + " seed: 251")["version"]
        version = self.editd.json("show", first)[0]
        number = lambda n: struct.pack("<Q", n)

        def id_of(seed):
            # Without params and inputs; the content is the same for every multiple of 251.
            recipe = hashlib.sha256(b"editd recipe 1\n" + number(len("misbehave")) + b"misbehave" +
                                    bytes.fromhex(version["recipe"]["plugin_hash"]) + number(0) + number(0) + number(seed)).digest()
            return hashlib.sha256(b"editd version 1\n" + bytes.fromhex(version["content"]) + number(0) + recipe).hexdigest()

        self.assertEqual(id_of(251), first)
        seeds = {}
        for k in itertools.count(2):
            seeds.setdefault(id_of(251 * k)[:5], []).append(251 * k)
            alike = seeds[id_of(251 * k)[:5]]
            if len(alike) == 2:
                break
        for seed in alike:
            job = self.editd.submit(misbehave("MODE_UNSPECIFIED").replace('"bad"', '"good"') + f" seed: {seed}")
            self.assertEqual(job["version"], id_of(seed))
        prefix = id_of(alike[0])[:5]
        for command in (("show", prefix), ("log", prefix), ("diff", "tiny", prefix), ("tag", "wrong", prefix), ("export", prefix, "out")):
            self.says(self.editd.refused(*command), f'"{prefix}" begins more than one version', *(id_of(s)[:16] for s in alike),
                      "more digits")
        self.submit_says(trim(model=prefix), "input[0].model", f'"{prefix}" begins more than one version', id_of(alike[1])[:16])
        longer = next(n for n in range(5, 65) if id_of(alike[0])[:n] != id_of(alike[1])[:n])
        self.assertEqual(self.editd.json("show", id_of(alike[1])[:longer])[0]["id"], id_of(alike[1]))

    def test_an_unknown_value_of_an_enumeration(self):
        self.submit_says(misbehave("MODE_CRUSH"), "standard input:2:", ": mode: ", '"MODE_CRUSH" is none of its values; did you mean "MODE_CRASH"?')

    def test_several_typing_errors(self):
        self.submit_says('plugn: "x" ' + trim('corpse { path: "text.txt" }'), '"plugn"', '"plugin"', '"corpse"', '"corpus"')

    def test_a_path_that_is_not_there(self):
        self.submit_says(trim('corpus { path: "nowhere.txt" }'), "nowhere.txt", "params.keep.corpus[0].path")

    def test_no_output(self):
        self.submit_says(trim().replace('output { ref: "small" }', ""), "output")

    def test_a_name_that_cannot_be_a_ref(self):
        self.submit_says(trim().replace('"small"', '"sm all/../x"'), "sm all/../x")

    def test_validate_finds_it_too(self):
        self.says(self.editd.refused("validate", "-", stdin=trim(model="tinny")), '"tinny"', '"tiny"')

    def test_a_job_that_does_not_exist(self):
        self.says(self.editd.refused("cancel", "4711"), "4711")
        self.says(self.editd.refused("watch", "4711"), "4711")


class TrimSpecs(BadInput):
    def test_an_empty_keep_set(self):
        self.submit_says(trim(""), "params.keep")

    def test_a_list_of_tokens_that_do_not_exist(self):
        self.editd.write("list.txt", "model\nthereisnosuchtoken\n")
        self.submit_says(trim('list { path: "list.txt" }'), "thereisnosuchtoken", "list.txt")

    def test_a_corpus_that_is_not_utf8(self):
        self.editd.write("broken.txt", b"0123456789\xe1 and so on")
        self.submit_says(trim('corpus { path: "broken.txt" }'), "broken.txt", "UTF-8", "byte 10")

    def test_an_unknown_script(self):
        self.submit_says(trim('script: "Latim"'), "Latim", "Latin")

    def test_a_target_below_what_always_stays(self):
        self.submit_says(trim('corpus { path: "text.txt" } target_size: 100'), "target_size", "100")


class Models(BadInput):
    """Model files that are broken or lie."""

    def import_says(self, change, *parts):
        folder = self.editd.path("broken")
        shutil.rmtree(folder, ignore_errors=True)
        change(tiny_model.write(folder))
        self.says(self.editd.refused("import", folder, "--as", "broken"), *parts)

    def header_says(self, change, *parts):
        """With a safetensors file whose header is changed by `change`."""
        def rewrite(folder):
            data = (folder / "model.safetensors").read_bytes()
            size = struct.unpack("<Q", data[:8])[0]
            header = json.loads(data[8:8 + size])
            change(header)
            (folder / "model.safetensors").write_bytes(tiny_model.with_header(header, data[8 + size:]))
        self.import_says(rewrite, "model.safetensors", *parts)

    def test_a_truncated_file(self):
        def cut(folder):
            path = folder / "model.safetensors"
            path.write_bytes(path.read_bytes()[:-56])
        self.import_says(cut, "model.safetensors", "ends at", "incomplete")

    def test_an_offset_beyond_the_file(self):
        def lie(header):
            header["model.norm.weight"]["data_offsets"] = [1 << 40, (1 << 40) + 128]
        self.header_says(lie, "model.norm.weight")

    def test_overlapping_tensors(self):
        def lie(header):
            header["model.norm.weight"]["data_offsets"] = [0, 128]
        self.header_says(lie, "overlap")

    def test_a_huge_shape(self):
        def lie(header):
            header["model.norm.weight"]["shape"] = [1 << 62, 1 << 62]
        self.header_says(lie, "model.norm.weight")

    def test_a_huge_header(self):
        def lie(folder):
            (folder / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
        self.import_says(lie, "model.safetensors")

    def test_a_missing_tensor(self):
        def drop(header):
            del header["model.layers.1.mlp.up_proj.weight"]
        self.header_says(drop)

    def test_no_config(self):
        self.import_says(lambda folder: (folder / "config.json").unlink(), "config.json")

    def test_an_architecture_that_is_not_known(self):
        """It can be stored, but what computes refuses it by name."""
        folder = tiny_model.write(self.editd.path("mamba"))
        config = folder / "config.json"
        config.write_text(config.read_text().replace("LlamaForCausalLM", "MambaForCausalLM").replace('"llama"', '"mamba"'))
        self.editd.import_model(folder, "good")
        self.submit_says("""plugin: "evaluate" input { model: "good" } params {
            [type.googleapis.com/editd.plugins.evaluate.v1.EvaluateSpec] { data { path: "text.txt" } } }""", "MambaForCausalLM")

    def test_a_tokenizer_that_is_not_understood(self):
        def change(folder):
            tokenizer = json.loads((folder / "tokenizer.json").read_text())
            tokenizer["pre_tokenizer"] = {"type": "CharDelimiterSplit", "delimiter": "x"}
            (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        folder = self.editd.path("odd")
        change(tiny_model.write(folder))
        imported = self.editd.ctl("import", folder, "--as", "good", code=None)
        said = imported.err if imported.code else self.editd.refused("submit", "-", "--wait", stdin=trim(model="good"))
        self.says(said, "CharDelimiterSplit")

    def test_a_truncated_gguf(self):
        path = self.editd.write("cut.gguf", b"GGUF" + struct.pack("<IQQ", 3, 2, 1) + b"\x05")
        self.says(self.editd.refused("import", path, "--as", "broken"), "cut.gguf")

    def test_a_gguf_with_huge_counts(self):
        path = self.editd.write("huge.gguf", b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60) + bytes(64))
        self.says(self.editd.refused("import", path, "--as", "broken"), "huge.gguf")

    def test_a_gguf_whose_tensors_lie(self):
        def gguf(*tensors, size=256):
            """A file of version 3 without metadata; each tensor is (name, dimensions, type, offset)."""
            data = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0)
            for name, dimensions, kind, offset in tensors:
                data += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(dimensions))
                data += struct.pack(f"<{len(dimensions)}QIQ", *dimensions, kind, offset)
            return data + bytes(-len(data) % 32 + size)

        f32 = 0
        for data, *parts in (
                (gguf(("here", [32], f32, 0), ("far", [32], f32, 1 << 40)), '"far"', "incomplete"),
                (gguf(("one", [32], f32, 0), ("two", [32], f32, 64)), '"two"', '"one"', "overlap"),
                (gguf(("cut", [32, 4], f32, 0), size=500), '"cut"', "incomplete"),
                (gguf(("huge", [1 << 40, 1 << 40], f32, 0)), '"huge"'),
                (gguf(("odd", [32], 4711, 0)), '"odd"', "4711")):
            self.says(self.editd.refused("import", self.editd.write("lies.gguf", data), "--as", "broken"), "lies.gguf", *parts)

    def test_neither_gguf_nor_a_folder(self):
        path = self.editd.write("model.bin", b"PK\x03\x04 some pickle")
        self.says(self.editd.refused("import", path, "--as", "broken"), "model.bin")


class Plugins(BadInput):
    def fails(self, mode, exit_class, *parts, more="", job="", attempts=1):
        """The job must fail as `exit_class` with a message that has `parts`, in so many attempts."""
        number = self.editd.ctl("--json", "submit", "-", "--wait", stdin=misbehave(mode, more, job), code=None).json()[-1]["job"]
        job = next(job for job in self.editd.json("queue", "--all", "--limit", 0) if job["id"] == number)
        self.assertEqual(job["state"], "JOB_STATE_FAILED")
        self.assertEqual(job["attempts"][-1]["exit_class"], f"EXIT_CLASS_{exit_class}", job["attempts"])
        self.assertEqual(len(job["attempts"]), attempts, job["attempts"])
        self.says(job["attempts"][-1]["message"], *parts)

    def test_it_exits(self):
        self.fails("MODE_EXIT", "CRASHED", "exit", attempts=2)

    def test_it_crashes(self):
        self.fails("MODE_CRASH", "CRASHED", "SIGSEGV", attempts=2)

    def test_it_passes_its_time(self):
        self.fails("MODE_SPIN", "TIMED_OUT", "1 s", job="limits { time_seconds: 1 }")

    def test_it_throws(self):
        self.fails("MODE_THROW", "PLUGIN_ERROR", "asked to throw")

    def test_it_says_an_error(self):
        self.fails("MODE_FAIL", "PLUGIN_ERROR", "asked to fail")

    def test_it_publishes_nan(self):
        self.fails("MODE_NAN", "INVALID_OUTPUT", "made", "NaN")

    def test_it_publishes_half_a_tensor(self):
        self.fails("MODE_SHORT", "INVALID_OUTPUT", "made")

    def test_it_publishes_too_much(self):
        self.fails("MODE_LONG", "INVALID_OUTPUT", "made")

    def test_it_publishes_a_name_twice(self):
        self.fails("MODE_TWICE", "INVALID_OUTPUT", "made")

    def test_it_refuses_what_it_made(self):
        self.fails("MODE_REFUSE", "INVALID_OUTPUT", "asked to refuse")

    def test_it_names_a_file_outside(self):
        self.fails("MODE_BAD_NAME", "INVALID_OUTPUT", "../escape")

    @unittest.skipIf(SANITIZED, "a sanitizer's memory is not limited")
    def test_it_takes_all_memory(self):
        self.fails("MODE_ALLOCATE", "OUT_OF_MEMORY", more="amount: 2000000000", job="limits { memory_bytes: 400000000 }")

    def test_it_writes_what_is_no_frame(self):
        self.fails("MODE_BABBLE", "CRASHED", attempts=2)

    def test_it_finds_the_spec_wrong(self):
        self.submit_says(misbehave("MODE_UNSPECIFIED", 'finding: "this is wrong"'), "params.finding", "this is wrong")

    def test_it_crashes_while_it_checks(self):
        """The plugin's fault is told as the plugin's, where its output is, and the daemon works on."""
        for command in (("submit", "-", "--wait"), ("validate", "-")):
            said = self.editd.refused(*command, stdin=misbehave("MODE_CRASH", "in_check: true"))
            self.says(said, 'plugin "misbehave": its check crashed: ', "SIGSEGV", "the daemon goes on", "the daemon's log")
            self.assertNotIn("went away", said)
        self.assertEqual(self.editd.submit(misbehave("MODE_LOG").replace('"bad"', '"good"'))["state"], "JOB_STATE_SUCCEEDED")

    def test_it_exits_while_it_checks(self):
        self.submit_says(misbehave("MODE_EXIT", "in_check: true"), 'plugin "misbehave": its check crashed: ', "exit status 0")

    def test_what_it_writes_while_it_checks_is_in_the_daemons_log(self):
        self.editd.ctl("validate", "-", stdin=misbehave("MODE_PRINT", "in_check: true"))
        for line in ("a line to standard output", "a line to standard error"):
            wait_for(lambda: f"plugin misbehave wrote while it was asked: {line}" in self.editd.log.read_text(), line)

    def test_it_hangs_while_it_checks(self):
        with Editd(config=TEST_PLUGINS + "check_timeout = 1 s\n") as other:
            said = other.refused("submit", "-", "--wait", stdin=misbehave("MODE_HANG", "in_check: true"))
            self.says(said, 'plugin "misbehave": its check gave no answer within 1 s', "check_timeout")
            other.verify()

    def test_it_hangs(self):
        """Not a sign of life for hung_after: it is ended, tried once more, and the log says why."""
        self.fails("MODE_HANG", "HUNG", "gave no sign of life for 2 s and was ended", attempts=2)

    def test_a_forced_run_that_differs_from_the_first(self):
        """The version that was made first stays what the name means."""
        spec = misbehave("MODE_DIFFER").replace('"bad"', '"good"')
        first = self.editd.submit(spec)["version"]
        again = self.editd.ctl("--json", "submit", "-", "--wait", "--force", stdin=spec, code=1).json()[-1]
        self.assertEqual(again["state"], "JOB_STATE_FAILED")
        self.says(again["message"], first, "the plugin is not deterministic")
        self.assertEqual(self.editd.json("show", "good")[0]["id"], first)
        job = next(job for job in self.editd.json("queue", "--all", "--limit", 0) if job["id"] == again["job"])
        self.assertEqual([a["exit_class"] for a in job["attempts"]], ["EXIT_CLASS_INVALID_OUTPUT"])
        self.assertTrue(self.editd.submit(spec)["from_recipe"])

    def test_its_output_is_in_the_log(self):
        job = self.editd.submit(misbehave("MODE_PRINT").replace('"bad"', '"good"'))
        log = self.editd.ctl("logs", job["job"]).out
        self.assertIn("a line to standard output", log)
        self.assertIn("a line to standard error", log)

    def test_it_reaches_nothing_outside(self):
        job = self.editd.submit(misbehave("MODE_TRESPASS", f'forbidden_path: "{self.editd.config}"').replace('"bad"', '"good"'))
        self.assertEqual(job["result"].get("trespassed", []), ["another program"] if SANITIZED else [])

    def test_it_is_of_another_abi(self):
        self.submit_says('plugin: "other_abi"', "other_abi", "ABI", "99")
        self.assertIn("99", self.editd.ctl("plugins").out)

    def test_it_is_of_a_newer_minor_abi(self):
        self.submit_says('plugin: "newer_abi"', "newer_abi", "ABI 1.99", "install a newer editd")

    def test_one_of_the_first_minor_abi_runs(self):
        """Built in C against the header of 1.0, which is frozen: tests/plugins/first_abi."""
        params = 'params { [type.googleapis.com/editd.tests.noop.v1.NoopSpec] { %s } }'
        job = self.editd.submit('plugin: "first_abi" input { model: "tiny" } seed: 7 ' + params % "")
        self.assertEqual(job["state"], "JOB_STATE_SUCCEEDED")
        self.assertEqual(self.editd.ctl("logs", job["job"]).out.strip(), "seed 7, 1 inputs")
        self.submit_says('plugin: "first_abi" ' + params % 'echo: "x"', "params.echo: a plugin of ABI 1.0 has nothing to echo")


class Daemons(BadInput):
    def test_the_state_directory_is_in_use(self):
        second = subprocess.run([self.editd.programs / "editd", "--state-dir", self.editd.state], capture_output=True, text=True,
                                timeout=60, env=self.editd.environment())
        self.assertNotEqual(second.returncode, 0)
        self.says(second.stderr + second.stdout, str(self.editd.state), str(self.editd.process.pid))
        self.assertTrue(self.editd.answers())

    def test_the_configuration_has_an_unknown_key(self):
        config = self.editd.write("wrong.conf", "max_runing = 2\n")
        done = subprocess.run([self.editd.programs / "editd", "--config", config, "--state-dir", self.editd.path("other")],
                              capture_output=True, text=True, timeout=60, env=self.editd.environment())
        self.assertNotEqual(done.returncode, 0)
        self.says(done.stderr + done.stdout, "wrong.conf", "max_runing", "max_running")

    def test_the_disk_has_too_little_room(self):
        with Editd(config="disk_reserve = 1000 TB\n") as other:
            job = other.ctl("--json", "import", self.editd.path("tiny"), "--as", "tiny", "--no-wait").json()[-1]["id"]
            waiting = wait_for(lambda: [j for j in other.json("queue") if j["reason"] == "PENDING_REASON_DISK_LOW"], "DISK_LOW")
            self.assertEqual(waiting[0]["id"], job)
            self.assertIn("PB are reserved", other.ctl("why", job).out)
            other.ctl("cancel", job)
            other.verify()

    def test_no_daemon(self):
        with Editd() as other:
            other.stop()
            self.says(other.refused("models"), "editctl daemon start")
            other.start()


class OtherFormat(unittest.TestCase):
    def test_a_store_of_another_format(self):
        with Editd() as editd:
            editd.stop()
            marker = editd.state / "format"
            self.assertTrue(marker.exists(), sorted(editd.state.iterdir()))
            before = marker.read_text()
            marker.chmod(0o600)
            marker.write_text(re.sub(r"\d+", "999", before))
            editd.launch()
            self.assertNotEqual(editd.process.wait(60), 0)
            self.assertIn("999", editd.log.read_text())
            editd.process = None
            marker.write_text(before)
            editd.start()
            editd.verify()


del BadInput  # Not a test of its own.

if __name__ == "__main__":
    unittest.main()
