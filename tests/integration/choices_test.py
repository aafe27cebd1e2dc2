"""Multiple choice against lm-evaluation-harness 0.4.13, on tiny models with five tokenizers and on SmolLM2; the numbers
are made by tests/golden/make_choices.py.
"""

import json
import unittest

import tiny_model
from harness import DEPS, ROOT, Editd

GOLDEN = ROOT / "tests/golden"
TYPE = "type.googleapis.com/editd.plugins.evaluate.v1.EvaluateSpec"
# As TINY in make_choices.py.
TINY = {"gpt2": 11, "llama3": 12, "gemma": 13, "llama2": 14, "cl100k": 15}


class Choices(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.editd = Editd().__enter__()
        cls.addClassCleanup(cls.editd.__exit__, None, None, None)

    def evaluate(self, models, params):
        inputs = " ".join(f'input {{ model: "{model}" }}' for model in models)
        done = self.editd.submit(f'plugin: "evaluate" {inputs} params {{ [{TYPE}] {{ {params} }} }}')
        each = [json.loads(line) for line in self.editd.ctl("eval", "show", done["job"], "--each").out.splitlines()]
        return done["result"], each

    def ask(self, model, golden, name):
        self.editd.write(name, "".join(json.dumps(question) + "\n" for question in golden["questions"]))
        context = f'context: {golden["context"]}' if golden["context"] else ""
        return self.evaluate([model], f'{context} multiple_choice {{ questions {{ path: "{name}" }} '
                                      f'prompt: {json.dumps(golden["prompt"])} delimiter: "{golden["delimiter"]}" '
                                      f'continuation: CONTINUATION_{golden["continuation"]} }}')

    def check(self, model, kind):
        """Both compute in float32 and sum in another order: a log-likelihood of several tokens agrees to 1e-4 of it at the
        least, and choices of these questions are never as near as that."""
        for number, golden in enumerate(json.loads((GOLDEN / f"choices/{kind}.json").read_text(encoding="utf-8"))):
            with self.subTest(kind=kind, prompt=golden["prompt"], context=golden["context"]):
                result, (head, *each) = self.ask(model, golden, f"{kind}-{number}.jsonl")
                self.assertEqual(head["format"], "editd questions 1")
                self.assertEqual(len(each), len(golden["questions"]))
                for ours, theirs in zip(each, golden["log_likelihood"]):
                    [found] = ours["log_likelihood"]
                    self.assertEqual(len(found), len(theirs))
                    for a, b in zip(found, theirs):
                        self.assertLessEqual(abs(a - b), 1e-4 * abs(b), ours)
                [scores] = result["multiple_choice"]["scores"]
                for metric in ("acc", "acc_norm", "acc_bytes"):
                    value, error = golden[metric]
                    self.assertAlmostEqual(scores[metric].get("value", 0), value, delta=1e-12, msg=metric)
                    self.assertAlmostEqual(scores[metric].get("error", 0), error, delta=1e-12, msg=metric)
                self.assertEqual(scores.get("truncated", 0) != 0, golden["context"] != 0)

    def test_tiny_models_of_several_tokenizers(self):
        for kind, seed in TINY.items():
            tokenizer = json.loads((GOLDEN / f"tokenizers/{kind}.json").read_text(encoding="utf-8"))
            self.editd.import_model(tiny_model.write(self.editd.path(kind), seed, tokenizer), kind)
            self.check(kind, kind)

    def test_smollm2_and_a_comparison_without_a_run(self):
        self.editd.import_model(next((DEPS / "model").glob("*.gguf")), "smol")
        self.check("smol", "smollm2")
        self.editd.import_model(tiny_model.write(self.editd.path("other"), 3), "other")
        questions = json.loads((GOLDEN / "choices/smollm2.json").read_text(encoding="utf-8"))[0]["questions"]
        self.editd.write("again.jsonl", "".join(json.dumps(question) + "\n" for question in questions))
        params = 'multiple_choice { questions { path: "again.jsonl" } }'
        [both], [head, *_] = ([self.evaluate(["smol"], params)[0]], self.evaluate(["other"], params)[1])
        self.assertEqual(len(head["models"]), 1)
        [compared] = self.editd.json("eval", "compare", "smol", "other")
        [asked] = compared["questions"]
        self.assertEqual(asked["questions"], len(questions))
        self.assertEqual([metric["metric"] for metric in asked["metrics"]], ["acc", "acc_norm", "acc_bytes", "acc_tokens"])
        self.assertEqual(asked["metrics"][0]["a"], both["multiple_choice"]["scores"][0]["acc"].get("value", 0))
        out = self.editd.ctl("eval", "compare", "smol", "other").out
        self.assertIn("multiple choice, 14 questions", out)
        self.assertIn("acc_norm", out)
        self.assertIn("again.jsonl", self.editd.ctl("eval", "show", "other").out)
        # A version on which only questions were asked has a line, too, and the table no empty columns.
        [line] = self.editd.json("eval", "history", "other")
        self.assertEqual(line["multiple_choice"]["acc"].get("value", 0), asked["metrics"][0]["b"])
        titles, row = self.editd.ctl("eval", "history", "other").out.splitlines()
        self.assertEqual(titles.split(), ["VERSION", "MADE", "BY", "JOB", "ACC", "ACC_NORM", "DATA", "SETTINGS"])
        self.assertIn(f'{asked["metrics"][0]["b"]:.4f} ±', row)
        self.assertIn("again.jsonl", row)

    def test_answers_in_words_and_what_is_written_are_kept(self):
        """On a tiny model: what it says is rubbish, but it is kept, and counts as it stands."""
        self.editd.import_model(tiny_model.write(self.editd.path("words"), 5), "words")
        self.editd.write("words.jsonl", "".join(json.dumps(line) + "\n" for line in (
            {"question": "Thủ đô của Việt Nam?", "choices": ["Hà Nội", "Huế", "Đà Nẵng", "Vinh"], "answer": "A"},
            {"question": "2 + 2?", "choices": ["A. 3", "B. 4"], "answer": "B"})))
        params = ('generated_answers { questions { path: "words.jsonl" } raw: true max_tokens: 6 } '
                  'script_leak { prompt_path: "words.txt" raw: true max_tokens: 9 }')
        self.editd.write("words.txt", "Tiếng Việt")
        result, (head, *each) = self.evaluate(["words"], params)
        scores = result["generated_answers"]["scores"][0]
        self.assertEqual(head["metrics"], ["accuracy"])
        self.assertEqual([line["answer"] for line in each], ["A", "B"])
        self.assertTrue(all(isinstance(line["text"][0], str) for line in each))
        self.assertAlmostEqual(scores["accuracy"].get("value", 0), sum(line["accuracy"][0] for line in each) / 2)
        leak = result["script_leak"]["scores"][0]
        self.assertLessEqual(leak.get("generated_outside", 0), leak["generated_tokens"])
        self.assertLessEqual(leak["generated_tokens"], 9)
        self.assertIn("generated answers, 2 questions", self.editd.ctl("eval", "compare", "words", "words").out)

    def test_a_job_that_measured_both_is_compared_first(self):
        """Its windows are the same in both; a later measurement of one alone is cut otherwise, if the tokenizers differ."""
        for name, seed in (("one", 6), ("two", 7)):
            self.editd.import_model(tiny_model.write(self.editd.path(name), seed), name)
        self.editd.write("pair.txt", "Một văn bản ngắn, and some more of it.\n" * 5)
        jobs = [self.editd.submit(f'plugin: "evaluate" {inputs} params {{ [{TYPE}] {{ data {{ path: "pair.txt" }} context: 16 }} }}')["job"]
                for inputs in ('input { model: "one" } input { model: "two" }', 'input { model: "two" }')]
        [compared] = self.editd.json("eval", "compare", "one", "two")
        self.assertEqual([compared[side]["job"] for side in "ab"], [int(jobs[0])] * 2)
        self.assertTrue(compared["same_windows"])


if __name__ == "__main__":
    unittest.main()
