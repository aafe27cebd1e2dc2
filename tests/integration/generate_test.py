"""generate and editctl chat on the real model: greedy answers equal transformers' (tests/golden/make_generate.py), the
conversation goes on from turn to turn, two models answer side by side, and mistakes are told."""

import json
import os
import unittest

from harness import DEPS, ROOT, Editd

TYPE = "type.googleapis.com/editd.plugins.generate.v1.GenerateSpec"


def spec(params, model="smol", seed=0):
    return json.dumps({"plugin": "generate", "input": [{"model": model}], "seed": seed, "params": {"@type": TYPE} | params})


class Generate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.editd = Editd()
        cls.editd.__enter__()
        cls.editd.import_model(DEPS / "model/SmolLM2-135M-Instruct.Q4_1.gguf", "smol")
        cls.golden = json.loads((ROOT / "tests/golden/generate/smollm2.json").read_text(encoding="utf-8"))

    @classmethod
    def tearDownClass(cls):
        cls.editd.__exit__(None, None, None)

    def run_spec(self, params, seed=0):
        return self.editd.submit(spec(params, seed=seed))["result"]

    def test_greedy_answers_equal_transformers(self):
        chats = [case for case in self.golden if not isinstance(case["prompt"], str)]
        texts = [case for case in self.golden if isinstance(case["prompt"], str)]
        self.assertTrue(chats and texts)
        lines = "".join(json.dumps({"messages": case["prompt"]}) + "\n" for case in chats)
        self.editd.write("chats.jsonl", lines)
        for cases, params in ((chats, {"file": [{"path": "chats.jsonl"}]}), (texts, {"prompt": [{"text": case["prompt"]} for case in texts], "raw": True})):
            result = self.run_spec(params | {"max_tokens": 64})
            self.assertEqual(len(result["completion"]), len(cases))
            for case, got in zip(cases, result["completion"]):
                self.assertEqual(got["prompt_tokens"], len(case["ids"]))
                self.assertEqual(got["token"], case["tokens"])
                self.assertEqual(got["text"], case["text"])
                self.assertEqual(got["finish"], "FINISH_END" if len(case["tokens"]) < 64 else "FINISH_MAX_TOKENS")
            self.assertGreater(result["decode_tokens_per_second"], 0)
            self.assertGreater(result["prefill_tokens_per_second"], 0)

    def test_samples_depend_on_seed_and_place_alone(self):
        params = {"prompt": [{"text": "Tell me a story."}, {"text": "Name a colour."}], "max_tokens": 12, "temperature": 0.9, "top_k": 50, "top_p": 0.95}
        first = [c["token"] for c in self.run_spec(params | {"batch": 1}, seed=5)["completion"]]
        self.assertEqual(first, [c["token"] for c in self.run_spec(params | {"batch": 2}, seed=5)["completion"]])
        self.assertNotEqual(first, [c["token"] for c in self.run_spec(params, seed=6)["completion"]])

    def test_text_is_told_while_it_grows(self):
        job = self.editd.submit(spec({"prompt": [{"text": "Count from one to ten."}], "max_tokens": 30}))
        text = job["result"]["completion"][0]["text"]
        pieces = [e["text"] for e in self.editd.json("watch", job["job"]) if "text" in e]
        self.assertGreaterEqual(len(pieces), 2)  # A first one at once, and what was left at the end.
        self.assertEqual("".join(piece["text"] for piece in pieces), text)
        self.assertEqual({piece["attempt"] for piece in pieces}, {1})
        # For people line by line, and no line of the log.
        shown = self.editd.ctl("watch", job["job"]).out.splitlines()
        for line in text.splitlines():
            self.assertIn("  " + line, shown)
        self.assertNotIn(text.splitlines()[0], self.editd.ctl("logs", job["job"]).out)

    def test_a_conversation_in_a_pipe(self):
        out = self.editd.ctl("--json", "chat", "smol", "--max-tokens", 24, stdin="My name is Lan.\n\nWhat is my name?\n").json()
        self.assertEqual([turn["model"] for turn in out], ["smol", "smol"])
        history = [{"role": "user", "content": "My name is Lan."}, {"role": "assistant", "content": out[0]["text"]},
                   {"role": "user", "content": "What is my name?"}]
        alone = self.run_spec({"prompt": [{"message": history}], "max_tokens": 24})
        self.assertEqual(out[1]["text"], alone["completion"][0]["text"])
        plain = self.editd.ctl("chat", "smol", "--max-tokens", 24, stdin="My name is Lan.\n")
        self.assertEqual(plain.out.strip(), out[0]["text"].strip())
        self.assertIn("tokens, prefill", plain.err)

    def test_two_versions_side_by_side(self):
        self.editd.ctl("tag", "twin", "smol")
        out = self.editd.ctl("-q", "chat", "smol", "twin", "--max-tokens", 16, stdin="Hello\n").out
        self.assertRegex(out.splitlines()[0], r"^smol:\s+\| twin:$")
        columns = [line.split(" | ") for line in out.splitlines()[1:]]
        self.assertEqual([left.strip() for left, _ in columns], [right.strip() for _, right in columns])

    def test_mistakes_are_told(self):
        refused = self.editd.refused
        self.assertIn("params.temperature: -1 is not between 0 and 100", refused("submit", "-", stdin=spec({"prompt": [{"text": "a"}], "temperature": -1})))
        self.assertIn("params.temperature: is 0", refused("submit", "-", stdin=spec({"prompt": [{"text": "a"}], "top_k": 3})))
        self.assertIn("params.prompt: there is nothing to go on from", refused("submit", "-", stdin=spec({})))
        self.assertIn("params.prompt[0]: is empty", refused("submit", "-", stdin=spec({"prompt": [{}]})))
        self.assertIn("params.max_tokens: 2000000 is not between 0 and 1048576", refused("submit", "-", stdin=spec({"prompt": [{"text": "a"}], "max_tokens": 2000000})))
        self.assertIn("params.stop[0]: is empty", refused("submit", "-", stdin=spec({"prompt": [{"text": "a"}], "stop": [""]})))
        if not os.path.exists("/dev/nvidiactl"):
            self.assertIn("params.device: CUDA: this machine has no NVIDIA driver: libcuda.so.1", refused("submit", "-", stdin=spec({"prompt": [{"text": "a"}], "device": "DEVICE_CUDA"})))
        self.assertIn("is no JSON value", refused("submit", "-", stdin=spec({"prompt": [{"text": "a"}], "template_variables": {"x": "no"}})))
        self.assertIn("positions that smol knows; shorten it", refused("submit", "-", "--wait", stdin=spec({"prompt": [{"text": "word " * 9000}], "raw": True})))
        self.editd.write("bad.jsonl", '{"prompt": "a"}\n{"question": "b"}\n')
        self.assertIn("params.file[0].path: line 2 of bad.jsonl", refused("submit", "-", "--wait", stdin=spec({"file": [{"path": "bad.jsonl"}]})))
        self.assertIn('no version named "smoll"', refused("chat", "smoll", stdin="hi\n"))
        self.assertIn("is not NAME=JSON", refused("chat", "smol", "--set", "thinking", stdin="hi\n"))


if __name__ == "__main__":
    unittest.main()
