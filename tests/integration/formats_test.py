"""import and export, judged by others: GGUF files written and decoded by `gguf`, folders opened by transformers, text
encoded by HF tokenizers."""

import math
import pathlib
import random
import unittest

import gguf
import numpy
import tiny_model
import tokenizers
import torch
import transformers
from harness import DEPS, Editd

LAYERS, HEADS, KV_HEADS, HIDDEN, INNER, THETA = 2, 4, 2, 64, 96, 500000.0
TENSORS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
           "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
           "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
           "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def permuted(rows, heads):
    """llama.cpp's order of the rows of query and key, as its converter makes it."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def unpermuted(rows, heads):
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def gguf_name(name):
    base, suffix = name.rsplit(".", 1)
    if base in OUTSIDE:
        return f"{OUTSIDE[base]}.{suffix}"
    layer, rest = base.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{TENSORS[rest]}.{suffix}"


def heads_of(name):
    return HEADS if ".q_proj." in name else KV_HEADS if ".k_proj." in name else 0


def scaling_divisors(head, factor=8.0, context=8192):
    """Llama 3's, as llama.cpp's converter writes them."""
    out = []
    for j in range(head // 2):
        waves = context * THETA ** (-2 * j / head) / (2 * math.pi)
        smooth = (waves - 1) / 3
        out.append(1.0 if waves > 4 else factor if waves < 1 else 1 / ((1 - smooth) / factor + smooth))
    return numpy.array(out, dtype=numpy.float32)


def random_text(rng):
    pools = [range(32, 127), range(48, 58), range(0xC0, 0x180), range(0x1EA0, 0x1EFA), range(0x300, 0x320),
             range(0x410, 0x450), range(0x4E00, 0x4F00), range(0x1F600, 0x1F640), [9, 10, 13, 32, 32, 0xA0, 0x3000]]
    return "".join(chr(rng.choice(rng.choice(pools))) for _ in range(rng.randrange(1, 60)))


def texts():
    rng = random.Random(5)
    found = [random_text(rng) for _ in range(2000)]
    found += [path.read_text() for path in sorted(pathlib.Path(__file__).parent.glob("*.py"))]
    return [*found, tiny_model.TEXT, "<|im_end|>don't <|endoftext|> 12345.678", "a\r\n\r\n  b\t", "e\u0301"]


class Formats(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.editd = cls.enterClassContext(Editd())

    def through(self, source, name, dtype=torch.float32):
        """Imports, exports, and opens with transformers; fails if a weight is missing or has no place."""
        self.editd.import_model(source, name)
        folder = self.editd.path(f"{name}-exported")
        self.editd.ctl("export", name, folder)
        model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, dtype=dtype)
        self.assertEqual([problem for problem in info.values() if problem], [])
        return folder, model

    def assert_same_ids(self, folder, reference):
        made = transformers.AutoTokenizer.from_pretrained(folder)
        plain = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        for text in texts():
            expected = reference.encode(text).ids
            self.assertEqual(plain.encode(text).ids, expected, repr(text))
            self.assertEqual(made(text)["input_ids"], expected, repr(text))
            self.assertEqual(made.decode(expected), reference.decode(expected, skip_special_tokens=False))


class SmallGguf(Formats):
    """A random model of each architecture, quantised by `gguf`."""

    def check(self, kind, pre, reference, quantised, **config):
        torch.manual_seed(3)
        tokens = sorted(reference.get_vocab(), key=reference.get_vocab().get)
        rows = len(tokens) + 7  # Padding: rows without a token.
        shared = {"vocab_size": rows, "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
                  "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "max_position_embeddings": 16384,
                  "rms_norm_eps": 1e-6, "rope_theta": THETA}
        model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(kind, **(shared | config))).float()
        for name, parameter in model.named_parameters():
            parameter.data = torch.randn_like(parameter) * 0.05 + (1 if "norm" in name else 0)
        head = config.get("head_dim", HIDDEN // HEADS)

        path = self.editd.path(f"{kind}.gguf")
        writer = gguf.GGUFWriter(path, kind)
        writer.add_block_count(LAYERS)
        writer.add_embedding_length(HIDDEN)
        writer.add_feed_forward_length(INNER)
        writer.add_context_length(16384)
        writer.add_head_count(HEADS)
        writer.add_head_count_kv(KV_HEADS)
        writer.add_key_length(head)
        writer.add_value_length(head)
        writer.add_rope_dimension_count(head)
        writer.add_layer_norm_rms_eps(1e-6)
        writer.add_rope_freq_base(THETA)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        special = {token.content for token in reference.get_added_tokens_decoder().values()}
        writer.add_token_list(tokens + [f"[PAD{i}]" for i in range(7)])
        writer.add_token_types([3 if token in special else 1 for token in tokens] + [5] * 7)
        writer.add_token_merges([" ".join(merge) for merge in self.merges])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(1)
        for name, weight in model.state_dict().items():
            if name == "lm_head.weight" and model.config.tie_word_embeddings:
                continue
            rows_of = weight.numpy()
            if kind == "llama" and heads_of(name):
                rows_of = permuted(rows_of, heads_of(name))
            if rows_of.ndim == 2:
                blocks = gguf.quants.quantize(rows_of, quantised)
                writer.add_tensor(gguf_name(name), blocks, raw_dtype=quantised)
                rows_of = gguf.quants.dequantize(blocks, quantised)
            else:
                writer.add_tensor(gguf_name(name), numpy.ascontiguousarray(rows_of))
            if kind == "llama" and heads_of(name):
                rows_of = unpermuted(rows_of, heads_of(name))
            weight.copy_(torch.from_numpy(rows_of.copy()))
        if kind == "llama":
            writer.add_tensor("rope_freqs.weight", scaling_divisors(head))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

        folder, made = self.through(path, kind)
        ours, theirs = made.state_dict(), model.state_dict()
        self.assertEqual(ours.keys(), theirs.keys())
        for name in theirs:
            self.assertTrue(torch.equal(ours[name], theirs[name]), name)
        ids = torch.arange(0, 250, 3)[None]
        with torch.no_grad():
            self.assertTrue(torch.equal(made(ids).logits, model(ids).logits))
        self.assert_same_ids(folder, reference)

    def tokenizer(self, pre_tokenizer, ignore_merges=False):
        """The small model's vocabulary behind another splitter, made with HF tokenizers' own parts."""
        spelled = tiny_model.tokenizer()["model"]
        self.merges = [tuple(merge) for merge in spelled["merges"]]
        made = tokenizers.Tokenizer(tokenizers.models.BPE(spelled["vocab"], self.merges, ignore_merges=ignore_merges))
        made.pre_tokenizer = pre_tokenizer
        made.decoder = tokenizers.decoders.ByteLevel()
        made.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False)
                                 for token in ("<|endoftext|>", "<|im_end|>")])
        return made

    def split(self, digits):
        pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits +
                   r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
        return tokenizers.pre_tokenizers.Sequence([
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

    def test_qwen2(self):
        reference = self.tokenizer(self.split(r"\p{N}"))
        reference.normalizer = tokenizers.normalizers.NFC()
        self.check("qwen2", "qwen2", reference, gguf.GGMLQuantizationType.Q5_1, tie_word_embeddings=True)

    def test_qwen3(self):
        reference = self.tokenizer(self.split(r"\p{N}"))
        reference.normalizer = tokenizers.normalizers.NFC()
        self.check("qwen3", "qwen2", reference, gguf.GGMLQuantizationType.BF16, head_dim=32, tie_word_embeddings=False)

    def test_llama_3(self):
        reference = self.tokenizer(self.split(r"\p{N}{1,3}"), ignore_merges=True)
        reference.post_processor = tokenizers.processors.TemplateProcessing(
            single="<|endoftext|> $A", pair="<|endoftext|> $A <|endoftext|>:1 $B:1", special_tokens=[("<|endoftext|>", 0)])
        self.check("llama", "llama-bpe", reference, gguf.GGMLQuantizationType.Q8_0, head_dim=64, tie_word_embeddings=False,
                   attention_bias=True, mlp_bias=True,
                   rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                 "original_max_position_embeddings": 8192})


class Folders(Formats):
    def test_shards_as_transformers_saves_them(self):
        torch.manual_seed(4)
        config = transformers.LlamaConfig(vocab_size=1000, hidden_size=64, intermediate_size=96, num_hidden_layers=3,
                                          num_attention_heads=4, num_key_value_heads=2)
        model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
        folder = self.editd.path("saved")
        model.save_pretrained(folder, max_shard_size="100KB")
        self.assertTrue((folder / "model.safetensors.index.json").is_file())
        _, made = self.through(folder, "shards", "auto")
        self.assertEqual(made.dtype, torch.bfloat16)
        for name, weight in model.state_dict().items():
            self.assertTrue(torch.equal(made.state_dict()[name], weight), name)


class SmolLm2(Formats):
    """The real one."""

    def test_weights_and_ids(self):
        found = sorted((DEPS / "model").glob("*.gguf"))
        if not found:
            self.skipTest("deploy/bootstrap has not fetched the model")
        folder, model = self.through(found[0], "smol")
        reader = gguf.GGUFReader(found[0])
        tensors = {tensor.name: tensor for tensor in reader.tensors}
        config, made = model.config, model.state_dict()
        self.assertEqual((config.rms_norm_eps, config.rope_parameters["rope_theta"]), (1e-5, 100000.0))
        for name, weight in made.items():
            if name == "lm_head.weight":
                continue
            tensor = tensors.pop(gguf_name(name))
            rows = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            if heads_of(name):
                rows = unpermuted(rows, config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads)
            self.assertTrue(numpy.array_equal(rows.view(numpy.uint32), weight.numpy().view(numpy.uint32)), name)
        self.assertEqual(tensors, {})

        tokens = reader.fields["tokenizer.ggml.tokens"].contents()
        merges = [tuple(merge.split(" ")) for merge in reader.fields["tokenizer.ggml.merges"].contents()]
        reference = tokenizers.Tokenizer(tokenizers.models.BPE({token: i for i, token in enumerate(tokens)}, merges))
        reference.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
        reference.decoder = tokenizers.decoders.ByteLevel()
        reference.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False) for token in tokens[:17]])
        self.assert_same_ids(folder, reference)


if __name__ == "__main__":
    unittest.main()
