"""Logits of small decoders, by transformers: python tests/golden/make_decoder.py [CASE...]

Each file tests/golden/decoder/CASE.safetensors holds the token ids of some sequences and float32 logits at some
positions of each; its metadata holds config.json. The weights are not stored: both sides make them from their names
(fill() here, WeightsFromNames in plugins/lib/nn/testing.h), with values that bfloat16 holds exactly.
"""
import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

from decoder_cases import draw

transformers.logging.set_verbosity_error()
OUT = pathlib.Path(__file__).parent / "decoder"


def fill(name, shape, gemma):
    """Values in [-1, 1) by 1/128, from a hash of the name and the index; what norms multiply by lies around 1."""
    seed = np.uint64(14695981039346656037)
    for byte in name.encode():
        seed = (seed ^ np.uint64(byte)) * np.uint64(1099511628211)
    x = np.arange(int(np.prod(shape)), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + seed
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    unit = ((x & np.uint64(0xFF)).astype(np.float32) - 128) / 128
    if name.endswith("norm.weight"):
        return ((0 if gemma else 1) + ((x & np.uint64(0x7F)).astype(np.float32) - 64) / 128).reshape(shape)
    return (unit / ((8 if gemma else 1) if "embed" in name else 4)).reshape(shape)


BASE = dict(vocab_size=96, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, pad_token_id=None)
LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)
LANGUAGE = dict(BASE, head_dim=16, sliding_window=12, model_type="gemma3_text", query_pre_attn_scalar=16,
                layer_types=["sliding_attention", "full_attention"])
VISION = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28,
              patch_size=14, model_type="siglip_vision_model")
# What one setting does, written out by transformers.
NAMED = {
    "tied": ("Llama", dict(tie_word_embeddings=True)),
    "untied": ("Llama", dict(tie_word_embeddings=False, num_key_value_heads=4)),
    "head_dim": ("Llama", dict(head_dim=26, num_attention_heads=3, num_key_value_heads=1, tie_word_embeddings=False)),
    "rope_linear": ("Llama", dict(rope_parameters=dict(rope_type="linear", factor=4.0, rope_theta=5000.0))),
    "rope_llama3": ("Llama", dict(rope_parameters=LLAMA3, head_dim=32)),
    "biases": ("Llama", dict(attention_bias=True, mlp_bias=True)),
    "qwen2": ("Qwen2", dict(tie_word_embeddings=True, intermediate_size=98)),
    "qwen3": ("Qwen3", dict(head_dim=32, tie_word_embeddings=False)),
    "gemma2": ("Gemma2", dict(head_dim=16, sliding_window=20, query_pre_attn_scalar=24, num_hidden_layers=3)),
    "gemma3": ("Gemma3Text", dict(head_dim=16, sliding_window=20, num_hidden_layers=7, final_logit_softcapping=20.0)),
    "gemma3_seeing": ("Gemma3", dict(text_config=LANGUAGE, vision_config=VISION, image_token_index=95,
                                     boi_token_index=94, eoi_token_index=93)),
}
# What decoder_cases.py draws: each family with the kinds of rotation that it has in the wild, twice.
KINDS = {"Llama": ("default", "linear", "dynamic", "yarn", "llama3"), "Mistral": ("default", "yarn"),
         "Qwen2": ("default", "yarn"), "Qwen3": ("default", "yarn"), "Gemma2": ("default", "linear"),
         "Gemma3": ("default", "linear", "dynamic", "yarn")}
PAIRS = [(family, kind) for family, kinds in KINDS.items() for kind in kinds]
DRAWN = {f"{family}_{kind}_{i}".lower(): (family, kind, 2 * place + i)
         for place, (family, kind) in enumerate(PAIRS) for i in (0, 1)}


# Models that are small enough to be kept as GGUF files, gguf/ARCHITECTURE.gguf: make_gguf_models.py.
TINY = dict(vocab_size=24, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=64, rms_norm_eps=1e-5, pad_token_id=None, bos_token_id=0,
            eos_token_id=0)
GEMMA = dict(TINY, head_dim=8, sliding_window=9, query_pre_attn_scalar=8)
NAMED |= {
    "gguf_llama": ("Llama", dict(TINY, attention_bias=True, tie_word_embeddings=False,
                                 rope_parameters=dict(LLAMA3, original_max_position_embeddings=16))),
    "gguf_qwen2": ("Qwen2", dict(TINY, tie_word_embeddings=True, rope_parameters=dict(
        rope_type="yarn", rope_theta=1e6, factor=4.0, original_max_position_embeddings=16))),
    "gguf_qwen3": ("Qwen3", dict(TINY, tie_word_embeddings=True, head_dim=12)),
    "gguf_gemma2": ("Gemma2", GEMMA),
    "gguf_gemma3": ("Gemma3Text", dict(GEMMA, num_hidden_layers=7, rope_parameters=dict(
        full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6),
        sliding_attention=dict(rope_type="default", rope_theta=1e4)))),
}


def named(case):
    family, changes = NAMED[case]
    base = {} if family == "Gemma3" else BASE
    vocabulary = {**base, **changes}.get("vocab_size", 96)
    config = getattr(transformers, family + "Config")(**{**base, **changes})
    head = {"Gemma3Text": "Gemma3ForCausalLM", "Gemma3": "Gemma3ForConditionalGeneration"}.get(
        family, family + "ForCausalLM")
    config.architectures = [head]
    text = config.to_diff_dict() | {
        "architectures": config.architectures, "model_type": config.model_type,
        **{k: v for k, v in config.to_dict().items() if isinstance(v, (int, float, str, bool, dict, list))}}
    rng = np.random.default_rng(len(case))
    return config, head, text, [rng.integers(0, vocabulary - 3, n).astype(np.int32) for n in (37, 70)]


def drawn(case):
    family, kind, seed = DRAWN[case]
    text, lengths = draw(seed, family, kind)
    config = transformers.AutoConfig.for_model(**json.loads(json.dumps({k: text[k] for k in text if k != "architectures"})))
    rng = np.random.default_rng(seed)
    return config, text["architectures"][0], text, [rng.integers(0, text["vocab_size"], n).astype(np.int32)
                                                    for n in lengths]


def run(model, sequence):
    """Logits, by a model that has seen nothing before: dynamic scaling remembers lengths."""
    text = getattr(model.model, "language_model", model.model)
    text.rotary_emb = type(text.rotary_emb)(config=text.config)
    with torch.no_grad():
        return model(torch.from_numpy(sequence).long()[None], use_cache=False).logits[0].numpy()


def main():
    OUT.mkdir(exist_ok=True)
    for case in sys.argv[1:] or [*NAMED, *DRAWN]:
        config, head, text, ids = named(case) if case in NAMED else drawn(case)
        config._attn_implementation = "eager"
        model = getattr(transformers, head)(config).float().eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(torch.from_numpy(fill(name, tuple(parameter.shape), "Gemma" in head)))
        tensors = {}
        for i, sequence in enumerate(ids):
            places = np.unique(np.linspace(0, len(sequence) - 1, 9).round().astype(np.int32))
            logits = run(model.float(), sequence)
            truth = run(model.double(), sequence)
            tensors |= {f"ids.{i}": sequence, f"positions.{i}": places, f"logits.{i}": logits[places]}
            print(case, i, f"largest {np.abs(logits).max():.1f}, error {np.abs(truth - logits).max():.1e}")
        save_file(tensors, OUT / f"{case}.safetensors", {"config.json": json.dumps(text)})


if __name__ == "__main__":
    with np.errstate(over="ignore"):
        main()
