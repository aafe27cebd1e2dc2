"""Adapters and what PEFT makes of them: python tests/golden/make_adapters.py [CASE ...]

Each file tests/golden/adapters/CASE.safetensors holds a small random model (base/NAME), one or two adapters as
save_pretrained writes them (adapter0/NAME, adapter1/NAME), and, by the kind of case,
  merge    merged/NAME, the weights that merge_and_unload changed; ids and logits of base and adapter, not merged, in float32
  combine  delta/MODULE, the change (scale x B A) of the adapter that add_weighted_adapter made
  nf4      dequantized/NAME, the weights that a training with bitsandbytes' NF4 and double quantisation sees, and
           merged/NAME, those plus the adapter's change; values rounded to the base's type once
The metadata holds config.json, adapter_config.json of each adapter, and what to do. All parameters of the adapters are
random: nothing is left as training begins.

Where a model's head is its embedding, merge_and_unload changes both through the one tensor, while base and adapter
together change one; there the merged weights are those of a copy whose head was given a tensor of its own before. With
ensure_weight_tying it even adds the change twice; there the head is set to the merged embedding afterwards.
"""
import json
import os
import pathlib
import sys
import tempfile

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # bitsandbytes would compile for minutes.

import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

OUT = pathlib.Path(__file__).parent / "adapters"
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LLAMA = dict(vocab_size=40, hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=2,
             num_key_value_heads=1, max_position_embeddings=64, tie_word_embeddings=False)
TIED = dict(tie_word_embeddings=True)

# Name: (model, changes to it, type, adapters' settings)
MERGE = {
    "plain": ("Llama", {}, "float32", [dict(r=4, lora_alpha=12)]),
    "rslora": ("Llama", TIED, "float32", [dict(r=5, lora_alpha=8, use_rslora=True, target_modules="all-linear")]),
    "patterns": ("Qwen2", {}, "float32", [dict(
        r=4, lora_alpha=6, target_modules=LINEAR, rank_pattern={"q_proj": 7, r"layers\.1\.mlp\.(up|down)_proj": 2},
        alpha_pattern={"layers.0.self_attn.v_proj": 3, "^model.layers.1.mlp.gate_proj": 20, "v_proj": 9})]),
    "patterns_rslora": ("Llama", {}, "float32", [dict(
        r=4, lora_alpha=6, use_rslora=True, target_modules=LINEAR, rank_pattern={"mlp.up_proj": 6},
        alpha_pattern={".*_proj": 10})]),
    "regex": ("Llama", {}, "float32", [dict(r=3, target_modules=r".*layers\.1\..*(q|up)_proj")]),
    "layers": ("Qwen3", dict(head_dim=16), "float32", [dict(r=3, target_modules=["q_proj", "o_proj"],
                                                           layers_to_transform=[1])]),
    "embedding": ("Llama", {}, "float32", [dict(r=4, target_modules=["embed_tokens", "lm_head", "v_proj"])]),
    "embedding_tied": ("Llama", TIED, "float32", [dict(r=4, target_modules=["embed_tokens", "q_proj"])]),
    "head_tied": ("Llama", TIED, "float32", [dict(r=4, target_modules=["lm_head", "q_proj"])]),
    "embedding_tie": ("Llama", TIED, "float32", [dict(r=4, target_modules=["embed_tokens", "q_proj"],
                                                      ensure_weight_tying=True)]),
    "saved": ("Llama", {}, "float32", [dict(r=4, modules_to_save=["lm_head", "input_layernorm"])]),
    "saved_tied": ("Llama", TIED, "float32", [dict(r=4, modules_to_save=["embed_tokens"])]),
    "saved_tie": ("Llama", TIED, "float32", [dict(r=4, modules_to_save=["embed_tokens"], ensure_weight_tying=True)]),
    "bias_all": ("Llama", dict(attention_bias=True), "float32", [dict(r=4, bias="all")]),
    "bias_lora_only": ("Qwen2", {}, "float32", [dict(r=4, bias="lora_only")]),
    "dora": ("Llama", {}, "float32", [dict(r=4, lora_alpha=9, use_dora=True, target_modules=LINEAR + ["embed_tokens"])]),
    "dora_rslora": ("Llama", TIED, "bfloat16", [dict(r=4, use_dora=True, use_rslora=True, target_modules=LINEAR)]),
    "tokens": ("Llama", TIED, "float32", [dict(r=4, trainable_token_indices=[3, 17, 39])]),
    "tokens_untied": ("Llama", {}, "float32", [dict(r=4, trainable_token_indices={"embed_tokens": [2, 8]})]),
    "conv1d": ("GPT2", {}, "float32", [dict(r=4, target_modules=["c_attn", "c_fc", "c_proj"], fan_in_fan_out=True)]),
    "conv1d_dora": ("GPT2", {}, "float32", [dict(r=4, use_dora=True, target_modules=["c_attn"], fan_in_fan_out=True)]),
    "bfloat16": ("Llama", {}, "bfloat16", [dict(r=8, target_modules=LINEAR)]),
    "float16": ("Qwen2", TIED, "float16", [dict(r=8, target_modules=LINEAR)]),
    "two": ("Llama", {}, "float32", [dict(r=4, target_modules=["q_proj", "up_proj"]),
                                     dict(r=6, use_rslora=True, target_modules=["up_proj", "down_proj"])]),
}
PAIR = [dict(r=4, lora_alpha=10, target_modules=["q_proj", "up_proj"]),
        dict(r=4, lora_alpha=6, use_rslora=True, target_modules=["q_proj", "up_proj"])]
# Name: (adapters, arguments of add_weighted_adapter)
COMBINE = {
    "cat": ([PAIR[0], dict(r=6, target_modules=["up_proj", "embed_tokens"])], dict(combination_type="cat")),
    "svd": (PAIR, dict(combination_type="svd", svd_rank=5)),
    "linear": (PAIR, dict(combination_type="linear")),
    "ties": (PAIR, dict(combination_type="ties", density=0.6)),
    "ties_frequency": (PAIR, dict(combination_type="ties", density=0.7, majority_sign_method="frequency")),
    "ties_svd": (PAIR, dict(combination_type="ties_svd", density=0.5, svd_rank=24)),
    "magnitude_prune": (PAIR, dict(combination_type="magnitude_prune", density=0.5)),
    "magnitude_prune_svd": (PAIR, dict(combination_type="magnitude_prune_svd", density=0.3, svd_rank=24)),
}
NF4 = {"nf4": "float32", "nf4_bfloat16": "bfloat16"}


def build(family, changes, dtype, seed):
    torch.manual_seed(seed)
    if family == "GPT2":
        config = transformers.GPT2Config(vocab_size=40, n_embd=24, n_layer=2, n_head=2, n_positions=64,
                                         tie_word_embeddings=True, **changes)
        model = transformers.GPT2LMHeadModel(config)
    else:
        config = getattr(transformers, family + "Config")(**{**LLAMA, **changes})
        model = getattr(transformers, family + "ForCausalLM")(config)
    config.architectures = [type(model).__name__]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.15 + ("norm" in name or "ln_" in name))
    return model.to(getattr(torch, dtype)).eval()


def randomise(model, seed):
    """Random numbers for all that the adapter trains; lengths and tensors in full stay near what they were."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            near = any(part in name for part in ("magnitude", "modules_to_save", "bias", "trainable_tokens"))
            parameter.copy_(parameter + torch.randn_like(parameter) * 0.1 if near else torch.randn_like(parameter) * 0.2)
        for name, parameter in model.named_parameters():  # PEFT ties these to each other, as copies.
            if "lm_head.lora_" in name and getattr(model.peft_config["default"], "ensure_weight_tying", False):
                other = "lora_embedding_B" if "lora_A" in name else "lora_embedding_A"
                source = dict(model.named_parameters())[f"base_model.model.model.embed_tokens.{other}.default"]
                parameter.copy_(source.T)


def adapter(base_folder, settings, dtype, seed):
    """A folder with a random adapter."""
    model = load(base_folder, dtype)
    # Half the type's numbers of the base in the adapter would only hide differences: adapters are float32, as PEFT makes
    # them.
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    randomise(model, seed)
    folder = tempfile.mkdtemp()
    model.peft_config["default"].base_model_name_or_path = "tiny/base"
    model.save_pretrained(folder)
    return folder


def load(folder, dtype, **changes):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), **changes).eval()


def named(prefix, tensors):
    return {f"{prefix}/{name}": tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def start(family, changes, dtype, adapters, seed):
    """A model on disk, adapters for it, and the file's first contents."""
    model = build(family, changes, dtype, seed)
    folder = tempfile.mkdtemp()
    model.save_pretrained(folder)
    tensors = named("base", load_file(folder + "/model.safetensors"))
    metadata = {"config.json": pathlib.Path(folder, "config.json").read_text()}
    folders = []
    for i, settings in enumerate(adapters):
        folders.append(adapter(folder, settings, dtype, seed + 10 * (i + 1)))
        tensors |= named(f"adapter{i}", load_file(folders[i] + "/adapter_model.safetensors"))
        config = json.loads(pathlib.Path(folders[i], "adapter_config.json").read_text())
        if isinstance(config["target_modules"], list):  # A set's order changes from run to run.
            config["target_modules"].sort()
        metadata[f"adapter{i}.json"] = json.dumps(config)
    return folder, folders, tensors, metadata


def forget_tying(folder):
    path = pathlib.Path(folder, "adapter_config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"ensure_weight_tying": False}))


def merge_case(case, family, changes, dtype, adapters, seed):
    folder, folders, tensors, metadata = start(family, changes, dtype, adapters, seed)
    weights = [1.0] if len(adapters) == 1 else [0.75, -0.5]
    ids = torch.arange(23)[None] * 7 % 40

    def with_adapters(model):
        model = peft.PeftModel.from_pretrained(model, folders[0], adapter_name="a0")
        names = ["a0"]
        for i, other in enumerate(folders[1:], 1):
            model.load_adapter(other, adapter_name=f"a{i}")
            names.append(f"a{i}")
        if len(names) > 1:
            model.add_weighted_adapter(names, weights, "all", combination_type="cat")
            model.set_adapter("all")
        return model.eval()

    with torch.no_grad():
        model = with_adapters(load(folder, "float32"))
        tensors["logits"] = model(ids).logits[0].float()
        untie = {}
        if changes.get("tie_word_embeddings") and case not in ("saved_tie", "tokens"):
            untie = dict(tie_word_embeddings=False)
        base = load(folder, dtype, **untie)
        if untie:
            base.lm_head.weight = torch.nn.Parameter(base.model.embed_tokens.weight.detach().clone())
        if case == "embedding_tie":
            forget_tying(folders[0])
        merged = with_adapters(base).merge_and_unload()
        if case == "embedding_tie":
            merged.lm_head.weight = merged.model.embed_tokens.weight
        check = merged.float()(ids).logits[0]
        print(f"{case:18} logits of base + adapter and of PEFT's merged differ by {(check - tensors['logits']).abs().max():.1e}")
        merged = merged.to(getattr(torch, dtype))
        state = {k: v for k, v in merged.state_dict().items()
                 if f"base/{k}" not in tensors or not torch.equal(v, tensors[f"base/{k}"])}
        if "base/lm_head.weight" not in tensors and torch.equal(merged.get_output_embeddings().weight,
                                                                merged.get_input_embeddings().weight):
            state.pop("lm_head.weight", None)
    tensors |= named("merged", state)
    tensors["ids"] = ids[0].to(torch.int32)
    metadata |= {"kind": "merge", "weights": json.dumps(weights)}
    return tensors, metadata


def combine_case(case, adapters, arguments, seed):
    folder, folders, tensors, metadata = start("Llama", {}, "float32", adapters, seed)
    weights = [0.7, -0.4] if case in ("cat", "svd", "linear") else [0.6, 0.8]
    model = peft.PeftModel.from_pretrained(load(folder, "float32"), folders[0], adapter_name="a0")
    model.load_adapter(folders[1], adapter_name="a1")
    with torch.no_grad():
        model.add_weighted_adapter(["a0", "a1"], weights, "all", **arguments)
        for name, module in model.base_model.model.named_modules():
            if isinstance(module, peft.tuners.lora.LoraLayer) and "all" in {**module.lora_A, **module.lora_embedding_A}:
                delta = module.get_delta_weight("all")
                if isinstance(module, peft.tuners.lora.Embedding):
                    delta = delta.T
                tensors[f"delta/{name}"] = delta.contiguous()
    metadata |= {"kind": "combine", "weights": json.dumps(weights), "arguments": json.dumps(arguments)}
    return tensors, metadata


def through_nf4(weight):
    """Quantised by bitsandbytes, taken back by its plain implementation: the CPU kernel of 0.50.2 is wrong where a row is
    no multiple of a block."""
    from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
    from bitsandbytes.functional import dequantize_blockwise, quantize_4bit
    codes, state = quantize_4bit(weight.contiguous(), compress_statistics=True, quant_type="nf4", blocksize=64)
    absmax = dequantize_blockwise(state.absmax, state.state2) + state.offset
    return _dequantize_4bit_compute(codes.reshape(-1), absmax, state.code, 64, weight.shape, weight.dtype)


def nf4_case(case, dtype, seed):
    changes = dict(hidden_size=40, intermediate_size=72, head_dim=16)
    folder, _, tensors, metadata = start("Llama", changes, dtype, [dict(r=4, target_modules=["q_proj", "up_proj"])], seed)
    scale = json.loads(metadata["adapter0.json"])["lora_alpha"] / 4
    for name, weight in load_file(folder + "/model.safetensors").items():
        if weight.ndim != 2 or "embed" in name or "lm_head" in name:
            continue
        tensors[f"dequantized/{name}"] = through_nf4(weight)
        key = f"adapter0/base_model.model.{name.removesuffix('weight')}lora_"
        if key + "A.weight" in tensors:
            delta = (tensors[key + "B.weight"].double() @ tensors[key + "A.weight"].double()) * scale
            merged = (tensors[f"dequantized/{name}"].double() + delta).float()
            tensors[f"merged/{name}"] = merged.to(weight.dtype)
            if "up_proj" in name:  # Rounded to NF4 once more, from the sum as it is in float32.
                tensors[f"requantized/{name}"] = through_nf4(merged).to(weight.dtype)
    metadata |= {"kind": "nf4", "weights": "[1.0]"}
    return tensors, metadata


def main():
    OUT.mkdir(exist_ok=True)
    cases = {name: (merge_case, arguments) for name, arguments in MERGE.items()}
    cases |= {name: (combine_case, arguments) for name, arguments in COMBINE.items()}
    cases |= {name: (nf4_case, (dtype,)) for name, dtype in NF4.items()}
    for seed, (name, (make, arguments)) in enumerate(cases.items(), 100):
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        tensors, metadata = make(name, *arguments, seed)
        save_file({key: value.contiguous() for key, value in tensors.items()}, OUT / f"{name}.safetensors", metadata)


if __name__ == "__main__":
    np.random.seed(0)
    main()
