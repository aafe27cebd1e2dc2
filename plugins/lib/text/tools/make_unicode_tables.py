#!/usr/bin/env python3
"""Writes ../unicode_tables.inc, ../nfc_tables.inc, ../mapping_tables.inc and ../property_tables.inc: what HF tokenizers
thinks of each code point.

The tables are not taken from a Unicode release but asked of the reference itself (the package `tokenizers`, pinned in
tests/golden/requirements.txt), code point by code point, because its parts follow different releases:
  \\p{L} \\p{N} \\s      Oniguruma (Split, ByteLevel)      Unicode 16.0
  numeric             Rust's char::is_numeric (Digits)  Unicode 17.0
  \\w                  the crate regex (single_word)     Unicode 16.0 or later
  NFC, NFKD           unicode-normalization-alignments
  lower case          Rust's char::to_lowercase
  \\p{Lu}, \\w, scripts  Oniguruma
Run it after a change of the pin, and look at the difference before committing it.
"""
import pathlib
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

HERE = pathlib.Path(__file__).resolve().parent.parent
POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
BLOCK = 4096


def blocks(points):
    for i in range(0, len(points), BLOCK):
        yield points[i : i + BLOCK]


def matching(regex):
    """Code points that Oniguruma's `regex` matches."""
    split = pre_tokenizers.Split(Regex(regex), behavior="removed")
    found = set()
    for block in blocks(POINTS):
        kept = {ord(c) for piece, _ in split.pre_tokenize_str("".join(map(chr, block))) for c in piece}
        found |= set(block) - kept
    return found


def numeric():
    digits = pre_tokenizers.Digits(individual_digits=True)
    found = set()
    for block in blocks(POINTS):
        text = "".join(f"a{chr(c)}a" for c in block)
        found |= {ord(piece) for piece, _ in digits.pre_tokenize_str(text) if len(piece) == 1 and piece != "a"}
    return found


def word():
    """Code points before which an added token with single_word does not match."""
    tokenizer = Tokenizer(models.BPE(vocab={}, merges=[]))
    tokenizer.add_tokens([AddedToken("\U0010fffd<m>", single_word=True, normalized=False)])
    found = set()
    for block in blocks(POINTS):
        text = "".join(f"{chr(c)}\U0010fffd<m> " for c in block)
        hits = {start for start, _ in tokenizer.encode(text).offsets}
        found |= {c for i, c in enumerate(block) if 6 * i + 1 not in hits}
    return found


def strippable():
    """Code points that lstrip and rstrip take away."""
    tokenizer = Tokenizer(models.BPE(vocab={}, merges=[]))
    tokenizer.add_tokens([AddedToken("<m>", lstrip=True, normalized=False)])
    found = set()
    for block in blocks(POINTS):
        text = "".join(f"_{chr(c)}<m>" for c in block)
        hits = {start for start, _ in tokenizer.encode(text).offsets}
        found |= {c for i, c in enumerate(block) if 5 * i + 1 in hits}
    return found


def write_classes():
    space = matching(r"\s")
    assert space == strippable(), "lstrip's \\s is not Split's \\s; give it a flag of its own"
    sets = [matching(r"\p{L}"), matching(r"\p{N}"), space, numeric(), word()]
    flags = {}
    for bit, members in enumerate(sets):
        for c in members:
            flags[c] = flags.get(c, 0) | 1 << bit
    ranges = []
    for c in sorted(flags):
        if ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == flags[c]:
            ranges[-1][1] = c
        else:
            ranges.append([c, c, flags[c]])
    with open(HERE / "unicode_tables.inc", "w") as out:
        out.write("// Made by tools/make_unicode_tables.py; do not edit. First, last, flags (unicode.h).\n")
        out.write(f"// Letters {len(sets[0])}, numbers {len(sets[1])}, spaces {len(sets[2])}, numeric {len(sets[3])},"
                  f" word {len(sets[4])} code points, as tokenizers {tokenizers.__version__} has them.\n")
        rows(out, [f"{{{a:#x}, {b:#x}, {f}}}" for a, b, f in ranges])


def rows(out, items):
    line = ""
    for item in items:
        if len(line) + len(item) + 2 > 118:
            out.write(line.rstrip() + "\n")
            line = ""
        line += item + ", "
    out.write(line.rstrip() + "\n")


def combining_classes(nfd):
    """The canonical combining class of each code point, found by what reorders with a mark of each known class."""
    marks = {}
    for c in POINTS:
        k = unicodedata.combining(chr(c))
        moves = nfd("x\u0345" + chr(c)) == "x" + chr(c) + "\u0345"  # Python's tables know marks that the crate does not.
        if k and k not in marks and nfd(chr(c)) == chr(c) and (moves or c == 0x345):
            marks[k] = chr(c)
    known = sorted(marks)
    low, high = marks[known[0]], marks[known[-1]]

    def lines(pairs):
        got = []
        for i in range(0, len(pairs), BLOCK):
            part = pairs[i : i + BLOCK]
            result = nfd("\n".join("x" + a + b for a, b in part)).split("\n")
            got += [a != b and r == "x" + b + a for r, (a, b) in zip(result, part)]
        return got

    single = [c for c in POINTS if c != 10 and nfd(chr(c)) == chr(c)]
    over = lines([(chr(c), low) for c in single])
    under = lines([(high, chr(c)) for c in single])
    candidates = [c for c, o, u in zip(single, over, under) if o or u]
    classes = {}
    for c in candidates:
        above = lines([(chr(c), marks[k]) for k in known])  # class(c) > k
        below = lines([(marks[k], chr(c)) for k in known])  # class(c) < k
        same = [k for k, a, b in zip(known, above, below) if not a and not b]
        assert len(same) == 1, f"{c:#x} lies between the known classes"
        classes[c] = same[0]
    return classes


def write_nfc():
    nfd_object, nfc_object = normalizers.NFD(), normalizers.NFC()
    nfd, nfc = nfd_object.normalize_str, nfc_object.normalize_str
    hangul = range(0xAC00, 0xAC00 + 11172)
    decompositions = {c: nfd(chr(c)) for c in POINTS if c not in hangul and nfd(chr(c)) != chr(c)}
    classes = combining_classes(nfd)
    pairs = {}
    for c, full in decompositions.items():
        step = [chr(int(x, 16)) for x in unicodedata.decomposition(chr(c)).split() if not x.startswith("<")]
        if len(step) != 2:  # Newer than python's tables: the last character apart, the others composed.
            step = [nfc(full[:-1]), full[-1]]
        if len(step[0]) == 1 and nfc(step[0] + step[1]) == chr(c):
            pairs[(ord(step[0]), ord(step[1]))] = c
    with open(HERE / "nfc_tables.inc", "w") as out:
        out.write("// Made by tools/make_unicode_tables.py; do not edit. As tokenizers "
                  f"{tokenizers.__version__} normalises; Hangul syllables are computed.\n")
        out.write("// Code point, canonical combining class.\n#ifdef EDITD_NFC_CLASSES\n")
        ranges = []
        for c in sorted(classes):
            if ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == classes[c]:
                ranges[-1][1] = c
            else:
                ranges.append([c, c, classes[c]])
        rows(out, [f"{{{a:#x}, {b:#x}, {k}}}" for a, b, k in ranges])
        out.write("#endif\n// Code point, its full decomposition (0 fills).\n#ifdef EDITD_NFC_DECOMPOSITIONS\n")
        assert max(map(len, decompositions.values())) <= 4
        rows(out, [f"{{{c:#x}, {{{', '.join(hex(ord(x)) for x in full)}}}}}" for c, full in sorted(decompositions.items())])
        out.write("#endif\n// First, second, what they compose to.\n#ifdef EDITD_NFC_COMPOSITIONS\n")
        rows(out, [f"{{{a:#x}, {b:#x}, {c:#x}}}" for (a, b), c in sorted(pairs.items())])
        out.write("#endif\n")
    print(len(decompositions), "decompositions,", len(pairs), "compositions,", len(classes), "with a class")


def write_mappings():
    """Lower case and compatibility decompositions: a code point, how many it becomes, and these."""
    lower, nfd, nfkd = (n().normalize_str for n in (normalizers.Lowercase, normalizers.NFD, normalizers.NFKD))
    compatible = {c: nfkd(chr(c)) for c in POINTS if nfkd(chr(c)) != nfd(chr(c))}
    lowered = {c: lower(chr(c)) for c in POINTS if lower(chr(c)) != chr(c)}
    with open(HERE / "mapping_tables.inc", "w") as out:
        out.write("// Made by tools/make_unicode_tables.py; do not edit. As tokenizers "
                  f"{tokenizers.__version__} has them: a code point, how many it becomes, and these.\n")
        for name, table in (("LOWER", lowered), ("COMPATIBLE", compatible)):
            out.write(f"#ifdef EDITD_MAPPING_{name}\n")
            rows(out, [", ".join([hex(c), str(len(to)), *(hex(ord(x)) for x in to)]) for c, to in sorted(table.items())])
            out.write("#endif\n")
    print(len(lowered), "lower case,", len(compatible), "compatible")


CATEGORIES = ["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk",
              "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co"]
SCRIPTS = ["Latin", "Greek", "Cyrillic", "Armenian", "Hebrew", "Arabic", "Devanagari", "Bengali", "Tamil", "Telugu", "Thai", "Lao", "Tibetan",
           "Myanmar", "Georgian", "Hangul", "Ethiopic", "Khmer", "Mongolian", "Hiragana", "Katakana", "Bopomofo", "Han", "Yi", "Common"]


def write_properties():
    with open(HERE / "property_tables.inc", "w") as out:
        out.write("// Made by tools/make_unicode_tables.py; do not edit. As the regular expressions of tokenizers "
                  f"{tokenizers.__version__} see code points.\n")
        for guard, names in (("CATEGORIES", CATEGORIES), ("SCRIPTS", SCRIPTS), ("WORD", [r"\w"])):
            owner = {}
            for name in names:
                for c in matching(name if name == r"\w" else rf"\p{{{name}}}"):
                    assert c not in owner
                    owner[c] = name
            ranges = []
            for c in sorted(owner):
                # Surrogates are no text; a range may run over them.
                follows = ranges and (ranges[-1][1] == c - 1 or (c == 0xE000 and ranges[-1][1] == 0xD7FF))
                if follows and ranges[-1][2] == owner[c]:
                    ranges[-1][1] = c
                else:
                    ranges.append([c, c, owner[c]])
            out.write(f"#ifdef EDITD_PROPERTY_{guard}\n")
            rows(out, [f"{{{a:#x}, {b:#x}}}" if guard == "WORD" else f"{{{a:#x}, {b:#x}, k{n}}}" for a, b, n in ranges])
            out.write("#endif\n")
            print(guard, len(owner), "code points in", len(ranges), "ranges")


if __name__ == "__main__":
    write_classes()
    write_nfc()
    write_mappings()
    write_properties()
    sys.exit(0)
