"""merge, judged by others: what is merged of the real model opens in transformers and says the same there as here; models
with different tokenizers become one that encodes as it is promised, rows in their places; and a worker's memory does not
grow with the model."""

import json
import math
import pathlib
import random
import shutil
import subprocess
import threading
import time
import unittest

import numpy
import safetensors.numpy
import safetensors.torch
import tiny_model
import tokenizers
import torch
import transformers
from harness import BIN, DEPS, Editd

TEXTS = ["The quick brown fox jumps over the lazy dog.", "don't   stop\n\n12345 <|endoftext|>", "Mô hình đọc văn bản.",
         "naïve café — 模型读取文本 🙂", " leading and trailing ", "def f(x):\n    return x ** 2\n"]


def spec(ref, params, seed=1, **inputs):
    """inputs: the name in the spec to the ref."""
    lines = " ".join(f'input {{ model: "{model}" name: "{name}" }}' for name, model in inputs.items())
    return f"""plugin: "merge" {lines} output {{ ref: "{ref}" }} seed: {seed}
        params {{ [type.googleapis.com/editd.plugins.merge.v1.MergeSpec] {{ {params} }} }}"""


class Interop(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.editd = cls.enterClassContext(Editd())

    def succeed(self, text):
        done = self.editd.submit(text)
        self.assertEqual(done["state"], "JOB_STATE_SUCCEEDED", done)
        return done

    def exported(self, ref):
        folder = self.editd.path(f"{ref}-exported")
        self.editd.ctl("export", ref, folder)
        return folder

    def opened(self, folder):
        """As transformers opens it: nothing may be missing or left over."""
        model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
        self.assertEqual([problem for problem in info.values() if problem], [])
        return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)


class RealModel(Interop):
    """SmolLM2, a variant with noise in half of its tensors, and one with a small vocabulary."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.editd.import_model(DEPS / "model/SmolLM2-135M-Instruct.Q4_1.gguf", "smol")
        smol, noisy = cls.editd.path("smol"), cls.editd.path("noisy")
        cls.editd.ctl("export", "smol", smol)
        shutil.copytree(smol, noisy, ignore=shutil.ignore_patterns("*.safetensors"))
        torch.manual_seed(1)
        for file in smol.glob("*.safetensors"):
            tensors = safetensors.torch.load_file(file)
            for i, name in enumerate(sorted(tensors)):
                if i % 2 == 0:
                    x = tensors[name]
                    tensors[name] = (x + 0.05 * x.float().std() * torch.randn_like(x, dtype=torch.float32)).to(x.dtype)
            safetensors.torch.save_file(tensors, noisy / file.name, {"format": "pt"})
        cls.editd.import_model(noisy, "noisy")
        shutil.rmtree(noisy)
        shutil.rmtree(smol)

    def ours(self, folder, ids):
        """The logits of this project's own decoder, position by position."""
        numpy.array([*ids, -1], dtype=numpy.int32).tofile(folder / "ids.i32")
        subprocess.run([BIN.parent / "tests/decoder_logits", "f32", folder], check=True)
        return torch.from_numpy(numpy.fromfile(folder / "logits.f32", dtype=numpy.float32).reshape(len(ids), -1))

    def check_says_the_same(self, ref):
        folder = self.exported(ref)
        model, tokenizer = self.opened(folder)
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": "Name three colours."}], add_generation_prompt=True,
                                               tokenize=False)
        ids = tokenizer(prompt)["input_ids"]
        with torch.no_grad():
            theirs = model(torch.tensor([ids])).logits[0]
            said = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=12, do_sample=False)
        ours = self.ours(folder, ids)
        self.assertLess(float((ours - theirs).abs().max() / theirs.abs().max()), 1e-4)  # Sums in another order.
        done = self.succeed(json.dumps({"plugin": "generate", "input": [{"model": ref}], "params": {
            "@type": "type.googleapis.com/editd.plugins.generate.v1.GenerateSpec",
            "prompt": [{"text": "Name three colours."}], "max_tokens": 12}}))
        got = done["result"]["completion"][0]
        self.assertEqual(got["token"], said[0, len(ids) :].tolist()[: len(got["token"])])
        self.assertEqual(got["text"], tokenizer.decode(got["token"], skip_special_tokens=True))
        self.assertGreater(len(got["text"]), 3)

    def test_a_merge_says_in_transformers_what_it_says_here(self):
        self.succeed(spec("smol-ties", """method: METHOD_TIES base: "base" parameters { density { value: 0.6 } }
            models { input: "noisy" parameters { weight { value: 0.7 } } }""", base="smol", noisy="noisy"))
        self.check_says_the_same("smol-ties")

    def test_a_merge_with_a_trimmed_one_keeps_its_tokens(self):
        self.editd.write("keep.txt", "\n".join(TEXTS) + tiny_model.TEXT)
        self.succeed("""plugin: "trim" input { model: "smol" } output { ref: "small" } params {
            [type.googleapis.com/editd.plugins.trim.v1.TrimSpec] { keep { corpus { path: "keep.txt" } } } }""")
        self.succeed(spec("small-mean", """method: METHOD_LINEAR vocabulary { of: VOCABULARY_OF_INPUT input: "small" }
            models { input: "small" parameters { weight { value: 1 } } }
            models { input: "noisy" parameters { weight { value: 1 } } }""", small="small", noisy="noisy"))
        self.check_says_the_same("small-mean")


def write_model(folder, tokenizer, seed):
    """A random Llama for a tokenizer of the `tokenizers` package."""
    torch.manual_seed(seed)
    rows = tokenizer.get_vocab_size() + 3  # Padding.
    config = transformers.LlamaConfig(vocab_size=rows, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                                      num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, bos_token_id=0,
                                      eos_token_id=1)
    transformers.LlamaForCausalLM(config).float().save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    return safetensors.numpy.load_file(folder / "model.safetensors")["model.embed_tokens.weight"]


def trained(kind, corpus, size):
    """A tokenizer as that family has it, learnt from a corpus."""
    if kind == "bytes":  # GPT-2's and SmolLM2's way.
        made = tokenizers.Tokenizer(tokenizers.models.BPE())
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, special_tokens=["<|endoftext|>", "<|im_end|>"], show_progress=False,
                                                 initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    else:  # Llama 2's and Gemma's.
        made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        made.normalizer = tokenizers.normalizers.Replace(" ", "▁")
        made.decoder = tokenizers.decoders.Sequence([tokenizers.decoders.Replace("▁", " "), tokenizers.decoders.ByteFallback(),
                                                     tokenizers.decoders.Fuse()])
        trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, show_progress=False, special_tokens=[
            "<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))])
    made.train_from_iterator(corpus, trainer)
    return made


def meaning(tokenizer, kind):
    """Each token's bytes, or its name where text can't make it; by id."""
    letters = {letter: byte for byte, letter in tiny_model.byte_letters().items()}
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items()}
    out = {}
    for token, i in tokenizer.get_vocab().items():
        if kind == "bytes":
            out[i] = token if i in special else bytes(letters[c] for c in token)
        elif len(token) == 6 and token.startswith("<0x"):
            out[i] = bytes([int(token[3:5], 16)])
        else:
            out[i] = token if i in special else token.replace("▁", " ").encode()
    return out


class Vocabularies(Interop):
    """Two models whose tokenizers were learnt from different texts, of one kind and of two."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        here = sorted(pathlib.Path(__file__).parent.glob("*.py"))
        corpora = {"a": [tiny_model.TEXT] * 3, "b": [path.read_text() for path in here]}
        cls.tokenizers = {"a": trained("bytes", corpora["a"], 420), "b": trained("bytes", corpora["b"], 700),
                          "c": trained("pieces", corpora["b"], 600)}
        cls.kinds = {"a": "bytes", "b": "bytes", "c": "pieces"}
        cls.rows = {}
        for seed, (name, tokenizer) in enumerate(cls.tokenizers.items()):
            cls.rows[name] = write_model(cls.editd.path(name), tokenizer, seed)
            cls.editd.import_model(cls.editd.path(name), f"model-{name}")
        cls.corpus = corpora["b"] + TEXTS

    def merged(self, ref, vocabulary, first, second):
        self.succeed(spec(ref, f"""method: METHOD_LINEAR base: "{first}" vocabulary {{ {vocabulary} }} parameters {{ weight {{ value: 1 }} }}
            models {{ input: "{first}" }} models {{ input: "{second}" }}""", **{first: f"model-{first}", second: f"model-{second}"}))
        folder = self.exported(ref)
        model, tokenizer = self.opened(folder)
        with torch.no_grad():
            self.assertTrue(torch.isfinite(model(torch.tensor([tokenizer(TEXTS[0])["input_ids"]])).logits).all())
        rows = model.get_input_embeddings().weight.detach().numpy()
        return rows, tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")), tokenizer

    def assert_rows(self, rows, made, owner, first, second):
        """Each row is the mean of the two models' rows of that token; of the one that has it, where only one has."""
        by_meaning = {}
        for name in (first, second):
            found = meaning(self.tokenizers[name], self.kinds[name])
            # Where a character has a token beside its byte's, it is the one that is meant.
            bytes_last = sorted(found, key=lambda i: (self.tokenizers[name].id_to_token(i).startswith("<0x"), i), reverse=True)
            by_meaning[name] = {found[i]: i for i in bytes_last}
        owned = meaning(self.tokenizers[owner], self.kinds[owner])
        shared = 0
        for token, i in made.get_vocab().items():
            # What was added is spelled as text.
            what = owned.get(i, token if token in by_meaning[first] or token in by_meaning[second] else token.encode())
            have = [self.rows[name][i if name == owner and i in owned else by_meaning[name][what]]
                    for name in (first, second) if what in by_meaning[name]]
            self.assertTrue(have, (token, i))
            shared += len(have) == 2
            numpy.testing.assert_allclose(rows[i], numpy.mean(have, axis=0), rtol=1e-6, atol=1e-8, err_msg=f"{token!r} {i}")
        self.assertGreater(shared, 256)

    def assert_same_ids(self, made, reference, tokenizer):
        for text in self.corpus:
            expected = reference.encode(text).ids
            self.assertEqual(made.encode(text).ids, expected, repr(text[:50]))
            self.assertEqual(tokenizer(text)["input_ids"], expected, repr(text[:50]))

    def test_the_bases_tokens(self):
        for first, second in (("a", "b"), ("b", "c"), ("c", "a")):
            rows, made, tokenizer = self.merged(f"base-{first}{second}", "of: VOCABULARY_OF_BASE", first, second)
            self.assertEqual(len(rows), self.tokenizers[first].get_vocab_size())
            self.assert_rows(rows, made, first, first, second)
            self.assert_same_ids(made, self.tokenizers[first], tokenizer)

    def test_a_named_models_tokens(self):
        rows, made, tokenizer = self.merged("named", 'of: VOCABULARY_OF_INPUT input: "b" pad_to_multiple: 64', "a", "b")
        self.assertEqual(len(rows), -(-self.tokenizers["b"].get_vocab_size() // 64) * 64)
        self.assertEqual(numpy.abs(rows[self.tokenizers["b"].get_vocab_size() :]).max(), 0)
        self.assert_rows(rows, made, "b", "a", "b")
        self.assert_same_ids(made, self.tokenizers["b"], tokenizer)

    def test_the_union_has_every_token_and_any_text_comes_back(self):
        for first, second in (("a", "b"), ("a", "c"), ("c", "b")):
            rows, made, tokenizer = self.merged(f"union-{first}{second}", "of: VOCABULARY_OF_UNION", first, second)
            self.assertEqual(len(rows), made.get_vocab_size())
            self.assert_rows(rows, made, first, first, second)
            # The other's tokens are found in text, and text is what it was.
            used = set()
            for text in self.corpus:
                ids = made.encode(text).ids
                self.assertEqual(tokenizer(text)["input_ids"], ids)
                # To "c" alone, too, that character is a space.
                self.assertEqual(made.decode(ids, skip_special_tokens=False), text.replace("▁", " ") if first == "c" else text)
                used.update(ids)
            self.assertGreater(sum(i >= self.tokenizers[first].get_vocab_size() for i in used), 50)


class PeakMemory(threading.Thread):
    """The largest anonymous memory of any worker of a daemon: mapped files are left out, for they are the page cache's."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.parent, self.peak, self.looks, self.stopping = daemon, 0, 0, False
        self.start()

    def run(self):
        while not self.stopping:
            for children in pathlib.Path(f"/proc/{self.parent}/task").glob("*/children"):
                try:
                    for child in children.read_text().split():
                        status = pathlib.Path(f"/proc/{child}/status").read_text()
                        found = [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:")]
                        if "edit-worker" in status and found:
                            self.peak, self.looks = max(self.peak, *found), self.looks + 1
                except OSError:
                    continue  # It has ended.
            time.sleep(0.001)


class Memory(Interop):
    """Once a small model, once one of four times its size. Either fills the pack writer's buffers, 48 MiB: what is more in
    the large one's worker grew with the model."""

    LIMIT = 500_000_000  # What the plugin promises.
    METHODS = {
        "linear": 'method: METHOD_LINEAR parameters { weight { value: 0.5 } } models { input: "a" } models { input: "b" }',
        "ties": 'method: METHOD_TIES base: "base" parameters { weight { value: 0.5 } density { value: 0.5 } } models { input: "a" } models { input: "b" }',
        "dare": 'method: METHOD_DARE_TIES base: "base" parameters { weight { value: 0.5 } density { value: 0.5 } } models { input: "a" } models { input: "b" }',
    }

    def write(self, folder, hidden, kind):
        inner, layers = 4 * hidden, 4
        rng = numpy.random.default_rng({"base": 1, "a": 2, "b": 3}[kind])
        vocabulary = tiny_model.tokenizer()["model"]["vocab"]
        tensors = {"model.embed_tokens.weight": (len(vocabulary), hidden), "model.norm.weight": (hidden,)}
        for i in range(layers):
            at = f"model.layers.{i}."
            tensors |= {at + "input_layernorm.weight": (hidden,), at + "post_attention_layernorm.weight": (hidden,)}
            tensors |= {at + f"self_attn.{name}_proj.weight": (hidden, hidden) for name in "qkvo"}
            tensors |= {at + "mlp.gate_proj.weight": (inner, hidden), at + "mlp.up_proj.weight": (inner, hidden),
                        at + "mlp.down_proj.weight": (hidden, inner)}
        folder.mkdir()
        file = folder / "model.safetensors"
        header, end = {}, 0
        for name, shape in tensors.items():
            begin, end = end, end + 2 * math.prod(shape)
            header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
        header = json.dumps(header).encode()
        with file.open("wb") as out:
            out.write(len(header).to_bytes(8, "little") + header)
            for shape in tensors.values():  # Any bits that are a finite number, less than two.
                bits = numpy.frombuffer(rng.bytes(2 * math.prod(shape)), numpy.uint64)
                (bits & numpy.uint64(0xBFFFBFFFBFFFBFFF)).tofile(out)
        (folder / "config.json").write_text(json.dumps({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": len(vocabulary), "hidden_size": hidden,
            "num_hidden_layers": layers, "num_attention_heads": 8, "num_key_value_heads": 8, "intermediate_size": inner,
            "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "torch_dtype": "float16"}))
        (folder / "tokenizer.json").write_text(json.dumps(tiny_model.tokenizer()))
        return file.stat().st_size

    def test_a_workers_memory_does_not_grow_with_the_model(self):
        sizes, peaks = [], {}
        for hidden in (768, 1536):
            for kind in ("base", "a", "b"):
                folder = self.editd.path(f"{kind}-{hidden}")
                size = self.write(folder, hidden, kind)
                self.editd.import_model(folder, f"{kind}-{hidden}")
                shutil.rmtree(folder)
            sizes.append(size)
            for name, params in self.METHODS.items():
                memory = PeakMemory(self.editd.process.pid)
                self.succeed(spec(f"{name}-{hidden}", params, base=f"base-{hidden}", a=f"a-{hidden}", b=f"b-{hidden}")
                             if "base" in params else spec(f"{name}-{hidden}", params, a=f"a-{hidden}", b=f"b-{hidden}"))
                memory.stopping = True
                memory.join()
                self.assertGreater(memory.looks, 5, "the worker was hardly seen")
                peaks.setdefault(name, []).append(memory.peak)
        self.assertAlmostEqual(sizes[1] / sizes[0], 4, delta=0.1)
        for name, (small, large) in peaks.items():
            print(f"{name}: {small / 1e6:.0f} MB for {sizes[0] / 1e6:.0f} MB a model, {large / 1e6:.0f} MB for {sizes[1] / 1e6:.0f} MB")
            self.assertLess(large, self.LIMIT, name)
            self.assertLess(large - small, (sizes[1] - sizes[0]) / 3, name)


if __name__ == "__main__":
    unittest.main()
