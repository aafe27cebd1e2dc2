"""The demo as a test, and the model that it exports opened by the programs that people have.

transformers must load the folder unmodified, encode and decode 1,000 pieces of text without a loss, and give the
probabilities that our own evaluation reported.
"""

import json
import os
import random
import shutil
import subprocess
import unittest

from harness import BIN, DEPS, ROOT


class Demo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Kept from run to run, like a user's: what no change touched is answered from the store.
        cls.folder = BIN.parent / "tests/demo"
        cls.out = cls.demo()

    @classmethod
    def demo(cls):
        environment = os.environ | {"EDITD_DEMO_DIR": str(cls.folder), "EDITD_DEPS_DIR": str(DEPS)}
        done = subprocess.run([ROOT / "deploy/demo"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise AssertionError(f"deploy/demo: exit status {done.returncode}\n{done.stdout}")
        return done.stdout

    def test_it_prints_lineage_and_table(self):
        for part in ("smol-envi", "import", "trim", "vocabulary", "perplexity", "bits per byte", "tokens"):
            self.assertIn(part, self.out)

    def test_it_leaves_no_daemon(self):
        running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout if shutil.which("ps") else ""
        self.assertNotIn(str(self.folder), running)

    def test_bits_per_byte_are_sane(self):
        result = json.loads((self.folder / "evaluated.json").read_text())["result"]
        base, trimmed = result["perplexity"]
        self.assertLess(base["bits_per_byte"], 2)
        self.assertLess(abs(trimmed["bits_per_byte"] - base["bits_per_byte"]), 0.1)
        self.assertLess(result["logits_diff"]["max_abs"], 1e-2)

    def test_the_second_run_finds_everything_made(self):
        again = self.demo()
        self.assertIn("made before", again)

    def test_transformers_opens_what_was_exported(self):
        import torch
        import transformers
        transformers.logging.set_verbosity_error()
        exported = self.folder / "exported"
        tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
        model = transformers.AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32)

        base = transformers.AutoTokenizer.from_pretrained(self.export_base())
        for text in self.paragraphs(1_000):
            ids = tokenizer.encode(text, add_special_tokens=False)
            self.assertEqual(tokenizer.decode(ids, clean_up_tokenization_spaces=False), text)
            before = base.encode(text, add_special_tokens=False)
            self.assertEqual(tokenizer.convert_ids_to_tokens(ids), base.convert_ids_to_tokens(before))

        # METRICS.md, LM_EVAL: one token before each document, windows that score each token once, all rows.
        with open(DEPS / "corpora/heldout.jsonl", encoding="utf-8") as file:
            documents = [json.loads(line)["text"] for line in file][:4]
        ours = self.evaluated(documents)
        nll, tokens = 0.0, 0
        for text in documents:
            ids = [tokenizer.bos_token_id, *tokenizer.encode(text)]
            scored = 0
            while scored < len(ids) - 1:
                end = min(scored + 512, len(ids) - 1)
                begin = max(0, end - 512)
                with torch.no_grad():
                    logits = model(torch.tensor([ids[begin:end]])).logits[0, scored - begin:]
                nll += torch.nn.functional.cross_entropy(logits, torch.tensor(ids[scored + 1:end + 1]), reduction="sum").item()
                scored = end
            tokens += scored
        self.assertEqual(tokens, ours["tokens"])
        self.assertEqual(sum(len(text.encode()) for text in documents), ours["bytes_scored"])
        self.assertLess(abs(nll - ours["nll"]) / nll, 1e-5)

    def ctl(self, *arguments):
        environment = os.environ | {"EDITD_STATE_DIR": str(self.folder / "state")}
        done = subprocess.run([BIN / "editctl", *arguments], env=environment, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              text=True)
        return done.stdout

    def export_base(self):
        """The imported model as a folder."""
        folder = self.folder / "exported-base"
        self.ctl("daemon", "start")
        self.ctl("export", "smol", folder, "--overwrite")
        self.ctl("daemon", "stop")
        return folder

    def evaluated(self, documents):
        """The trimmed version's perplexity as lm-evaluation-harness counts."""
        data, spec = self.folder / "few.jsonl", self.folder / "few.pb"
        data.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), encoding="utf-8")
        spec.write_text('plugin: "evaluate" input { model: "smol-envi" } params { '
                        '[type.googleapis.com/editd.plugins.evaluate.v1.EvaluateSpec] '
                        '{ data { path: "few.jsonl" } convention: CONVENTION_LM_EVAL context: 512 } }', encoding="utf-8")
        self.ctl("daemon", "start")
        lines = self.ctl("submit", spec, "--wait", "--json")
        self.ctl("daemon", "stop")
        return json.loads(lines.splitlines()[-1])["result"]["perplexity"][0]

    def paragraphs(self, count):
        """Of what the trim was told to keep, so that it encodes as before."""
        paragraphs = []
        for name in ("en", "vi"):
            with open(DEPS / f"corpora/{name}.jsonl", encoding="utf-8") as file:
                paragraphs += [part for line in file for part in json.loads(line)["text"].split("\n\n")]
        return random.Random(1).sample(paragraphs, count)


if __name__ == "__main__":
    unittest.main()
