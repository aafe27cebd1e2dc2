#!/usr/bin/env python3
"""Compares our encoder with HF tokenizers on random strings: ids without and with special tokens, places, decoded text.

  compare_tokenizers.py [--count N] [--seed N] [--all-code-points] ENCODE_LINES TOKENIZER.JSON...

With --all-code-points it first takes each code point in several surroundings. ENCODE_LINES is the program that tests/golden/encode_main.cc makes. Prints the first differences; fails if there is any.
"""
import argparse
import json
import random
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

WORDS = """the of and to a in is it you that he was for on are with as I his they be at one have this from or had by hot
don't I'll we've they're he'd it's I'm DON'T I'LL WE'VE 'S 'ſ x'ſ y'S 'RE 'Ve 'lL 'rE l'l Straße naïve café e\u0301te\u0301
Nghệ thuật không được người Việt Nam thực hiện Nghe\u0323\u0302 a\u0323\u0306 o\u031b\u0301 ướ Ơ\u0323 日本語 漢字かな交じり文 中文字符 한국어 한 각
Привет мир Ελληνικά שָׁלוֹם مَرْحَبًا हिन्दी தமிழ் ไทย ភាសា 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇻🇳 ½ ² ① Ⅷ ٣ 一二三 123 4567 89012345 3.14159 1,000,000 0x1F
def return { } [ ] ( ) ; // /* */ == != -> => <html> &nbsp; http://example.com/a?b=c#d foo_bar fooBar FOO --flag $x @y #z % ^ & * ~ ` | \\
... !!! ??? ,,, --- ___ ''' \"\"\" « » “ ” ‘ ’ – — …""".split()
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\n ", " \t ", "\u00a0", "\u2003", "\u3000", "\u2028", "\u0085", "\u200b", "\u180e", "\x0b", "\x1c", "\ufeff"]
BETWEEN = [" "] * 60 + [""] * 15 + SPACES + SPACES[:5]  # After a word.
MARKS = [chr(c) for c in list(range(0x300, 0x370)) + list(range(0x591, 0x5C8)) + list(range(0x64B, 0x660)) + [0x3099, 0x309A, 0x93C, 0x94D, 0xDCA, 0x1DC4, 0x20D0, 0xFE20, 0x1D165, 0x16FF0, 0x9BE, 0x1161, 0x11A8]]
RANGES = [(0x20, 0x7F)] * 6 + [(0, 0x20), (0x80, 0x250), (0x250, 0x590), (0x590, 0x900), (0x900, 0x1100), (0x1100, 0x1200), (0x1E00, 0x2000),
          (0x2000, 0x2C00), (0x2E80, 0x3100), (0x3100, 0xA000), (0xA000, 0xAC00), (0xAC00, 0xD7A4), (0xF900, 0x10000), (0x10000, 0x12000),
          (0x16000, 0x17000), (0x1B000, 0x1C000), (0x1D000, 0x1E000), (0x1E000, 0x1FB00), (0x20000, 0x32000), (0xE0000, 0xE0200), (0, 0x110000)]


def a_character(r):
    low, high = RANGES[int(r.random() * len(RANGES))]
    while True:
        c = low + int(r.random() * (high - low))
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def a_string(r, added):
    kind = r.random()
    if kind < 0.0002:  # Longer than the parts that a text is encoded in.
        return r.choice(["", " ", " \n"]).join(a_string(r, added) for _ in range(1000))
    parts = []
    if kind < 0.25:  # Characters of all planes.
        parts = [a_character(r) for _ in range(int(r.random() * 40))]
    elif kind < 0.35:  # Few characters, much repetition: runs and their borders.
        few = [a_character(r) for _ in range(3)] + [r.choice(SPACES), r.choice(MARKS)]
        parts = [c * n for c, n in zip(r.choices(few, k=30), r.choices([1, 1, 1, 2, 3, 7], k=1 + int(r.random() * 29)))]
    elif kind < 0.45:  # Marks upon marks.
        for _ in range(1 + int(r.random() * 11)):
            parts.append(r.choice([a_character(r), r.choice("aeiouAEIOUdnyơưâ")]))
            parts += r.choices(MARKS, k=int(r.random() * 4))
    else:
        count = 1 + int(r.random() * 24)
        for word, space, dice in zip(r.choices(WORDS, k=count), r.choices(BETWEEN, k=count), r.choices(range(100), k=count)):
            parts.append(word if dice < 85 else a_character(r))
            parts.append(space)
            if added and r.random() < 0.1:
                token = r.choice(added)
                parts.append(token if r.random() < 0.8 else token[: r.randrange(len(token))])
                parts.append(r.choice(["", "", " ", r.choice(SPACES), "_", "x", "é"]))
    return "".join(parts)


def surrounded(c):
    """One code point where classes, contractions, normal forms and added tokens' neighbours matter."""
    return f"a{c}b {c}{c}x 1{c}2 '{c} !{c}\n{c} \u0301{c}\u0323 \u1100{c}\u11a8 {c}word{c} \n{c}"


def compare(program, path, strings, special, reference=None):
    with tempfile.TemporaryFile("w+") as lines:
        for s in strings:
            lines.write(json.dumps(s) + "\n")
        lines.seek(0)
        command = [program, path] + (["--special"] if special else [])
        got = subprocess.run(command, stdin=lines, stdout=subprocess.PIPE, check=True, text=True).stdout.split("\n")
    reference = reference or Tokenizer.from_file(path)
    differences = 0
    for i in range(0, len(strings), 2000):
        part = strings[i : i + 2000]
        encoded = reference.encode_batch(part, add_special_tokens=special)
        decoded = reference.decode_batch([e.ids for e in encoded], skip_special_tokens=True)
        for s, e, text, line in zip(part, encoded, decoded, got[i : i + 2000]):
            if line != f"{e.ids}\t{text.encode().hex()}\t{e.offsets}":
                differences += 1
                if differences <= 5:
                    ours_ids, ours_text, ours_places = line.split("\t")
                    print(f"{path}: {s!r} {[hex(ord(c)) for c in s]}\n  reference {e.ids} {text!r} {e.offsets}\n"
                          f"  ours      {ours_ids} {bytes.fromhex(ours_text).decode()!r} {ours_places}")
    return differences


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--all-code-points", action="store_true")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("program")
    parser.add_argument("tokenizers", nargs="+")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 30)
    bad = 0
    for path in arguments.tokenizers:
        added = [t["content"] for t in json.load(open(path))["added_tokens"]]
        reference = Tokenizer.from_file(path)
        done = differences = 0
        r = random.Random(f"{seed} {path}")
        if arguments.all_code_points:
            points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
            for i in range(0, len(points), 50000):
                differences += compare(arguments.program, path, [surrounded(c) for c in points[i : i + 50000]], special=False, reference=reference)
            print(f"{path}: {differences} differences in {len(points)} code points", flush=True)
        while done < arguments.count:
            strings = [a_string(r, added) for _ in range(min(50000, arguments.count - done))]
            differences += compare(arguments.program, path, strings, special=done % 100000 == 0, reference=reference)
            done += len(strings)
        print(f"{path}: {differences} differences in {done} strings (seed {seed})", flush=True)
        bad += differences
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
