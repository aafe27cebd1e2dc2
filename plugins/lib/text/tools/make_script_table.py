#!/usr/bin/env python3
"""Writes ../script_table.inc: the Unicode property Script of each code point, and the scripts' names.

From the Python package `regex` (pinned in tests/golden/requirements.txt; its 2026.11.15 has Unicode 18.0). Its names are in
capitals without breaks, so ICU, where it is installed, tells how they are written.
"""
import ctypes
import ctypes.util
import pathlib

import regex
from regex import _regex_core

HERE = pathlib.Path(__file__).resolve().parent.parent
# Names that the installed ICU may not know yet.
WRITTEN = ["Gurung_Khema", "Kirat_Rai", "Ol_Onal", "Tulu_Tigalari", "Beria_Erfe", "Tolong_Siki", "Tai_Yo", "Proto_Cuneiform"]


def icu_names():
    """How ICU writes names, by the name in capitals without breaks."""
    found = {name.replace("_", "").upper(): name for name in WRITTEN}
    for version in range(90, 60, -1):
        try:
            icu = ctypes.CDLL(f"libicuuc.so.{version}")
        except OSError:
            continue
        name_of = getattr(icu, f"u_getPropertyValueName_{version}")
        name_of.restype = ctypes.c_char_p
        for script in range(400):
            name = name_of(0x100A, script, 1)
            if name:
                found[name.decode().replace("_", "").upper()] = name.decode()
        break
    return found


def main():
    written = icu_names()
    names = {}
    for name, value in _regex_core.PROPERTIES["SCRIPT"][1].items():
        names.setdefault(value, []).append(name)
    text = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF)
    script_of = {}
    for value, (long_name, *_) in names.items():
        if value == 0:
            continue
        for match in regex.finditer(rf"\p{{Script={long_name}}}+", text):
            for c in match.group():
                script_of[ord(c)] = value
    ranges = []
    for c in sorted(script_of):
        if ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == script_of[c]:
            ranges[-1][1] = c
        else:
            ranges.append([c, c, script_of[c]])
    with open(HERE / "script_table.inc", "w") as out:
        out.write(f"// Made by tools/make_script_table.py from regex {regex.__version__}; do not edit.\n")
        out.write("// Long name, short name and a second short name.\n#ifdef EDITD_SCRIPT_NAMES\n")
        for value in sorted(names):
            long_name, *short = names[value]
            short = (short or [long_name]) + [""]
            out.write(f'{{"{written.get(long_name, long_name.title())}", "{short[0].title()}", "{short[1].title()}"}},\n')
        out.write("#endif\n// First, last, script.\n#ifdef EDITD_SCRIPT_RANGES\n")
        line = ""
        for first, last, value in ranges:
            item = f"{{{first:#x}, {last:#x}, {value}}}, "
            if len(line) + len(item) > 119:
                out.write(line.rstrip() + "\n")
                line = ""
            line += item
        out.write(line.rstrip() + "\n#endif\n")
    print(len(names), "scripts,", len(ranges), "ranges;", [n[0] for n in names.values() if n[0] not in written])


if __name__ == "__main__":
    main()
