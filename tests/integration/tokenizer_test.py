"""Tokenizers through the whole system: `editctl tokenize`, trim and GGUF, on vocabularies over bytes and over characters,
judged by HF tokenizers and transformers."""

import json
import pathlib
import unittest

import gguf
import numpy
import tiny_model
import tokenizers
import transformers
from harness import Editd

GOLDENS = pathlib.Path(__file__).parent.parent / "golden" / "tokenizers"
KINDS = ["gpt2", "qwen2", "o200k", "llama2", "gemma", "metaspace"]
TEXTS = ["The model reads the text.\nMô hình đọc văn bản.", "  two  spaces ", "don't <|im_end|> 12345", "e\u0301 日本 👍🏽 ﬁ Ǆ", "▁ _", ""]
KEPT = "The quick brown fox. Người Việt Nam thực hiện nghệ thuật. "


def in_bytes(text, offsets):
    at = [len(text[:i].encode()) for i in range(len(text) + 1)]
    return [at[a] for a, _ in offsets], [at[b] for _, b in offsets]


class Tokenizers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.editd = cls.enterClassContext(Editd())
        cls.editd.write("texts.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
        cls.editd.write("kept.txt", KEPT * 3)

    def model(self, kind, tokenizer_json):
        """A tiny model with this tokenizer."""
        folder = tiny_model.write(self.editd.path(kind), tokenizer_json=tokenizer_json)
        self.editd.import_model(folder, kind)
        return folder

    def check_tokens(self, source, reference):
        for special in (False, True):
            printed = self.editd.json("tokenize", source, "texts.jsonl", *(["--special"] if special else []))
            total = 0
            for line, text in zip(printed, [text for text in TEXTS]):
                expected = reference.encode(text, add_special_tokens=special)
                self.assertEqual(line["ids"], expected.ids, text)
                self.assertEqual(line["pieces"], [reference.id_to_token(i) for i in expected.ids])
                self.assertEqual((line["begin"], line["end"]), in_bytes(text, expected.offsets), text)
                total += len(expected.ids)
            totals = printed[-1]
            self.assertEqual((totals["kind"], totals["tokens"], totals["documents"]), ("totals", total, len(TEXTS)))
            self.assertEqual(totals["bytes"], sum(len(text.encode()) for text in TEXTS))
            counted = self.editd.json("tokenize", source, "texts.jsonl", "--totals", *(["--special"] if special else []))
            self.assertEqual(counted, [totals])

    def test_every_kind_is_shown_and_trimmed(self):
        for kind in KINDS:
            with self.subTest(kind):
                path = GOLDENS / f"{kind}.json"
                reference = tokenizers.Tokenizer.from_file(str(path))
                folder = self.model(kind, json.loads(path.read_text()))
                self.check_tokens(kind, reference)
                self.check_tokens(folder / "tokenizer.json", reference)
                self.check_trim(kind, reference)

    def check_trim(self, kind, before):
        done = self.editd.submit(f"""plugin: "trim" input {{ model: "{kind}" }} output {{ ref: "{kind}-small" }}
            params {{ [type.googleapis.com/editd.plugins.trim.v1.TrimSpec] {{ keep {{ corpus {{ path: "kept.txt" }} }} }} }}""")
        self.assertEqual(done["state"], "JOB_STATE_SUCCEEDED", done)
        out = self.editd.path(f"{kind}-out")
        self.editd.ctl("export", f"{kind}-small", out)
        after = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
        self.assertLess(after.get_vocab_size(), before.get_vocab_size() - 100)
        old = {token: i for token, i in before.get_vocab().items()}
        kept = [old[token] for token in sorted(after.get_vocab(), key=after.get_vocab().get)]
        ids = after.encode(KEPT * 3).ids
        self.assertEqual([kept[i] for i in ids], before.encode(KEPT * 3).ids)
        for text in TEXTS:
            self.assertEqual(after.decode(after.encode(text).ids), before.decode(before.encode(text).ids), text)
        made = transformers.PreTrainedTokenizerFast.from_pretrained(out)
        self.assertEqual(made(KEPT * 3)["input_ids"], ids)
        self.assertGreaterEqual(transformers.AutoModelForCausalLM.from_pretrained(out).get_input_embeddings().weight.shape[0], len(kept))
        self.check_tokens(f"{kind}-small", after)

    def test_sentencepiece_in_gguf(self):
        """The vocabulary of the kind "llama": its ids are those of the tokenizer that it was made from."""
        spelled = json.loads((GOLDENS / "llama2.json").read_text())
        vocabulary = spelled["model"]["vocab"]
        tokens = sorted(vocabulary, key=vocabulary.get)
        made_at = {"".join(merge): -float(rank) for rank, merge in enumerate(spelled["model"]["merges"])}
        rows = len(tokens)
        path = self.editd.path("spm.gguf")
        writer = gguf.GGUFWriter(path, "llama")
        for add, value in [("block_count", 1), ("embedding_length", 32), ("feed_forward_length", 32), ("context_length", 64),
                           ("head_count", 2), ("head_count_kv", 2), ("layer_norm_rms_eps", 1e-6), ("tokenizer_model", "llama"),
                           ("token_list", tokens), ("token_scores", [made_at.get(token, -1e6) for token in tokens]),
                           ("token_types", [2 if t == "<unk>" else 3 if t in ("<s>", "</s>") else 6 if t.startswith("<0x") else 1 for t in tokens]),
                           ("bos_token_id", 1), ("eos_token_id", 2)]:
            getattr(writer, f"add_{add}")(value)
        shapes = {"token_embd": (rows, 32), "output": (rows, 32), "output_norm": (32,), "blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,)}
        shapes |= {f"blk.0.{name}": (32, 32) for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}
        for name, shape in shapes.items():
            writer.add_tensor(f"{name}.weight", numpy.ones(shape, dtype=numpy.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        self.editd.import_model(path, "spm")
        out = self.editd.path("spm-out")
        self.editd.ctl("export", "spm", out)
        loaded = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
        # The same without the added tokens that only the golden has.
        spelled["added_tokens"] = [token for token in spelled["added_tokens"] if token["id"] < 3]
        reference = tokenizers.Tokenizer.from_str(json.dumps(spelled))
        for text in [*TEXTS, KEPT, pathlib.Path(__file__).read_text()]:
            self.assertEqual(loaded.encode(text).ids, reference.encode(text).ids, text)
            self.assertEqual(transformers.AutoTokenizer.from_pretrained(out)(text)["input_ids"], reference.encode(text).ids, text)
        self.check_tokens("spm", loaded)

    def test_what_cannot_be_shown_is_told(self):
        self.editd.write("bad.txt", "x")
        self.editd.write("unigram.json", json.dumps({"model": {"type": "Unigram", "vocab": []}}))
        self.assertIn("model.type: \"Unigram\" is not supported", self.editd.refused("tokenize", "unigram.json", "bad.txt"))
        self.assertIn("no file \"none.json\"", self.editd.refused("tokenize", "none.json", "bad.txt"))
        self.assertIn("no version named \"none\"", self.editd.refused("tokenize", "none", "bad.txt"))
        gpt2 = GOLDENS / "gpt2.json"
        self.editd.path("latin.txt").write_bytes(b"caf\xe9")
        self.assertIn("\"latin.txt\" is not UTF-8 at byte 3", self.editd.refused("tokenize", gpt2, "latin.txt"))
        self.editd.write("no_text.jsonl", "{\"body\": 1}\n")
        self.assertIn("no_text.jsonl", self.editd.refused("tokenize", gpt2, "no_text.jsonl"))
        self.assertIn("2 tokens", self.editd.ctl("tokenize", gpt2, "-", stdin="ab").out)


if __name__ == "__main__":
    unittest.main()
