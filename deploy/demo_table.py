"""The demo's table: demo_table.py EVALUATED MODELS JOBS, each what `editctl --json` printed.

EVALUATED is the last line of `submit evaluate.pb --wait`, MODELS all of `models`, JOBS all of `queue --all`.
"""

import datetime
import json
import sys


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def megabytes(count):
    return f"{count / 1e6:,.1f} MB"


def percent(before, after):
    return f"{100 * (after - before) / before:+.1f} %"


def seconds(job):
    """Of the attempt that made the version."""
    def time(text):
        return datetime.datetime.fromisoformat(text.split(".")[0].rstrip("Z")).timestamp() + float("0." + (text.rstrip("Z") + ".0").split(".")[1])
    last = job["attempts"][-1]
    return f"{time(last['ended']) - time(last['started']):.1f} s"


def main(evaluated, models, jobs):
    result = lines(evaluated)[-1]["result"]
    versions = {model["version"]["id"]: model["version"] for model in lines(models)}
    jobs = {job["id"]: job for job in lines(jobs)}
    base, other = result["perplexity"]
    a, b = versions[base["version"]], versions[other["version"]]

    def used(version):
        return int(version["attributes"]["vocab.used"])

    rows = [
        ("", base["model"], other["model"], "change"),
        ("vocabulary", f"{used(a):,}", f"{used(b):,}", percent(used(a), used(b))),
        ("bytes", megabytes(a["logical_bytes"]), megabytes(b["logical_bytes"]), percent(a["logical_bytes"], b["logical_bytes"])),
        ("bytes new in the store", megabytes(a["new_bytes"]), megabytes(b["new_bytes"]), ""),
        ("made in", seconds(jobs[a["job"]]), seconds(jobs[b["job"]]), ""),
        ("perplexity", f"{base['perplexity']:.3f}", f"{other['perplexity']:.3f}", percent(base["perplexity"], other["perplexity"])),
        ("bits per byte", f"{base['bits_per_byte']:.4f}", f"{other['bits_per_byte']:.4f}", percent(base["bits_per_byte"], other["bits_per_byte"])),
        ("tokens", f"{base['tokens']:,}", f"{other['tokens']:,}", tokens(base["tokens"], other["tokens"])),
        ("evaluated in", f"{base['seconds']:.1f} s", f"{other['seconds']:.1f} s", ""),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        print(f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}".rstrip())
    diff = result["logits_diff"]
    print(f"\nlogits on the {diff['rows']:,} tokens that both have, at {diff['positions']:,} positions of the same text: "
          f"largest difference {diff['max_abs']:.2g}, root mean square {diff['rms']:.2g}, "
          f"same best token at {100 * diff['top1_agreement']:.2f} %, "
          f"probability that {base['model']} gives to what was removed {100 * diff['removed_mass']:.3f} %")
    print(f"measured on {base['documents']:,} documents, {base['bytes']:,} bytes, that the trim has not seen")


def tokens(before, after):
    return f"{after - before:+,} ({'lost' if after > before else 'saved'})" if after != before else "none lost"


main(*sys.argv[1:])
