"""Datasets: a text, JSON lines and a folder get a name; specs use the name, jobs record the content; gc leaves it."""

import json
import unittest

import tiny_model
from harness import Editd

EVALUATE = "type.googleapis.com/editd.plugins.evaluate.v1.EvaluateSpec"
TRIM = "type.googleapis.com/editd.plugins.trim.v1.TrimSpec"


def evaluate(data, settings="context: 32"):
    return f'plugin: "evaluate" input {{ model: "tiny" }} params {{ [{EVALUATE}] {{ data {{ {data} }} {settings} }} }}'


def trim(corpus, ref):
    return (f'plugin: "trim" input {{ model: "tiny" }} output {{ ref: "{ref}" }} '
            f'params {{ [{TRIM}] {{ keep {{ corpus {{ {corpus} }} }} }} }}')


class Datasets(unittest.TestCase):
    def setUp(self):
        self.editd = Editd().__enter__()
        self.addCleanup(self.editd.__exit__, None, None, None)
        self.editd.import_model(tiny_model.write(self.editd.path("tiny")), "tiny")
        self.lines = self.editd.write("vi.jsonl", "".join(
            json.dumps({"id": str(i), "body": f"a text number {i}, và một câu tiếng Việt"}, ensure_ascii=False) + "\n" for i in range(5)))

    def job(self, number):
        return self.editd.json("why", number)[0]["job"]

    def test_a_name_in_place_of_a_path(self):
        editd = self.editd
        added = editd.json("dataset", "add", "heldout/vi", "vi.jsonl", "--field", "body")[0]
        self.assertEqual((added["name"], added["field"], added["bytes"]), ("heldout/vi", "body", self.lines.stat().st_size))
        named = editd.submit(evaluate('path: "dataset:heldout/vi"'))
        self.assertEqual(named["result"]["data"][0]["path"], "dataset:heldout/vi")
        self.assertEqual(named["result"]["data"][0]["content"], added["content"])
        self.assertEqual(named["result"]["data"][0]["documents"], 5)
        # The job records the content under the name.
        [binding] = self.job(named["job"])["files"]
        self.assertEqual(binding["path"], "dataset:heldout/vi")
        self.assertEqual("asset:" + binding["entries"][0]["asset"], added["content"])
        # The same content by its path is the same evaluation.
        self.assertTrue(editd.submit(evaluate('path: "vi.jsonl" field: "body"'))["from_recipe"])
        [line] = editd.json("eval", "history", "tiny")
        self.assertEqual(line["data"][0]["path"], "dataset:heldout/vi")
        self.assertIn("dataset:heldout/vi", editd.ctl("eval", "history", "tiny").out)
        editd.submit(evaluate('path: "dataset:heldout/vi"', "context: 32 max_tokens: 1000000"))
        self.assertIn("bytes 32/16 f32, 1000000 tokens", editd.ctl("eval", "history", "tiny").out)
        # A trim's corpus, too.
        self.assertEqual(editd.submit(trim('path: "dataset:heldout/vi"', "small"))["state"], "JOB_STATE_SUCCEEDED")
        self.assertTrue(editd.submit(trim('path: "vi.jsonl" field: "body"', "again"))["from_recipe"])

    def test_gc_leaves_the_content_as_long_as_the_name(self):
        editd = self.editd
        added = editd.json("dataset", "add", "vi", "vi.jsonl", "--field", "body")[0]
        asset = added["entries"][0]["asset"]
        editd.ctl("gc", "--grace", "0s")
        self.assertIn("dataset vi", editd.ctl("why-alive", asset).out)
        self.lines.unlink()
        editd.submit(evaluate('path: "dataset:vi"'))
        editd.ctl("dataset", "rm", "vi")
        self.assertIn('no dataset named "vi"', editd.refused("submit", "-", stdin=evaluate('path: "dataset:vi"')))
        gone = [garbage["id"] for garbage in editd.json("gc", "--grace", "0s") if "id" in garbage]
        self.assertIn(asset, gone)
        editd.verify()

    def test_folders_and_texts(self):
        editd = self.editd
        editd.path("texts").mkdir()
        editd.write("texts/a.txt", "the first text")
        editd.write("texts/b.txt", "the second one")
        folder = editd.json("dataset", "add", "folder", "texts")[0]
        self.assertEqual((folder["field"], len(folder["entries"]), folder["content"][:5]), ("", 2, "tree:"))
        self.assertEqual(editd.submit(evaluate('path: "dataset:folder"'))["result"]["data"][0]["documents"], 2)
        self.assertIn('params.keep.corpus[0].path: dataset "folder" is a folder; a file is wanted',
                      editd.refused("submit", "-", stdin=trim('path: "dataset:folder"', "x")))
        editd.ctl("dataset", "add", "text", "texts/a.txt")
        self.assertEqual([d["name"] for d in editd.json("dataset", "list")], ["folder", "text"])
        for words in (["dataset", "list"], ["dataset", "show", "folder"]):
            self.assertIn("folder", editd.ctl(*words).out)
        self.assertIn("a.txt", editd.ctl("dataset", "show", "folder").out)
        self.assertEqual(editd.ctl("__complete", "dataset", "show", "fo").out.split(), ["folder"])
        self.assertEqual(editd.ctl("__complete", "dataset", "").out.split(), ["add", "list", "rm", "show"])
        editd.restart()
        self.assertEqual(editd.json("dataset", "show", "folder"), [folder])

    def test_mistakes_are_told(self):
        editd = self.editd
        refused = editd.refused
        editd.ctl("dataset", "add", "heldout", "vi.jsonl", "--field", "body")
        self.assertIn('params.data[0].path: no dataset named "heldot"; did you mean "heldout"?',
                      refused("submit", "-", stdin=evaluate('path: "dataset:heldot"')))
        self.assertIn('line 1 has no string "text"; it has body, id; name the field with the text: --field NAME',
                      refused("dataset", "add", "x", "vi.jsonl"))
        editd.write("a.txt", "plain")
        self.assertIn('its first line is no JSON object, so it has no field "body"', refused("dataset", "add", "x", "a.txt", "--field", "body"))
        self.assertIn('"heldout" with another content', refused("dataset", "add", "heldout", "a.txt"))
        editd.ctl("dataset", "add", "heldout", "vi.jsonl", "--field", "body")  # The same again changes nothing.
        self.assertIn('"a b" is no name for a dataset', refused("dataset", "add", "a b", "a.txt"))
        self.assertIn('"missing.txt"', refused("dataset", "add", "x", "missing.txt"))
        self.assertIn('did you mean "heldout"', refused("dataset", "rm", "heldouts"))
        self.assertIn('did you mean "heldout"', refused("dataset", "show", "heldouts"))


if __name__ == "__main__":
    unittest.main()
