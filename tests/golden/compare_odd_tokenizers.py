#!/usr/bin/env python3
"""Many unusual tokenizers against HF tokenizers: compare_odd_tokenizers.py [--count N] [--seed N] [--keep DIR] ENCODE_LINES

Trains small ones with other normalizers, pre-tokenizers, patterns and decoders than the goldens have (the splitters of
GPT-4o, Qwen 3.5, Mistral, DeepSeek, Kimi and Bloom among them; odd patterns with a random behaviour) and compares each on
random strings as compare_tokenizers.py does.
"""
import argparse
import json
import pathlib
import random
import sys
import tempfile

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from compare_tokenizers import a_string, compare
from make_tokenizers import ADDED, O200K, TRAINING, byte_level, spm_bos, spm_decoder, split, train_spm

META = "\u2581"
LETTERS = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
REST = [r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"]
SPLITTERS = {
    "o200k": [O200K],
    "qwen35": ["|".join([r"(?i:'s|'t|'re|'ve|'m|'ll|'d)", r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+", r"\p{N}", r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*", *REST])],
    "tekken": ["|".join([rf"[^\r\n\p{{L}}\p{{N}}]?[{LETTERS[0]}]*[{LETTERS[1]}]+", rf"[^\r\n\p{{L}}\p{{N}}]?[{LETTERS[0]}]+[{LETTERS[1]}]*",
                         r"\p{N}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", *REST])],
    "deepseek": [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", "|".join([r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""", r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
                                                       r" ?[\p{P}\p{S}]+[\r\n]*", *REST])],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"],
    "kimi": ["|".join([r"[\p{Han}]+", rf"[^\r\n\p{{L}}\p{{N}}]?[{LETTERS[0]}&&[^\p{{Han}}]]*[{LETTERS[1]}&&[^\p{{Han}}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                       rf"[^\r\n\p{{L}}\p{{N}}]?[{LETTERS[0]}&&[^\p{{Han}}]]+[{LETTERS[1]}&&[^\p{{Han}}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?", r"\p{N}{1,3}",
                       r" ?[^\s\p{L}\p{N}]+[\r\n]*", *REST])],
    "bloom": [r" ?[^(\s|[.,!?…。，、।۔،])]+"],
}
PATTERNS = [
    r"\w+|[^\w\s]+", r"\s", r"[a-z]+", r"\b\w", r"(?<=[.!?])\s+", r"\p{Lu}\p{Ll}*|\p{Ll}+", r"(?:[^\W\d_]|')+|\d|\s|.", r"[^\S\n]+|\n", r"^.+?$",
    r"(?>\s+)x|\w{2,5}?", r"(a|ab)(c|bcd)?", r"x*y|\d{3}(?!\d)", r".{1,3}", r"\p{Nd}+(?:[.,]\p{Nd}+)*", r"(?:\p{L}\p{M}*)+", r"\A\s+|\s+\z|\s+\Z",
    r"\B.", r"[\p{L}&&[^a-e]]+", r"\h{2}", r"[ -~]+|\P{L}", r"\u00e1|\x{1ea1}|\x41", r"(?:ab?|c){2,4}", r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\s++$",
]
NORMALIZERS = [
    normalizers.NFD(), normalizers.NFKD(), normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip(left=True, right=False),
    normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.NFC()]), normalizers.Replace(Regex(r"\d"), ""),
    normalizers.Sequence([normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]), normalizers.Replace("e", "ee"),
    normalizers.Sequence([normalizers.Prepend("xy"), normalizers.NFKC()]),
    normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"[\n\t]"), " "), normalizers.Replace(Regex(r" {2,}"), META), normalizers.Prepend(" ")]),
]
BEHAVIORS = ["isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"]


def over_bytes(normalizer, pre_tokenizer, trim=None, alphabet=pre_tokenizers.ByteLevel.alphabet(), **model):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator([TRAINING], trainers.BpeTrainer(
        vocab_size=1000, min_frequency=1, show_progress=False, initial_alphabet=alphabet))
    content = json.loads(tokenizer.to_str())
    content["model"].update(model)
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.add_tokens(ADDED[:-1])
    if trim is not None:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space=trim)
    return tokenizer


def all_of_them(r):
    def spm(pre_tokenizer, normalizer, post, decoder, byte_fallback, fuse_unk):
        return train_spm(pre_tokenizer, normalizer, post, decoder, {"byte_fallback": byte_fallback, "fuse_unk": fuse_unk}, ADDED[:-1])

    metaspace = pre_tokenizers.Metaspace
    replaced = normalizers.Replace(" ", META)
    yield "llama", spm(None, normalizers.Sequence([normalizers.Prepend(META), replaced]), spm_bos, spm_decoder(), True, True)
    yield "gemma", spm(pre_tokenizers.Split(" ", "merged_with_previous"), replaced, None, spm_decoder(), True, True)
    yield "mistral", spm(metaspace(prepend_scheme="first", split=False), None, spm_bos, decoders.Metaspace(prepend_scheme="first"), True, True)
    yield "always", spm(metaspace(prepend_scheme="always", split=True), None, None, decoders.Metaspace(), False, True)
    yield "never", spm(metaspace(prepend_scheme="never", split=True), None, None, decoders.Metaspace(prepend_scheme="never"), True, False)
    yield "unknown", spm(metaspace(prepend_scheme="first", split=True), None, None, spm_decoder(), False, False)
    yield "digits", spm(pre_tokenizers.Sequence([pre_tokenizers.Digits(True), metaspace(prepend_scheme="first", split=True)]), normalizers.NFKC(), None, None, True, True)
    for i, normalizer in enumerate(NORMALIZERS):
        yield f"normalizer {i}", over_bytes(normalizer, byte_level(prefix_space=i % 2 == 0))
    for name, patterns in SPLITTERS.items():
        steps = [split(pattern) for pattern in patterns] + [byte_level(use_regex=name == "bloom")]
        yield name, over_bytes(normalizers.NFC() if name == "qwen35" else None, pre_tokenizers.Sequence(steps), False, ignore_merges=name == "tekken")
    for trim, normalizer in [(None, None), (True, None), (False, normalizers.NFC()), (None, normalizers.Prepend("ab"))]:
        # As SmolLM2's: bytes that the text for training does not have are no tokens, and are dropped.
        some = r.sample(sorted(pre_tokenizers.ByteLevel.alphabet()), r.choice([0, 60, 200]))
        yield "missing bytes", over_bytes(normalizer, byte_level(), trim, alphabet=some, ignore_merges=trim is None)
    for pattern in PATTERNS:
        step = split(pattern, r.choice(BEHAVIORS), r.random() < 0.4)
        pre_tokenizer = pre_tokenizers.Sequence([step, byte_level(r.random() < 0.5, r.random() < 0.3)])
        yield pattern, over_bytes(None, pre_tokenizer, r.choice([None, False, True]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", help="a folder for the tokenizers")
    parser.add_argument("program")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 30)
    r = random.Random(seed)
    added = [token.content for token in ADDED[:-1]]
    kinds = differences = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(arguments.keep or temporary)
        for name, tokenizer in all_of_them(r):
            path = folder / f"{kinds}.json"
            tokenizer.save(str(path))
            strings = [a_string(r, added) for _ in range(arguments.count)]
            found = compare(arguments.program, str(path), strings, special=kinds % 2 == 0)
            if found:
                print(f"{name}: {found} differences", flush=True)
            kinds += 1
            differences += found
    print(f"{differences} differences in {kinds} tokenizers, {arguments.count} strings each (seed {seed})")
    return differences != 0


if __name__ == "__main__":
    sys.exit(main())
