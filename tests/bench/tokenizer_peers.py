#!/usr/bin/env python3
"""Our tokenizer beside gigatoken and HF tokenizers, one thread: tokenizer_peers.py [--rounds N] BENCH TOKENIZER.JSON TEXT...

BENCH is build/release/bench/tokenizer_bench. All sides take turns, round after round, in processes of their own, and the
best round of each counts; times are the processor's, so that other programs show little. "cold" is a new tokenizer's first
time through a text, "warm" the best of the following ones. HF gets the text in paragraphs, for it is slower on one long
string. Two threads are measured by the clock: on a quiet machine only.
"""
import argparse
import re
import subprocess
import sys
import time


def peer(kind, path, text_path):
    """Prints load, cold and warm: seconds."""
    text = open(text_path, encoding="utf-8").read()
    start = time.process_time()
    if kind == "gigatoken":
        import gigatoken

        start = time.process_time()
        tokenizer = gigatoken.Tokenizer(path)
        loaded = time.process_time()
        encoded = text.encode()
        runs = 6

        def run():
            tokenizer.encode(encoded)
    else:
        from tokenizers import Tokenizer

        start = time.process_time()
        tokenizer = Tokenizer.from_file(path)
        loaded = time.process_time()
        paragraphs = text.split("\n\n")
        runs = 2

        def run():
            tokenizer.encode_batch_fast(paragraphs, add_special_tokens=False)
    times = []
    for _ in range(runs):
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    print(loaded - start, times[0], min(times[1:]))


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--peer":
        return peer(*sys.argv[2:])
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("bench")
    parser.add_argument("tokenizer")
    parser.add_argument("texts", nargs="+")
    arguments = parser.parse_args()
    environment = {"PATH": "/usr/bin:/bin", "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    for text in arguments.texts:
        megabytes = len(open(text, "rb").read()) / 1e6
        best = {}
        threads = {1: 0.0, 2: 0.0}
        processor = 0.0
        for _ in range(arguments.rounds):
            for kind in ("ours", "gigatoken", "HF"):
                if kind == "ours":
                    out = subprocess.run([arguments.bench, arguments.tokenizer, text, "0.3"], stdout=subprocess.PIPE, check=True, text=True).stdout
                    load, cold, warm, one, two, work = (float(re.search(rf"{key} ([\d.]+)", out).group(1))
                                                        for key in ("load", "cold", "warm", "clock one", "two", "processor"))
                    processor = max(processor, work)
                    times = [load / 1e3, megabytes / cold, megabytes / warm]
                    threads = {1: max(threads[1], one), 2: max(threads[2], two)}
                else:
                    out = subprocess.run([sys.executable, __file__, "--peer", kind, arguments.tokenizer, text],
                                         stdout=subprocess.PIPE, check=True, text=True, env=environment).stdout
                    times = [float(x) for x in out.split()]
                best[kind] = [min(a, b) for a, b in zip(best.get(kind, times), times)]
        print(f"{arguments.tokenizer} {text} ({megabytes:.1f} MB), best of {arguments.rounds}")
        for kind, (load, cold, warm) in best.items():
            ours = best["ours"]
            print(f"  {kind:10} load {load * 1e3:7.1f} ms ({load / ours[0]:5.2f}x ours)   cold {megabytes / cold:6.1f} MB/s "
                  f"(ours {cold / ours[1]:5.2f}x)   warm {megabytes / warm:6.1f} MB/s (ours {warm / ours[2]:5.2f}x)")
        print(f"  counting by the clock: one thread {threads[1]:.1f} MB/s, two {threads[2]:.1f} MB/s ({threads[2] / threads[1]:.2f}x); "
              f"by processor time two are {processor:.2f}x at best")


if __name__ == "__main__":
    main()
