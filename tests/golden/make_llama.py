"""Logits of small decoders, by transformers: python tests/golden/make_llama.py

Each file tests/golden/llama/CASE.safetensors holds token ids and float32 logits; its metadata holds config.json as
save_pretrained writes it. The weights are not stored: both sides make them from their names (fill() here,
WeightsFromNames in plugins/lib/nn/testing.h), with values that bfloat16 holds exactly.
"""
import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).parent / "llama"
LENGTHS = (37, 70)


def fill(name, shape):
    """Values in [-1, 1) by 1/128, from a hash of the name and the index; weights of norms lie around 1."""
    seed = np.uint64(14695981039346656037)
    for byte in name.encode():
        seed = (seed ^ np.uint64(byte)) * np.uint64(1099511628211)
    x = np.arange(int(np.prod(shape)), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + seed
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    unit = ((x & np.uint64(0xFF)).astype(np.float32) - 128) / 128
    if name.endswith("norm.weight"):
        return (1 + ((x & np.uint64(0x7F)).astype(np.float32) - 64) / 128).reshape(shape)
    return (unit / (1 if "embed" in name else 4)).reshape(shape)


def ids(case):
    rng = np.random.default_rng(len(case))
    return [rng.integers(0, 96, n).astype(np.int32) for n in LENGTHS]


BASE = dict(vocab_size=96, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, pad_token_id=None)
LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)
CASES = {
    "tied": ("Llama", dict(tie_word_embeddings=True)),
    "untied": ("Llama", dict(tie_word_embeddings=False, num_key_value_heads=4)),
    "head_dim": ("Llama", dict(head_dim=26, num_attention_heads=3, num_key_value_heads=1, tie_word_embeddings=False)),
    "rope_linear": ("Llama", dict(rope_parameters=dict(rope_type="linear", factor=4.0, rope_theta=5000.0))),
    "rope_llama3": ("Llama", dict(rope_parameters=LLAMA3, head_dim=32)),
    "biases": ("Llama", dict(attention_bias=True, mlp_bias=True)),
    "qwen2": ("Qwen2", dict(tie_word_embeddings=True, intermediate_size=98)),
    "qwen3": ("Qwen3", dict(head_dim=32, tie_word_embeddings=False)),
}


def main():
    OUT.mkdir(exist_ok=True)
    for case, (family, changes) in CASES.items():
        if len(sys.argv) > 1 and case not in sys.argv[1:]:
            continue
        config = getattr(transformers, family + "Config")(**{**BASE, **changes})
        config.architectures = [family + "ForCausalLM"]
        model = getattr(transformers, family + "ForCausalLM")(config).float().eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(torch.from_numpy(fill(name, tuple(parameter.shape))))
            tensors = {}
            for i, sequence in enumerate(ids(case)):
                logits = model(torch.from_numpy(sequence).long()[None]).logits[0].float()
                tensors[f"ids.{i}"] = sequence
                tensors[f"logits.{i}"] = logits.numpy()
                truth = model.double()(torch.from_numpy(sequence).long()[None]).logits[0]
                model.float()
                print(case, i, "largest", float(logits.abs().max()), "error", float((truth - logits).abs().max()))
        save_file(tensors, OUT / f"{case}.safetensors", {"config.json": json.dumps(config.to_diff_dict() | {
            "architectures": config.architectures, "model_type": config.model_type,
            **{k: v for k, v in config.to_dict().items() if isinstance(v, (int, float, str, bool, dict, list))}})})


if __name__ == "__main__":
    with np.errstate(over="ignore"):
        main()
