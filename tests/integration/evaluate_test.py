"""evaluate on SmolLM2-135M-Instruct against the programs whose conventions it follows; the numbers are made by
tests/golden/make_perplexity.py.
"""

import json
import math
import shutil
import unittest

import gguf
import numpy

from harness import DEPS, ROOT, Editd

GOLDEN = json.loads((ROOT / "tests/golden/perplexity/smollm2.json").read_text(encoding="utf-8"))
TYPE = "type.googleapis.com/editd.plugins.evaluate.v1.EvaluateSpec"


class Evaluate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.editd = Editd().__enter__()
        cls.addClassCleanup(cls.editd.__exit__, None, None, None)
        model = next((DEPS / "model").glob("*.gguf"))
        cls.editd.import_model(model, "smol")
        # Another last norm, as changed() in make_perplexity.py makes it.
        other = cls.editd.path("other.gguf")
        shutil.copyfile(model, other)
        reader = gguf.GGUFReader(other, "r+")
        [norm] = [tensor for tensor in reader.tensors if tensor.name == "output_norm.weight"]
        norm.data[:] = norm.data * (1 + numpy.float32(0.02) * (numpy.arange(len(norm.data)) % 7 - 3).astype(numpy.float32))
        reader.data.flush()
        cls.editd.import_model(other, "other")
        cls.editd.write("texts.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in GOLDEN["texts"]))

    def evaluate(self, models, params):
        inputs = " ".join(f'input {{ model: "{model}" }}' for model in models)
        spec = self.editd.write("evaluate.pb", f'plugin: "evaluate" {inputs} params {{ [{TYPE}] {{ {params} }} }}')
        lines = self.editd.ctl("submit", spec, "--wait", "--json").out.splitlines()
        return json.loads(lines[-1])["result"]

    def near(self, ours, theirs, tolerance, what):
        self.assertLessEqual(abs(ours - theirs), tolerance, f"{what}: {ours}, not {theirs}")

    def test_llama_perplexity(self):
        """It prints four to six digits. Its file of the base's logits holds logarithms in steps of 2.4e-4, none more than 16
        below the largest: the base's perplexity in the table differs in the third digit from the one without that file."""
        for golden in GOLDEN["llama_cpp"]:
            result = self.evaluate(["smol", "other"], f'data {{ path: "texts.jsonl" }} convention: CONVENTION_LLAMA_CPP '
                                                      f'context: {golden["context"]}')
            base, table = result["perplexity"][0], result["logits_diff"]["table"]
            perplexity, error = golden["perplexity"]
            self.near(base["perplexity"] / perplexity, 1, 2e-4, "PPL")
            self.near(base["log_perplexity_error"] * base["perplexity"] / error, 1, 2e-3, "its error")
            theirs = golden["table"]
            # (line, field, relative and absolute tolerance)
            for line, field, relative, absolute in (
                    ("Mean PPL(Q)", "perplexity_q", 2e-4, 0), ("Mean PPL(base)", "perplexity_base", 5e-3, 0),
                    ("Mean ln(PPL(Q)/PPL(base))", "log_ratio", 0, 5e-3), ("Mean PPL(Q)/PPL(base)", "ratio", 5e-3, 0),
                    ("Mean PPL(Q)-PPL(base)", "difference", 0, 5e-3 * perplexity), ("Mean KLD", "kld", 2e-3, 5e-5),
                    ("Mean Δp", "delta_p", 0, 3e-3), ("RMS Δp", "delta_p_rms", 2e-3, 2e-3), ("Same top p", "same_top", 0, 0.2)):
                self.near(table[field]["value"], theirs[line][0], absolute + relative * abs(theirs[line][0]), line)
                self.near(table[field]["error"], theirs[line][1], absolute + 5e-3 * theirs[line][1] + 1e-3, line + "'s error")
            for line, field in (("Maximum", "max"), ("99.9%", "99_9"), ("99.0%", "99"), ("95.0%", "95"), ("90.0%", "90"),
                                ("Median", "median"), ("10.0%", "10"), ("5.0%", "5"), ("1.0%", "1"), ("0.1%", "0_1"),
                                ("Minimum", "min")):
                self.near(table["kld_" + field], theirs[line + " KLD"][0], 3e-4 + 1e-2 * abs(theirs[line + " KLD"][0]), line)
                self.near(table["delta_p_" + field], theirs[line + " Δp"][0], 0.02, line)
            self.near(table["correlation"], theirs["Cor(ln(PPL(Q)), ln(PPL(base)))"][0], 0.05, "correlation")

    def test_lm_evaluation_harness(self):
        """Both in float32: sums of thousands of tokens agree to 1e-5."""
        for golden in GOLDEN["lm_eval"]:
            result = self.evaluate(["smol"], f'data {{ path: "texts.jsonl" }} convention: CONVENTION_LM_EVAL '
                                             f'context: {golden["context"]}')
            ours = result["perplexity"][0]
            self.near(ours["nll"] / -sum(golden["log_likelihood"]), 1, 1e-5, "log-likelihood")
            self.near(ours["bits_per_byte"] / golden["bits_per_byte"], 1, 1e-5, "bits per byte")
            self.near(ours["word_perplexity"] / golden["word_perplexity"], 1, 1e-4, "word perplexity")
            self.near(math.exp(ours["nll"] / ours["bytes"]) / golden["byte_perplexity"], 1, 1e-5, "byte perplexity")

    def test_transformers_page(self):
        for golden in GOLDEN["hf_strided"]:
            result = self.evaluate(["smol"], f'data {{ path: "texts.jsonl" }} convention: CONVENTION_HF_STRIDED '
                                             f'context: {golden["context"]} stride: {golden["stride"]}')
            self.near(result["perplexity"][0]["perplexity"] / golden["perplexity"], 1, 1e-5, "perplexity")

    def test_versions_compare_later_without_a_run(self):
        params = 'data { path: "texts.jsonl" } context: 64 script_leak {}'
        refused = self.editd.ctl("eval", "compare", "smol", "other", "--with", "1", code=1)
        self.assertIn("job 1 measured nothing", refused.err)
        whole = [self.evaluate([model], params) for model in ("smol", "other")]
        results = [result["perplexity"][0] for result in whole]
        leak = [result["script_leak"]["scores"][0]["mass"] for result in whole]
        jobs = len(self.editd.ctl("queue", "--all", "--json").json())
        [compared] = self.editd.ctl("eval", "compare", "smol", "other", "--json").json()
        self.assertEqual(compared["documents"], len(GOLDEN["texts"]))
        self.near(compared["difference"], results[1]["bits_per_byte"] - results[0]["bits_per_byte"], 1e-12, "difference")
        self.assertTrue(compared["same_windows"])
        self.assertLess(compared["low"], compared["difference"])
        self.assertGreater(compared["high"], compared["difference"])
        self.assertLess(compared["p"], 1)
        self.assertEqual(len(compared["most_changed"]), 10)
        for side, mass in zip("ab", leak):
            self.near(compared["script_leak"][side], mass["value"], 1e-12, "script leak")
        self.near(compared["script_leak"]["difference"], leak[1]["value"] - leak[0]["value"], 1e-12, "leak's difference")
        self.assertLess(compared["script_leak"]["low"], compared["script_leak"]["difference"])
        # Paired by document: what makes a document hard for both takes no part.
        self.assertLess(compared["script_leak"]["error"], math.hypot(leak[0]["error"], leak[1]["error"]))
        self.assertIn("script leak beyond Latin: smol ", self.editd.ctl("eval", "compare", "smol", "other").out)
        history = self.editd.ctl("eval", "history", "other", "--json").json()
        self.assertIn(results[1]["nll"], [line["perplexity"]["nll"] for line in history])
        self.assertIn(leak[1], [line.get("script_leak", {}).get("mass") for line in history])
        for arguments in (["compare", "smol", "other"], ["history", "smol"], ["show", "other"]):
            self.assertIn("texts.jsonl", self.editd.ctl("eval", *arguments).out)
        # The same again is answered from the store, and nothing of the above ran a job.
        self.assertEqual(len(self.editd.ctl("queue", "--all", "--json").json()), jobs)
        self.assertEqual(self.evaluate(["smol"], params)["perplexity"][0], results[0])
        # A job that was answered so names data and settings as well as the one that ran.
        again = self.editd.ctl("submit", "evaluate.pb", "--wait", "--json").json()[-1]
        self.assertTrue(again["from_recipe"])
        self.assertEqual(self.editd.ctl("eval", "compare", "smol", "other", "--with", again["job"], "--json").json(), [compared])


if __name__ == "__main__":
    unittest.main()
