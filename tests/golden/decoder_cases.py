"""Small decoders of every family that plugins/lib/nn computes: what config.json may say, drawn at random.

make_decoder.py keeps the logits of a few as goldens; compare_decoder.py goes through many.
"""
import random

FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma2", "Gemma3")
TYPES = {"Llama": "llama", "Mistral": "mistral", "Qwen2": "qwen2", "Qwen3": "qwen3", "Gemma2": "gemma2",
         "Gemma3": "gemma3_text"}


def rope(r, kind, context):
    """Rope parameters, without a base. `context` is max_position_embeddings."""
    out = {"rope_type": kind}
    if kind == "default":
        return out
    out["factor"] = r.choice((1.5, 2.0, 4.0, 8.0))
    if kind in ("yarn", "llama3") and r.random() < 0.8:
        out["original_max_position_embeddings"] = r.choice((16, 24, 32, 48))
    if kind == "llama3":
        out |= dict(low_freq_factor=r.choice((1.0, 0.5)), high_freq_factor=r.choice((4.0, 2.0)))
    if kind == "yarn":
        for key, values in (("beta_fast", (16.0, 8.0)), ("beta_slow", (0.5, 2.0)), ("truncate", (True, False)),
                            ("attention_factor", (0.8, 1.2))):
            if r.random() < 0.3:
                out[key] = r.choice(values)
        if r.random() < 0.25:
            out |= dict(mscale=r.choice((1.0, 0.7)), mscale_all_dim=r.choice((1.0, 0.5)))
    return out


def draw(seed, family=None, kind=None):
    """(config.json as a dict, lengths of sequences): the file as transformers 4 or 5 or a person would write it."""
    r = random.Random(seed)
    family = family or r.choice(FAMILIES)
    gemma = family.startswith("Gemma")
    heads = r.choice((1, 2, 3, 4, 6))
    layers = r.choice((1, 2, 3, 4))
    c = {
        "architectures": [family + "ForCausalLM"],
        "model_type": TYPES[family],
        "vocab_size": r.randrange(60, 130),
        "hidden_size": heads * 2 * r.randrange(4, 17),
        "intermediate_size": 2 * r.randrange(8, 65),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": r.choice([k for k in range(1, heads + 1) if heads % k == 0]),
        "max_position_embeddings": r.choice((32, 48, 64, 128)),
        "rms_norm_eps": r.choice((1e-6, 1e-5)),
        "tie_word_embeddings": r.random() < 0.5,
        "pad_token_id": None,
        "bos_token_id": 1,
        "eos_token_id": r.choice((2, [2, 3])),
    }
    if family in ("Qwen3", "Gemma2", "Gemma3") or r.random() < 0.4:
        c["head_dim"] = r.choice((8, 16, 20, 26, 32, 64))
    elif c["hidden_size"] // heads % 2:
        c["head_dim"] = 16
    if family in ("Llama", "Qwen3", "Gemma2", "Gemma3") and r.random() < 0.4:
        c["attention_bias"] = True
    if family == "Llama" and r.random() < 0.4:
        c["mlp_bias"] = True
    c["hidden_activation" if gemma else "hidden_act"] = "gelu_pytorch_tanh" if gemma else "silu"

    window = r.choice((1, 5, 16, 31, 32, 33, 64, 70))
    if family == "Mistral":
        if r.random() < 0.9:
            c["sliding_window"] = r.choice((None, window, window))
    elif family in ("Qwen2", "Qwen3"):
        c |= dict(use_sliding_window=r.random() < 0.6, sliding_window=window, max_window_layers=r.randrange(0, 4))
        if r.random() < 0.3 and c["use_sliding_window"]:
            c["layer_types"] = [r.choice(("full_attention", "sliding_attention")) for _ in range(layers)]
    elif gemma:
        if r.random() < 0.9:
            c["sliding_window"] = window
        if r.random() < 0.4:
            c["layer_types"] = [r.choice(("full_attention", "sliding_attention")) for _ in range(layers)]
        elif family == "Gemma3" and r.random() < 0.6:
            c["sliding_window_pattern"] = r.choice((1, 2, 3, 6))
        c["query_pre_attn_scalar"] = r.choice((16, 24, 144, 256))
        for key in ("attn_logit_softcapping", "final_logit_softcapping"):
            if r.random() < 0.7:
                c[key] = r.choice((None, 5.0, 30.0, 50.0))
    if family == "Gemma3" and kind is None:
        kind = r.choice(("default", "default", "linear", "linear", "dynamic", "yarn", "llama3"))
    kind = kind or r.choice(("default", "linear", "dynamic", "yarn", "llama3"))
    place_rope(r, c, family, kind)
    longest = 150
    return c, [r.randrange(1, longest) for _ in range(2)] + [longest]


def place_rope(r, c, family, kind):
    parameters = rope(r, kind, c["max_position_embeddings"])
    theta = r.choice((500.0, 10000.0, 1000000.0))
    old = r.random() < 0.5  # As transformers 4 spells it.
    if family == "Gemma3":
        near = r.choice((100.0, 10000.0))
        if old:
            c |= dict(rope_theta=theta, rope_local_base_freq=near,
                      rope_scaling=None if kind == "default" else parameters)
        else:
            # transformers reads "truncate" one level up, where nothing stands.
            parameters.pop("truncate", None)
            c["rope_parameters"] = {
                "full_attention": parameters | {"rope_theta": theta},
                "sliding_attention": {"rope_type": "default", "rope_theta": near},
            }
        if old:
            parameters.pop("truncate", None)
        return
    if old:
        if r.random() < 0.8:
            c["rope_theta"] = theta
        if kind != "default" and r.random() < 0.5:
            parameters["type"] = parameters.pop("rope_type")
        c["rope_scaling"] = None if kind == "default" else parameters
        if kind in ("yarn", "llama3") and r.random() < 0.2:
            c["original_max_position_embeddings"] = 40
    else:
        c["rope_parameters"] = parameters | {"rope_theta": theta}
