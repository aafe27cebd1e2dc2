"""Small GGUF models of each architecture: python tests/golden/make_gguf_models.py

Writes tests/golden/gguf/ARCHITECTURE.gguf by the Python package gguf, with what llama.cpp's convert_hf_to_gguf.py does
to each architecture: query and key rows of Llama reordered, 1 added to the norms of the Gemmas, divisors for Llama 3's
scaling. The weights are those of make_decoder.py's cases gguf_*, whose logits are kept there. transformers' own reader
must give the weights back. (It is told the configuration: of the keys here it does not know all.)
"""
import math
import pathlib

import gguf
import numpy as np
import torch
import transformers

from make_decoder import fill, named

OUT = pathlib.Path(__file__).parent / "gguf"
LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "post_attention_layernorm": "ffn_norm",
}
GEMMA = LAYER | {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                 "post_feedforward_layernorm": "post_ffw_norm"}


def gguf_name(name, gemma):
    stem, _, kind = name.rpartition(".")
    for ours, theirs in {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}.items():
        if stem == ours:
            return f"{theirs}.{kind}"
    layer, _, part = stem.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{(GEMMA if gemma else LAYER)[part]}.{kind}"


def permuted(w, heads):
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def divisors(config, rope):
    """What llama.cpp makes of Llama 3's scaling."""
    out = []
    for i in range(0, config.head_dim, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (i / config.head_dim)
        context, factor, low, high = (rope[k] for k in ("original_max_position_embeddings", "factor",
                                                        "low_freq_factor", "high_freq_factor"))
        if wave < context / high:
            out.append(1)
        elif wave > context / low:
            out.append(factor)
        else:
            smooth = (context / wave - low) / (high - low)
            out.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(out, np.float32)


def write(arch, config, tensors, path):
    gemma = arch.startswith("gemma")
    w = gguf.GGUFWriter(str(path), arch)
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_vocab_size(config.vocab_size)
    head = getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    w.add_key_length(head)
    w.add_value_length(head)
    rope = config.rope_parameters
    whole = rope.get("full_attention", rope)
    w.add_rope_freq_base(whole["rope_theta"])
    if arch == "llama":
        w.add_rope_dimension_count(head)
    if whole["rope_type"] in ("linear", "yarn"):
        w.add_rope_scaling_type(gguf.RopeScalingType(whole["rope_type"]))
        w.add_rope_scaling_factor(whole["factor"])
    if whole["rope_type"] == "yarn":
        w.add_rope_scaling_orig_ctx_len(whole["original_max_position_embeddings"])
    if whole["rope_type"] == "llama3":
        w.add_rope_scaling_orig_ctx_len(whole["original_max_position_embeddings"])
        w.add_tensor("rope_freqs.weight", divisors(config, whole))
    if "sliding_attention" in rope:
        w.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
    if gemma:
        w.add_sliding_window(config.sliding_window)
    if arch == "gemma2":
        w.add_attn_logit_softcapping(config.attn_logit_softcapping)
        w.add_final_logit_softcapping(config.final_logit_softcapping)
    # A vocabulary of the simplest kind.
    letters = [chr(ord("a") + i) for i in range(config.vocab_size - 2)]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(["<|end|>", *letters, "ab"])
    w.add_token_types([3] + [1] * (config.vocab_size - 1))
    w.add_token_merges(["a b"])
    w.add_eos_token_id(0)
    for name, values in tensors.items():
        values = values.astype(np.float32)
        if arch == "llama" and "q_proj" in name:
            values = permuted(values, config.num_attention_heads)
        if arch == "llama" and "k_proj" in name:
            values = permuted(values, config.num_key_value_heads)
        if gemma and name.endswith("norm.weight"):
            values = values + 1
        if values.ndim == 1:
            w.add_tensor(gguf_name(name, gemma), values)
        else:
            kind = gguf.GGMLQuantizationType.BF16
            w.add_tensor(gguf_name(name, gemma), gguf.quants.quantize(values, kind), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    OUT.mkdir(exist_ok=True)
    for arch in ("llama", "qwen2", "qwen3", "gemma2", "gemma3"):
        config, head, _, _ = named("gguf_" + arch)
        model = getattr(transformers, head)(config)
        tensors = {name: fill(name, tuple(p.shape), "gemma" in arch) for name, p in model.named_parameters()}
        path = OUT / f"{arch}.gguf"
        write(arch, config, tensors, path)
        read = getattr(transformers, head).from_pretrained(OUT, gguf_file=path.name, config=config, dtype=torch.float32)
        wrong = [name for name, p in read.named_parameters() if not np.array_equal(p.detach().numpy(), tensors[name])]
        print(arch, path.stat().st_size, "read back by transformers:", wrong or "all equal")


if __name__ == "__main__":
    with np.errstate(over="ignore"):
        main()
