"""What a team's own script does to trim a model: load it, select rows, filter tokenizer.json, save. The peer of `trim`.

    peer_trim.py MODEL_DIR KEEP_IDS.json OUT_DIR

KEEP_IDS.json is a list of token ids. The script's seconds do not count the interpreter's start.
"""
import json
import shutil
import sys
import time
from pathlib import Path


def main() -> None:
    start = time.perf_counter()
    import torch
    from transformers import AutoModelForCausalLM

    model_dir, keep_file, out_dir = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    keep = sorted(json.load(open(keep_file)))
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype="auto")
    rows = (len(keep) + 63) // 64 * 64
    old = model.get_input_embeddings().weight.data
    new = torch.zeros(rows, old.shape[1], dtype=old.dtype)
    new[: len(keep)] = old[keep]
    model.resize_token_embeddings(rows, mean_resizing=False)
    model.get_input_embeddings().weight.data = new
    model.tie_weights()
    model.save_pretrained(out_dir)

    tokenizer = json.loads((model_dir / "tokenizer.json").read_text())
    new_id = {old: i for i, old in enumerate(keep)}
    vocab = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {t: new_id[i] for t, i in vocab.items() if i in new_id}
    kept = tokenizer["model"]["vocab"]
    pairs = (m.split(" ") if isinstance(m, str) else m for m in tokenizer["model"]["merges"])
    tokenizer["model"]["merges"] = [f"{a} {b}" for a, b in pairs if a in kept and b in kept and a + b in kept]
    for token in tokenizer["added_tokens"]:
        token["id"] = new_id[token["id"]]
    (out_dir / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    shutil.copy(model_dir / "tokenizer_config.json", out_dir)
    print(f"{time.perf_counter() - start:.3f}")


main()
