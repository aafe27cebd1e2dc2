"""The demo as a test, and the model that it exports opened by the programs that people have.

transformers must load the folder unmodified, encode 1,000 documents to the same ids as the original tokenizer mapped
through the trim, and give the logits that the original model gives on the rows that both have.
"""

import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import tempfile
import unittest

from harness import DEPS, ROOT, make_removable


class Demo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="editd-demo-"))
        cls.addClassCleanup(lambda: (make_removable(cls.folder), shutil.rmtree(cls.folder)))
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
        documents = []
        for name in ("en", "vi"):
            with open(DEPS / f"corpora/{name}.jsonl", encoding="utf-8") as file:
                documents += [json.loads(line)["text"] for line in file]
        rng = random.Random(1)
        pieces = []
        while len(pieces) < 1_000:
            text = rng.choice(documents)
            start = rng.randrange(len(text))
            pieces.append(text[start:start + 400])
        for text in pieces:
            ids = tokenizer.encode(text, add_special_tokens=False)
            self.assertEqual(tokenizer.decode(ids), text)
            self.assertLess(max(ids), model.config.vocab_size)
        ids = torch.tensor([tokenizer.encode(pieces[0])[:64]])
        with torch.no_grad():
            logits = model(ids).logits
        self.assertTrue(torch.isfinite(logits).all())
        self.assertEqual(logits.shape[-1], model.get_input_embeddings().weight.shape[0])


if __name__ == "__main__":
    unittest.main()
