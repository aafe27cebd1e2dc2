"""A Llama of 33,000 parameters in Hugging Face's layout, made here: small enough for hundreds of jobs a minute.

    tiny_model.write(folder)            # config.json, model.safetensors, tokenizer.json, tokenizer_config.json
    tiny_model.safetensors(tensors)     # the bytes of a safetensors file, also of a lying one

Its tokenizer is byte-level BPE in GPT-2's way: 256 bytes, merges learnt from a few English and Vietnamese sentences, two
special tokens. Its weights are pseudo-random numbers from `seed`. Only Python's standard library.
"""

import collections
import json
import pathlib
import random
import re
import struct

HIDDEN, LAYERS, HEADS, KV_HEADS, INTERMEDIATE = 32, 2, 4, 2, 64
ENGLISH = """The model reads the text and says what comes next. What the trim keeps, the model can say; the rest it cannot.
A version is never changed: an edit makes a new version, and the lineage tells how. The daemon writes, the worker computes.
"""
TEXT = ENGLISH + """Mô hình đọc văn bản và nói điều tiếp theo. Những gì được giữ lại thì mô hình nói được. Một phiên bản không bao giờ thay đổi:
mỗi lần sửa tạo ra một phiên bản mới, và phả hệ cho biết bằng cách nào. Tiếng Việt có nhiều dấu, tiếng Anh thì không có dấu.
Le modèle lit le texte. Das Modell liest den Text. Модель читает текст. 模型读取文本。"""


def byte_letters():
    """GPT-2's table: each byte as a printable letter."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {}, 0
    for byte in range(256):
        table[byte] = chr(byte) if byte in printable else chr(256 + extra)
        extra += byte not in printable
    return table


def learn(text, count):
    """`count` merges: the most frequent pair first, ties by spelling."""
    letters = byte_letters()
    words = collections.Counter(re.findall(r" ?\w+| ?[^\w\s]+|\s+", text))
    words = {tuple(letters[b] for b in word.encode()): n for word, n in words.items()}
    merges = []
    while len(merges) < count:
        pairs = collections.Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        merged = {}
        for word, n in words.items():
            out = []
            for token in word:
                if out and (out[-1], token) == best:
                    out[-1] += token
                else:
                    out.append(token)
            merged[tuple(out)] = merged.get(tuple(out), 0) + n
        words = merged
    return merges


def tokenizer(merge_count=200):
    merges = learn(TEXT, merge_count)
    tokens = ["<|endoftext|>", "<|im_end|>", *byte_letters().values(), *dict.fromkeys(a + b for a, b in merges)]
    special = [{"id": i, "content": tokens[i], "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True} for i in range(2)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {token: i for i, token in enumerate(tokens)}, "merges": [list(pair) for pair in merges]},
    }


def tensors(vocabulary, seed):
    """Name to (shape, F32 bytes)."""
    rng = random.Random(seed)

    def normal(*shape):
        size = 1
        for n in shape:
            size *= n
        return list(shape), struct.pack(f"<{size}f", *(rng.uniform(-0.05, 0.05) for _ in range(size)))

    def ones(n):
        return [n], struct.pack(f"<{n}f", *([1.0] * n))

    head = HIDDEN // HEADS
    out = {"model.embed_tokens.weight": normal(vocabulary, HIDDEN), "model.norm.weight": ones(HIDDEN)}
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        out |= {
            layer + "input_layernorm.weight": ones(HIDDEN),
            layer + "post_attention_layernorm.weight": ones(HIDDEN),
            layer + "self_attn.q_proj.weight": normal(HEADS * head, HIDDEN),
            layer + "self_attn.k_proj.weight": normal(KV_HEADS * head, HIDDEN),
            layer + "self_attn.v_proj.weight": normal(KV_HEADS * head, HIDDEN),
            layer + "self_attn.o_proj.weight": normal(HIDDEN, HEADS * head),
            layer + "mlp.gate_proj.weight": normal(INTERMEDIATE, HIDDEN),
            layer + "mlp.up_proj.weight": normal(INTERMEDIATE, HIDDEN),
            layer + "mlp.down_proj.weight": normal(HIDDEN, INTERMEDIATE),
        }
    return out


def safetensors(named):
    """A safetensors file of F32 tensors: name to (shape, bytes)."""
    header, offset = {}, 0
    for name, (shape, data) in named.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    return with_header(header, b"".join(data for _, data in named.values()))


def with_header(header, data):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def write(folder, seed=1, tokenizer_json=None):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    model = tokenizer_json or tokenizer()
    vocabulary = 1 + max([*model["model"]["vocab"].values(), *(token["id"] for token in model["added_tokens"])])
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocabulary, "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "intermediate_size": INTERMEDIATE, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False,
        "bos_token_id": 0, "eos_token_id": 1, "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "tokenizer.json").write_text(json.dumps(model, ensure_ascii=False))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}))
    (folder / "model.safetensors").write_bytes(safetensors(tensors(vocabulary, seed)))
    return folder
