"""Greedy answers of SmolLM2-135M-Instruct in float32, by transformers: python tests/golden/make_generate.py [MODEL.gguf]

Writes tests/golden/generate/smollm2.json: conversations and texts, what the tokenizer makes of them, and 64 tokens after
each. The model is the GGUF file that deploy/bootstrap fetches into build/deps/model.
"""
import json
import pathlib
import sys

import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "generate/smollm2.json"
DEFAULT = HERE.parents[1] / "build/deps/model/SmolLM2-135M-Instruct.Q4_1.gguf"
CHATS = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "system", "content": "You answer in one short sentence."}, {"role": "user", "content": "Why is the sky blue?"}],
    [{"role": "user", "content": "Hi, my name is Lan."}, {"role": "assistant", "content": "Hello Lan! How can I help?"},
     {"role": "user", "content": "What is my name? Xin chào! 🙂"}],
    [{"role": "user", "content": "  Write a haiku about rivers.\n"}],
]
TEXTS = ["Once upon a time, there was a", "def fibonacci(n):\n", "The three primary colours are"]


def main():
    path = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else DEFAULT)
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    source = dict(pretrained_model_name_or_path=str(path.parent), gguf_file=path.name)
    tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
    model = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32).eval()
    cases = []
    for prompt in CHATS + TEXTS:
        if isinstance(prompt, str):
            ids = tokenizer(prompt)["input_ids"]
        else:
            text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        out = model.generate(torch.tensor([ids]), max_new_tokens=64, do_sample=False, temperature=None, top_p=None, top_k=None,
                             repetition_penalty=1.0)
        tokens = out[0, len(ids):].tolist()
        cases.append({"prompt": prompt, "ids": ids, "tokens": tokens, "text": tokenizer.decode(tokens, skip_special_tokens=True)})
        print(repr(cases[-1]["text"][:70]), len(tokens))
    OUT.write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
