#!/usr/bin/env python3
"""Small tokenizers of each kind, and what HF tokenizers makes of hard texts: python tests/golden/make_tokenizers.py

Writes tests/golden/tokenizers/KIND.json (a tokenizer.json, trained here on the text below) and KIND.golden.jsonl. There
each line is an array: [text, ids, ids with special tokens or null if the same, decoded or null if it is the text, decoded
with special tokens skipped or null if that is the same], and after those lines [null, ids, null, decoded, decoded with
special tokens skipped or null].
"""
import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from compare_tokenizers import a_string

OUT = pathlib.Path(__file__).parent / "tokenizers"

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

TRAINING = """
The quick brown fox jumps over the lazy dog. It's what they've said, isn't it? We'll see; I'd say so, he'd not, they're
there. In 1984, 3.14159 and 2,718,281 were numbers; 42% of 1000 is 420. DON'T SHOUT, SHE'LL HEAR.
A tokenizer cuts text into tokens; byte-level BPE merges the pair of lowest rank first, again and again, until no pair is
left. Whatever was removed from the vocabulary must never be needed: bytes stay, merges stay closed, special tokens stay.
Người Việt Nam thực hiện nghệ thuật không được tốt; tiếng Việt có dấu: à á ả ã ạ ă ằ ắ ẳ ẵ ặ â ầ ấ ẩ ẫ ậ đ ê ề ế ể ễ ệ.
Hà Nội là thủ đô của nước Việt Nam. Trường đại học, công nghệ thông tin, trí tuệ nhân tạo, mô hình ngôn ngữ lớn.
Học thầy không tày học bạn. Có công mài sắt có ngày nên kim. Ăn quả nhớ kẻ trồng cây.
Ο λόγος. Привет, мир! Добрый день. שלום עולם. مرحبا بالعالم. नमस्ते दुनिया. สวัสดีชาวโลก. 你好，世界。日本語の文章です。한국어 문장입니다.
Straße, naïve café, Ærøskøbing, façade, señor, über, œuvre, Łódź, Dvořák, İstanbul, ſo ſagte er.
def encode(text: str, add_special_tokens: bool = True) -> list[int]:
    ids = []
    for piece in self.split(text):
        if piece in self.cache:
            ids.extend(self.cache[piece])
        else:
            ids += self.merge(piece.encode("utf-8"))  # slow
    return ids
\tint main(int argc, char** argv) { return argc > 1 ? atoi(argv[1]) : 0; }
<html><body class="x">&nbsp;<a href="https://example.com/?q=1&r=2#top">link</a></body></html>
{"key": [1, 2, 3], "other": {"nested": null, "true": false}}


| a | b |\r\n|---|---|\r\n| 1 | 2 |\r\n
👩‍👩‍👧‍👦 👍🏽 🇻🇳 🏳️‍🌈 😀 😃 😄   …   — – “quotes” ‘single’ «guillemets»
"""

ADDED = [
    AddedToken("<|endoftext|>", special=True, normalized=False),
    AddedToken("<|im_start|>", special=True, normalized=False),
    AddedToken("<|im_end|>", special=True, normalized=False),
    AddedToken("<|im", special=False, normalized=False),
    AddedToken(" thực hiện", special=False, normalized=False),
    AddedToken("không", special=False, normalized=False),
    AddedToken("cafe\u0301s", special=False, normalized=True),
    AddedToken("e\u0323\u0302tre", special=True, normalized=True),
    AddedToken("word", special=False, normalized=False, single_word=True),
    AddedToken(" lead", special=False, normalized=True, single_word=True),
    AddedToken("<l>", special=True, normalized=False, lstrip=True),
    AddedToken("<r>", special=True, normalized=False, rstrip=True),
    AddedToken("<lr>", special=False, normalized=True, lstrip=True, rstrip=True),
    AddedToken("<w>", special=False, normalized=False, lstrip=True, rstrip=True, single_word=True),
    AddedToken("abc", special=False, normalized=False),
    AddedToken("abcdef", special=False, normalized=False),
    AddedToken("bcdefg", special=False, normalized=False),
    AddedToken("  ", special=False, normalized=False),
]


def byte_level(prefix_space=False, use_regex=True):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=use_regex)


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior=behavior, invert=invert)


def bos(tokenizer):
    token = ("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))
    return processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<|endoftext|> $A", pair="<|endoftext|> $A <|endoftext|> $B", special_tokens=[token])])


def bos_and_eos(tokenizer):
    tokens = [(t, tokenizer.token_to_id(t)) for t in ("<|im_start|>", "<|im_end|>")]
    return processors.TemplateProcessing(single="<|im_start|> $A <|im_end|>", pair="<|im_start|> $A $B", special_tokens=tokens)


def spm_decoder():
    return decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])


def spm_bos(tokenizer):
    token = ("<s>", tokenizer.token_to_id("<s>"))
    return processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[token])


O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])

# SentencePiece's kind, over characters: pre-tokenizer, normalizer, post-processor, decoder, model, added tokens.
SPM_KINDS = {
    "llama2": (None, normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]), spm_bos, spm_decoder(),
               {"byte_fallback": True, "fuse_unk": True}, ADDED[:-1]),
    "gemma": (pre_tokenizers.Split(" ", "merged_with_previous"), normalizers.Replace(" ", "\u2581"), None,
              decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]),
              {"byte_fallback": True, "fuse_unk": True}, ADDED[:-1]),
    "metaspace": (pre_tokenizers.Metaspace(prepend_scheme="first", split=True), normalizers.Sequence(
        [normalizers.Strip(), normalizers.NFKC(), normalizers.Lowercase()]), spm_bos, decoders.Metaspace(prepend_scheme="first"),
        {"byte_fallback": False, "fuse_unk": False}, ADDED[:-1]),
}

# Kind: pre-tokenizer, normalizer, post-processor, merges as strings, ignore_merges, added tokens (the last two spaces apart).
KINDS = {
    "gpt2": (byte_level(), None, None, True, False, ADDED[:3]),
    "smollm": (pre_tokenizers.Sequence([pre_tokenizers.Digits(True), byte_level()]), None, None, False, False, ADDED),
    "llama3": (pre_tokenizers.Sequence([split(LLAMA3), byte_level(use_regex=False)]), None, bos, True, True, ADDED[:-1]),
    "qwen2": (pre_tokenizers.Sequence([split(QWEN2), byte_level(use_regex=False)]), normalizers.NFC(), None, False, False, ADDED[:-1]),
    "cl100k": (pre_tokenizers.Sequence([split(CL100K, "removed", True), byte_level(use_regex=False)]),
               normalizers.Sequence([normalizers.NFC()]), bos_and_eos, False, True, ADDED),
    "prefix": (pre_tokenizers.Sequence([pre_tokenizers.Digits(False), split(GPT2), byte_level(prefix_space=True)]),
               None, None, False, False, ADDED[:-1]),
    "o200k": (pre_tokenizers.Sequence([split(O200K), byte_level(use_regex=False)]), None,
              lambda t: processors.ByteLevel(trim_offsets=True, add_prefix_space=False), False, True, ADDED[:-1]),
}

HAND = [
    "", " ", "  ", "   ", "\n", "\r\n", " \n ", "\t\t", "a", " a", "  a", "   a", "a ", "a  ", "a\n", "a\n\n b", "a \n\n  b", "\n\na", "!\n\n?", " !\r\n\r\n x",
    "don't DON'T Don'T 'S 's's 'ſ x'ſy 'LL 'Ll 're'VE 'd'D'M", "''s '''t", "'", "'x", "x'", "'l", "'r", "it 's", "l'ſ", "'\u017f", "'\u212a",
    "1", "12", "123", "1234", "12345678901", "1a2b33cc", " 1 22 333 4444", "½⅓²①Ⅷ٣४一", "3.14", "\u0661\u0662\u0663\u0664", "\U00011de0\U00016ff4\U0001d7ce",
    "tiếng Việt", "tie\u0302\u0301ng Vie\u0323\u0302t", "tie\u0302\u0301ng Vi\u00ea\u0323t", "ngươ\u0300i", "ngu\u031bo\u031b\u0300i", "a\u0323\u0302 a\u0302\u0323 \u00e2\u0323",
    "\u1100\u1161\u11a8 \uac00\u11a8 \u1100\uac00", "\u0344 \u0340 \u0958 \u2126 \u212b \ufb1d \U0001d15e \u0fb9", "\u0301a\u0301\u0301", "\u09c7\u09be \u0dd9\u0dcf\u0dca",
    "\U00016ff0\u0301 \u1dfa\u0301 \u0301\u0316\u0334", "q\u0307\u0323 s\u0323\u0307", "\u2000\u2001 \u00a0x \u3000y \u2028z \u0085w \u200bv \u180eu \ufeff",
    "\x00\x01\x1b\x7f\x80\x9f", "\x1c\x1d\x1e\x1f x", "\x0b\x0c\n x", "👩‍👩‍👧‍👦👍🏽🇻🇳🏳️‍🌈", " 😀 😃", "日本語の文章", "你好，世界。", "สวัสดี", "नमस्ते", "مَرْحَبًا", "שָׁלוֹם",
    "<|im_start|>user\nhi<|im_end|>\n", "<|im_start|", "<|im_end", "x<|im|>y", "<|im<|im_end|>", " thực hiện", "thực hiện thực hiện", "a thực hiệnb", "không", "không gian", "khôngkhông",
    "cafe\u0301s", "caf\u00e9s", "cafés cafe\u0301s", "e\u0323\u0302tre", "\u1ec7tre", "\u00ea\u0323tre", "word", "words", "sword", "a word!", "word-word", "wordé", "éword", "字word", "_word", "word\u0301", "word\u200d", "१word", "a lead b", "a leader", " lead", "x lead.",
    "a <l> b", "a \n\t<l>  b", "a<l>b", "a <r> b", "a<r>  \n b", "a <lr> b", "a  <lr>  b<lr>", "a <w> b", "a<w>b", " <w> ", "<w> <w>", "<r>  <l>", "<r> <r> <r>", "<lr>  <lr>", "\u3000<l>", "<r>\u2003\u0085x",
    "abcdefg", "abcdef", "abcde", "xabcbcdefg", "ab  cd    ef", "<r>    x", "x    <l>",
    "if (x) {\n    return y;\n}\n\n\n", "\tfoo\n\t\tbar", "a==b&&c||d", "http://x.y/z?a=b&c=d", "--------", "a" * 100, "ab" * 60, "é" * 70, " " * 90, "\n" * 60, "!" * 75, "字" * 50, "a1" * 40, "-a" * 40,
    "Straße İstanbul ſo ǅ ﬁ ﬆ", "x²y", "a\u0301\u0327", "\ud7a3\u1100", "\U0010ffff\ufffd\ufffe", "\u0378\u0530", "ᏣᎳᎩ ꙮ 𐐀 𒀀 𓀀 𝒜 𠀀",
]


def reorder(tokenizer_json, strings):
    """Merges in the older form, where the kind asks for it."""
    if strings:
        tokenizer_json["model"]["merges"] = [" ".join(pair) for pair in tokenizer_json["model"]["merges"]]
    return tokenizer_json


def train_spm(pre_tokenizer, normalizer, post, decoder, model, added, text=TRAINING):
    """A tokenizer of SentencePiece's kind: merges within words, bytes as tokens, control tokens first."""
    first = ["<unk>", "<s>", "</s>"] + ([f"<0x{byte:02X}>" for byte in range(256)] if model["byte_fallback"] else [])
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    tokenizer.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=1300, min_frequency=1, show_progress=False, special_tokens=first, limit_alphabet=200))
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [t for t in content["added_tokens"] if not t["content"].startswith("<0x")]
    content["model"].update(model)
    content["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(content))
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoder
    tokenizer.add_tokens(added)
    if post:
        tokenizer.post_processor = post(tokenizer)
    return tokenizer


def main():
    OUT.mkdir(exist_ok=True)
    r = random.Random(20260101)
    trained = {}
    for kind, (pre_tokenizer, normalizer, post, strings, ignore_merges, added) in KINDS.items():
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizer
        tokenizer.decoder = decoders.ByteLevel()
        if normalizer:
            tokenizer.normalizer = normalizer
        # SmolLM's special tokens have the first ids, the others' follow the vocabulary.
        first = ADDED[:3] if kind == "smollm" else []
        tokenizer.train_from_iterator([TRAINING], trainers.BpeTrainer(
            vocab_size=1200, min_frequency=1, show_progress=False, special_tokens=first,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        tokenizer.add_tokens(added)
        if post:
            tokenizer.post_processor = post(tokenizer)
        content = reorder(json.loads(tokenizer.to_str()), strings)
        content["model"]["ignore_merges"] = ignore_merges
        trained[kind] = (content, added)
    for kind, arguments in SPM_KINDS.items():
        trained[kind] = (json.loads(train_spm(*arguments).to_str()), arguments[-1])
    for kind, (content, added) in trained.items():
        path = OUT / f"{kind}.json"
        path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")
        tokenizer = Tokenizer.from_file(str(path))

        contents = [t.content for t in added]
        texts = HAND + [a_string(r, contents) for _ in range(150)]
        with open(OUT / f"{kind}.golden.jsonl", "w") as out:
            def line(*values):
                out.write(json.dumps(values, separators=(",", ":")) + "\n")

            def other(value, than):
                return None if value == than else value

            for text in texts:
                ids = tokenizer.encode(text, add_special_tokens=False).ids
                special = tokenizer.encode(text, add_special_tokens=True).ids
                decoded = tokenizer.decode(ids, skip_special_tokens=False)
                line(text, ids, other(special, ids), other(decoded, text), other(tokenizer.decode(ids), decoded))
            for _ in range(60):
                ids = [r.randrange(tokenizer.get_vocab_size() + 3) if r.random() < 0.6 else r.randrange(200) for _ in range(r.randrange(1, 9))]
                decoded = tokenizer.decode(ids, skip_special_tokens=False)
                line(None, ids, None, decoded, other(tokenizer.decode(ids), decoded))
        print(kind, tokenizer.get_vocab_size(), path.stat().st_size, (OUT / f"{kind}.golden.jsonl").stat().st_size)


if __name__ == "__main__":
    main()
