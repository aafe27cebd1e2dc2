"""Makes merge.json: what mergekit makes of small random models, method by method, for plugins/merge/golden_test.cc.

    python3 tests/golden/make_merge.py        # with requirements.txt installed; a few seconds

mergekit runs in float32. Where it draws random numbers it gets ours (Philox, written out again below), so that its result
is defined; everything it does with them is its own.
"""

import base64
import json
import pathlib

import numpy as np
import torch
from mergekit.merge_methods import generalized_task_arithmetic as gta
from mergekit.merge_methods.api import merge_tensors

MASK = 0xFFFFFFFF


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & MASK, (p0 >> 32) ^ c[3] ^ k[1], p0 & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


def fnv1a(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def random_bits(seed, name, stream, count):
    name, out = fnv1a(name), []
    for i in range(count):
        counter = i // 64 * 16 + i % 16
        words = philox([counter & MASK, (counter >> 32) | stream << 16, name & MASK, name >> 32], [seed & MASK, seed >> 32])
        out.append(words[i % 64 // 16])
    return out


class Drawn:
    """Which mask torch.bernoulli is asked for next."""

    seed, name, stream = 0, "", -1


def sparsify(*arguments, **options):
    Drawn.stream += 1
    return mergekits_sparsify(*arguments, **options)


def bernoulli(p):
    bits = np.array(random_bits(Drawn.seed, Drawn.name, Drawn.stream, p.numel()), dtype=np.float64)
    return torch.from_numpy((bits < p.double().reshape(-1).numpy() * 2.0**32).astype(np.float32)).reshape(p.shape)


mergekits_sparsify = gta.sparsify
gta.sparsify = sparsify
torch.bernoulli = bernoulli

SHAPES = [("model.layers.0.mlp.up_proj.weight", [12, 10]), ("model.norm.weight", [10]), ("model.layers.1.mlp.down_proj.weight", [5, 17])]
W3, W2, W1 = [0.3, 0.55, 0.4], [0.6, 0.9], [0.7]
D3, D2 = [0.5, 0.3, 0.7], [0.6, 0.4]

# Name, method, models besides the base, whether there is one, parameters of models, parameters of all.
CASES = [
    ("linear", "linear", 3, False, {"weight": W3}, {}),
    ("linear_sum", "linear", 2, False, {"weight": W2}, {"normalize": False}),
    ("slerp", "slerp", 1, True, {}, {"t": 0.3}),
    ("slerp_half", "slerp", 1, True, {}, {"t": 0.5}),
    ("nuslerp", "nuslerp", 2, True, {"weight": W2}, {}),
    ("nuslerp_without_base", "nuslerp", 2, False, {"weight": W2}, {}),
    ("nuslerp_rows", "nuslerp", 2, True, {"weight": W2}, {"nuslerp_flatten": False}),
    ("nuslerp_columns", "nuslerp", 2, True, {"weight": W2}, {"nuslerp_flatten": False, "nuslerp_row_wise": True}),
    ("multislerp", "multislerp", 3, True, {"weight": W3}, {}),
    ("multislerp_without_base", "multislerp", 3, False, {"weight": W3}, {}),
    ("multislerp_as_they_are", "multislerp", 3, True, {"weight": W3}, {"normalize_weights": False}),
    ("karcher", "karcher", 3, False, {}, {}),
    ("karcher_two_steps", "karcher", 3, False, {}, {"max_iter": 2}),
    ("task_arithmetic", "task_arithmetic", 3, True, {"weight": W3}, {"lambda": 0.8}),
    ("task_arithmetic_normalized", "task_arithmetic", 2, True, {"weight": W2}, {"normalize": True}),
    ("ties", "ties", 3, True, {"weight": W3, "density": D3}, {}),
    ("ties_sum", "ties", 3, True, {"weight": [0.3, -0.5, 0.9], "density": D3}, {"normalize": False, "lambda": 1.3}),
    ("ties_rescaled", "ties", 2, True, {"weight": W2, "density": D2}, {"rescale": True}),
    ("dare_linear", "dare_linear", 2, True, {"weight": W2, "density": D2}, {}),
    ("dare_linear_plain", "dare_linear", 2, True, {"weight": W2, "density": D2}, {"rescale": False, "normalize": True}),
    ("dare_ties", "dare_ties", 3, True, {"weight": W3, "density": D3}, {"lambda": 0.7}),
    ("breadcrumbs", "breadcrumbs", 2, True, {"weight": W2, "density": D2, "gamma": [0.05, 0.12]}, {}),
    ("breadcrumbs_ties", "breadcrumbs_ties", 3, True, {"weight": W3, "density": D3, "gamma": [0.01, 0.05, 0.1]}, {"rescale": True}),
    ("breadcrumbs_no_room", "breadcrumbs", 1, True, {"weight": W1, "density": [0.8], "gamma": [0.5]}, {}),
    ("della", "della", 3, True, {"weight": W3, "density": D3, "epsilon": [0.1, 0.2, 0.25]}, {}),
    ("della_linear", "della_linear", 2, True, {"weight": W2, "density": D2, "epsilon": [0.15, 0.3]}, {"lambda": 0.9}),
    ("model_stock", "model_stock", 3, True, {}, {}),
    ("model_stock_rows", "model_stock", 2, True, {}, {"filter_wise": True}),
    ("sce", "sce", 3, True, {}, {}),
    ("sce_topk", "sce", 3, True, {}, {"select_topk": 0.4}),
    ("ram", "ram", 3, True, {}, {"epsilon": 0.02}),
    ("ramplus_tl", "ramplus_tl", 3, True, {}, {"epsilon": 0.02, "r": 0.3, "alpha": 1.5}),
    ("nearswap", "nearswap", 1, True, {}, {"t": 0.02}),
    ("arcee_fusion", "arcee_fusion", 1, True, {}, {}),
    ("passthrough", "passthrough", 1, False, {"scale": [0.7]}, {}),
]


def encode(tensor):
    return base64.b64encode(tensor.float().contiguous().numpy().tobytes()).decode()


def distinct(base, model, random):
    """No two differences of one size: which of them stays is not defined in mergekit."""
    while True:
        sizes, first = np.unique((model - base).abs().numpy().reshape(-1), return_index=True)
        if len(sizes) == model.numel():
            return model
        again = torch.ones(model.numel(), dtype=torch.bool)
        again[torch.from_numpy(first)] = False
        fresh = (base + 0.05 * torch.randn(base.shape, generator=random)).bfloat16().float()
        model = torch.where(again.reshape(model.shape), fresh, model)


def family(seed):
    """Base and three models; in the second bfloat16's numbers, in the third differences that are often zero."""
    random = torch.Generator().manual_seed(seed)
    out = []
    for name, shape in SHAPES:
        base = 0.1 * torch.randn(shape, generator=random)
        models = [base + 0.05 * torch.randn(shape, generator=random) for _ in range(3)]
        if seed % 3 == 1:
            base, models = base.bfloat16().float(), [distinct(base.bfloat16().float(), m.bfloat16().float(), random) for m in models]
        if seed % 3 == 2:
            models = [torch.where(torch.rand(shape, generator=random) < 0.4, base, m) for m in models]
        out.append((name, shape, base, models))
    return out


def main():
    torch.set_num_threads(1)
    families = [family(seed) for seed in (3, 4, 5)]
    golden = {"families": [[{"name": name, "shape": shape, "base": encode(base), "models": [encode(m) for m in models]}
                            for name, shape, base, models in tensors] for tensors in families], "cases": []}
    for name, method, count, base, own, shared in CASES:
        for number, tensors in enumerate(families):
            results = []
            for tensor, _, b, models in tensors:
                Drawn.seed, Drawn.name, Drawn.stream = 7 + number, tensor, -1
                result = merge_tensors([b] * base + models[:count], method, parameters=own | shared,
                                       base_index=0 if base else None, dtype=torch.float32)
                results.append(encode(result))
            golden["cases"].append({"name": f"{name}/{number}", "method": method, "family": number, "models": count, "base": base,
                                    "seed": 7 + number, "own": own, "shared": shared, "results": results})
    text = json.dumps(golden, separators=(",", ":")).replace('{"name"', '\n{"name"')
    pathlib.Path(__file__).with_name("merge.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
