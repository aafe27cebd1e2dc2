#!/usr/bin/env python3
"""Our tokenizer beside HF tokenizers, in processor time of one thread: tokenizer_peers.py BENCH TOKENIZER.JSON TEXT

BENCH is build/release/bench/tokenizer_bench. HF gets the text in paragraphs, for it is slower on one long string.
"""
import os
import re
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer  # noqa: E402


def main():
    bench, path, text_path = sys.argv[1:]
    ours = subprocess.run([bench, path, text_path], stdout=subprocess.PIPE, check=True, text=True).stdout
    load = 1e9
    for _ in range(3):
        start = time.process_time()
        tokenizer = Tokenizer.from_file(path)
        load = min(load, time.process_time() - start)
    text = open(text_path, encoding="utf-8").read()
    start = time.process_time()
    tokenizer.encode_batch_fast(text.split("\n\n"), add_special_tokens=False)
    rate = len(text.encode()) / 1e6 / (time.process_time() - start)
    our_load, cold, warm = (float(re.search(rf"{key} ([\d.]+)", ours).group(1)) for key in ("load", "cold", "warm"))
    print(ours, end="")
    print(f"HF: load {load * 1e3:.1f} ms; MB/s: encode {rate:.1f}")
    print(f"ratio: load {load * 1e3 / our_load:.1f}x; encode cold {cold / rate:.0f}x, warm {warm / rate:.0f}x")


if __name__ == "__main__":
    main()
