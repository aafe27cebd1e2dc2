"""Probabilities of next tokens, by transformers' own logits processors: python tests/golden/make_samplers.py

Writes tests/golden/generate/samplers.json: logits, the tokens that occurred, settings, probabilities.
"""
import json
import pathlib

import numpy as np
import torch
from transformers.generation import GenerationConfig, logits_process as lp

OUT = pathlib.Path(__file__).parent / "generate/samplers.json"
CHOICES = dict(temperature=[0.3, 0.7, 1.0, 1.8], top_k=[0, 1, 5, 40], top_p=[0.0, 0.3, 0.9, 0.99], min_p=[0.0, 0.05, 0.3],
               repetition_penalty=[1.0, 1.2, 2.0])


def processors(s):
    """In the order of GenerationMixin._get_logits_processor."""
    out = lp.LogitsProcessorList()
    if s["repetition_penalty"] != 1:
        out.append(lp.RepetitionPenaltyLogitsProcessor(s["repetition_penalty"]))
    if s["temperature"] != 1:
        out.append(lp.TemperatureLogitsWarper(s["temperature"]))
    if s["top_k"]:
        out.append(lp.TopKLogitsWarper(s["top_k"]))
    if s["top_p"]:
        out.append(lp.TopPLogitsWarper(s["top_p"]))
    if s["min_p"]:
        out.append(lp.MinPLogitsWarper(s["min_p"]))
    return out


def main():
    rng = np.random.default_rng(1)
    cases = []
    for i in range(120):
        n = int(rng.choice([3, 17, 60]))
        logits = np.round(rng.normal(0, rng.choice([0.5, 2, 6]), n), 3).astype(np.float32)
        if i % 5 == 0:
            logits[rng.integers(0, n)] = logits.max()  # Two equals: top-k keeps both.
        occurred = sorted(set(map(int, rng.integers(0, n, rng.integers(0, 6)))))
        settings = {key: values[rng.integers(0, len(values))] for key, values in CHOICES.items()}
        if i % 5 == 0:
            settings["top_p"] = 0.0  # Which of two equals goes first is nobody's rule.
        settings["top_k"] = min(settings["top_k"], n)
        scores = processors(settings)(torch.tensor([occurred], dtype=torch.long), torch.from_numpy(logits)[None].clone())
        cases.append({"settings": settings, "occurred": occurred, "logits": [float(x) for x in logits],
                      "probabilities": [float(np.float32(x)) for x in scores.softmax(-1)[0]]})
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(cases))


if __name__ == "__main__":
    main()
