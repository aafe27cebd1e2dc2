"""trim on a small model, judged by others: what it exports is opened with HF tokenizers and read byte by byte."""

import json
import pathlib
import random
import struct
import unittest

import tiny_model
import tokenizers
from harness import Editd


def spec(keep, ref, more=""):
    return f"""plugin: "trim" input {{ model: "tiny" }} output {{ ref: "{ref}" }}
        params {{ [type.googleapis.com/editd.plugins.trim.v1.TrimSpec] {{ keep {{ {keep} }} {more} }} }}"""


def tensors(path):
    """Name to (shape, bytes) of a safetensors file."""
    data = pathlib.Path(path).read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    return {name: (entry["shape"], data[8 + size + entry["data_offsets"][0] : 8 + size + entry["data_offsets"][1]])
            for name, entry in header.items() if name != "__metadata__"}


# Characters of the script Latin, and such as belong to every script.
LATIN = [range(32, 127), range(0xC0, 0xD7), range(0xD8, 0xF7), range(0x1EA0, 0x1EFA), range(0x300, 0x320),
         range(0x1F600, 0x1F640), [9, 10, 13, 32, 0xA0, 0x3000]]
ANY = LATIN + [range(0xF7, 0x180), range(0x410, 0x450), range(0x4E00, 0x4F00)]


def random_text(rng, pools=ANY):
    return "".join(chr(rng.choice(rng.choice(pools))) for _ in range(rng.randrange(1, 60)))


class Trim(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.editd = cls.enterClassContext(Editd())
        cls.tiny = tiny_model.write(cls.editd.path("tiny"))
        config = json.loads((cls.tiny / "config.json").read_text())
        config["eos_token_id"] = [1, 0]
        (cls.tiny / "config.json").write_text(json.dumps(config))
        (cls.tiny / "generation_config.json").write_text(json.dumps({"eos_token_id": [1], "suppress_tokens": [300, 0]}))
        cls.editd.import_model(cls.tiny, "tiny")
        cls.before = tokenizers.Tokenizer.from_file(str(cls.tiny / "tokenizer.json"))
        cls.text = "The model reads the text. Mô hình đọc văn bản.\n"
        cls.editd.write("text.txt", cls.text)

    def trim(self, name, keep, more=""):
        done = self.editd.submit(spec(keep, name, more))
        self.assertEqual(done["state"], "JOB_STATE_SUCCEEDED", done)
        out = self.editd.path("out-" + name)
        self.editd.ctl("export", name, out)
        return done["result"], out, tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))

    def check(self, out, after, same_ids_on=""):
        """What must hold of any trim."""
        old_vocabulary, vocabulary = self.before.get_vocab(), after.get_vocab()
        by_id = sorted(vocabulary, key=vocabulary.get)
        self.assertEqual([vocabulary[token] for token in by_id], list(range(len(by_id))))
        kept = [old_vocabulary[token] for token in by_id]
        self.assertEqual(kept, sorted(kept))
        old, new = tensors(self.tiny / "model.safetensors"), tensors(out / "model.safetensors")
        self.assertEqual(old.keys(), new.keys())
        rows = json.loads((out / "config.json").read_text())["vocab_size"]
        for name, (shape, data) in new.items():
            if name != "model.embed_tokens.weight":
                self.assertEqual((shape, data), old[name], name)
                continue
            self.assertEqual(shape, [rows, tiny_model.HIDDEN])
            size = 4 * tiny_model.HIDDEN
            for row, source in enumerate(kept):
                self.assertEqual(data[row * size : (row + 1) * size], old[name][1][source * size : (source + 1) * size])
            columns = list(zip(*struct.iter_unpack(f"<{tiny_model.HIDDEN}f", data[: len(kept) * size])))
            for row in range(len(kept), rows):
                padding = struct.unpack_from(f"<{tiny_model.HIDDEN}f", data, row * size)
                for value, column in zip(padding, columns):
                    self.assertAlmostEqual(value, sum(column) / len(kept), delta=1e-8)  # A float of size 1e-2, rounded once.
        if same_ids_on:
            self.assertEqual([by_id[i] for i in after.encode(same_ids_on).ids], self.before.encode(same_ids_on).tokens)
        rng = random.Random(5)
        for _ in range(300):
            text = random_text(rng)
            self.assertEqual(after.decode(after.encode(text).ids, skip_special_tokens=False), text)
        return kept

    def test_by_corpus(self):
        result, out, after = self.trim("corpus", 'corpus { path: "text.txt" min_count: 1 }')
        self.check(out, after, same_ids_on=self.text)
        self.assertLess(result["vocab_after"], result["vocab_before"])
        self.assertEqual(result["corpus_tokens_before"], len(self.before.encode(self.text).ids))
        self.assertEqual(result["corpus_tokens_after"], result["corpus_tokens_before"])
        config = json.loads((out / "config.json").read_text())
        self.assertEqual(config["vocab_size"] % 64, 0)
        self.assertEqual(config["eos_token_id"], [1, 0])
        generation = json.loads((out / "generation_config.json").read_text())
        vocabulary = after.get_vocab()
        kept = [vocabulary[token] for token in map(self.before.id_to_token, [300, 0]) if token in vocabulary]
        self.assertEqual(generation["suppress_tokens"], kept)

    def test_min_count_drops_rare_tokens_and_loses_no_text(self):
        self.editd.write("long.txt", tiny_model.TEXT)
        result, out, after = self.trim("rare", 'corpus { path: "long.txt" min_count: 3 }')
        self.check(out, after)
        self.assertEqual(after.decode(after.encode(tiny_model.TEXT).ids), tiny_model.TEXT)
        self.assertGreater(result["corpus_tokens_after"], result["corpus_tokens_before"])

    def test_by_script(self):
        _, out, after = self.trim("latin", 'script: "Latin"')
        self.check(out, after)
        # A text in the script is read as before, also where a token is a part of a character ...
        rng = random.Random(3)
        latin = [line for line in tiny_model.TEXT.split("\n") if "Модель" not in line]
        for text in latin + [random_text(rng, LATIN) for _ in range(500)]:
            self.assertEqual(after.encode(text).tokens, self.before.encode(text).tokens)
        self.assertGreater(len(after.encode("Модель").ids), len(self.before.encode("Модель").ids))  # ... and others go.

    def test_by_list(self):
        vocabulary = self.before.get_vocab()
        token = max((t for t in vocabulary if t.isascii() and t.isalpha()), key=len)
        self.editd.write("list.txt", token + "\n")
        _, out, after = self.trim("listed", 'list { path: "list.txt" }', "pad_to_multiple: 1")
        self.check(out, after)
        self.assertIn(token, after.get_vocab())
        self.editd.write("list.jsonl", f'"{token}"\n{vocabulary[token]}\n')
        again = self.editd.submit(spec('list { path: "list.jsonl" }', "listed2", "pad_to_multiple: 1"))
        self.assertEqual(self.editd.json("show", again["ref"])[0]["content"], self.editd.json("show", "listed")[0]["content"])

    def test_to_a_size(self):
        result, out, after = self.trim("sized", 'corpus { path: "text.txt" } target_size: 280', "pad_to_multiple: 1")
        self.check(out, after)
        self.assertEqual(result["vocab_after"], 280)
        self.assertEqual(json.loads((out / "config.json").read_text())["vocab_size"], 280)

    def test_only_the_embedding_is_written(self):
        self.trim("small", 'corpus { path: "text.txt" }')
        old, new = ({tensor["name"]: tensor["id"] for tensor in self.editd.json("show", ref)[0]["tensors"]} for ref in ("tiny", "small"))
        self.assertEqual([name for name in old if old[name] != new[name]], ["model.embed_tokens.weight"])

    def test_a_trim_of_a_trim_maps_to_its_parent(self):
        self.trim("first", 'script: "Latin"')
        done = self.editd.submit(spec('corpus { path: "text.txt" }', "second").replace('model: "tiny"', 'model: "first"'))
        self.assertEqual(done["state"], "JOB_STATE_SUCCEEDED", done)
        edits = [version["recipe"]["plugin"] for version in self.editd.json("log", "second")]
        self.assertEqual(sorted(edits), ["import", "trim", "trim"])

    def test_bad_specs_and_files_are_refused_with_the_place(self):
        def refused(keep, *parts):
            done = self.editd.ctl("submit", "-", "--wait", stdin=spec(keep, "bad"), code=None)
            self.assertNotEqual(done.code, 0)
            said = done.out + done.err
            for part in parts:
                self.assertIn(part, said)

        refused("", "params.keep", "nothing is kept")
        refused('script: "Latni"', "params.keep.script[0]", 'did you mean "Latin"?')
        self.editd.write("bad.txt", b"good \xe1 bad")
        refused('corpus { path: "bad.txt" }', "params.keep.corpus[0].path", "bad.txt", "not UTF-8 at byte 5")
        self.editd.write("missing.txt", "nosuchtoken\n")
        refused('list { path: "missing.txt" }', "params.keep.list[0].path", "nosuchtoken", "line 1")
        self.editd.write("empty.txt", "")
        refused('corpus { path: "empty.txt" }', "params.keep", "keep no token")
        refused("target_size: 10", "target_size", "too small")
        refs = [line["ref"]["name"] for line in self.editd.json("models")]
        self.assertIn("tiny", refs)
        self.assertNotIn("bad", refs)
        self.editd.verify()


if __name__ == "__main__":
    unittest.main()
