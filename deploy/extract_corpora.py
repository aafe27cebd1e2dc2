"""Makes the demo's corpora from unpacked Debian packages: extract_corpora.py TREE OUT.

TREE holds maint-guide, maint-guide-vi, manpages and manpages-vi as dpkg -x leaves them. OUT gets JSON lines with one
document each, a manual page or a chapter, in UTF-8, normalised to NFC:

  en.jsonl, vi.jsonl   what the trimmed vocabulary shall be able to say
  heldout.jsonl        documents of both languages that are in neither, to measure on
"""

import gzip
import json
import pathlib
import re
import subprocess
import sys
import unicodedata

HELD_OUT_BYTES = 16_000  # Of each language: a minute of evaluation on two cores.


def clean(text):
    """One space between words, one empty line between paragraphs, NFC."""
    text = unicodedata.normalize("NFC", text)
    lines = [re.sub(r"[ \t\xa0]+", " ", line).strip() for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def manual_pages(folder):
    for page in sorted(folder.rglob("*.gz")):
        source = gzip.decompress(page.read_bytes())
        if len(source) < 500:  # A pointer to another page.
            continue
        # Wide enough that no paragraph is broken into lines; bold and underlined letters are overstruck with backspaces.
        rendered = subprocess.run(["mandoc", "-K", "utf-8", "-T", "utf8", "-O", "width=1000"],
                                  input=source, stdout=subprocess.PIPE, check=False).stdout
        if not rendered:
            sys.exit(f"mandoc makes nothing of {page}")
        lines = re.sub(r".\x08", "", rendered.decode("utf-8")).strip().splitlines()
        yield clean("\n".join(lines[1:-1]))  # Without the running head and foot.


def chapters(path):
    text = clean(gzip.decompress(path.read_bytes()).decode("utf-8"))
    for chapter in re.split(r"(?m)^(?=(?:Chapter|Chương|Appendix|Phụ lục) [0-9A-Z]+\. )", text):
        yield chapter.strip()


def hold_out(documents):
    """Splits off short documents spread over the whole, HELD_OUT_BYTES in all."""
    short = [i for i, text in enumerate(documents) if 1_000 <= len(text.encode()) <= 6_000]
    chosen, size = set(), 0
    for i in short[::2] + short[1::2]:
        if size < HELD_OUT_BYTES:
            chosen.add(i)
            size += len(documents[i].encode())
    return ([text for i, text in enumerate(documents) if i not in chosen], [documents[i] for i in sorted(chosen)])


def main(tree, out):
    share = pathlib.Path(tree) / "usr/share"
    out = pathlib.Path(out)
    out.mkdir(parents=True)
    held_out = []
    for language, pages, guide in (("en", "man", "maint-guide"), ("vi", "man/vi", "maint-guide-vi")):
        documents = [text for section in sorted((share / pages).glob("man[0-9]")) for text in manual_pages(section)]
        documents += chapters(share / "doc" / guide / f"maint-guide.{language}.txt.gz")
        keep, held = hold_out([text for text in documents if text])
        held_out += held
        write(out / f"{language}.jsonl", keep)
    write(out / "heldout.jsonl", held_out)


def write(path, documents):
    with path.open("w", encoding="utf-8") as file:
        for text in documents:
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    print(f"{path.name}: {len(documents)} documents, {path.stat().st_size} bytes")


main(sys.argv[1], sys.argv[2])
