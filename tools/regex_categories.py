#!/usr/bin/env python3
"""Writes src/json/regex_categories.c: the general category of every code point, from the Unicode data
that Python ships. Run it again when Unicode grows; the output is formatted by `make fmt`."""

import pathlib
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parent.parent
# In the order of enum re_category (src/json/regex_priv.h).
NAMES = ["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
         "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"]
# Upper and lower case in turn, beginning with either.
ALTERNATING = {"Lu": 30, "Ll": 31}

HEAD = """/* json/regex_categories.c - written by tools/regex_categories.py: do not edit. General categories of
 * Unicode %s: where each run of one category begins, in order, with the category in the low five bits.
 * Source: UnicodeData.txt. */
#include "json/regex_priv.h"

const uint32_t re_category_runs[] = {
"""
TAIL = """};
const size_t re_n_category_runs = COUNT_OF(re_category_runs);
"""


def runs():
    found = []
    for c in range(0x110000):
        category = unicodedata.category(chr(c))
        if found and found[-1][2] == category:
            found[-1][1] = c
        else:
            found.append([c, c, category])
    return found


def alternates(a, b):
    return a[0] == a[1] and b[0] == b[1] and {a[2], b[2]} == {"Lu", "Ll"}


def packed(found):
    i = 0
    while i < len(found):
        first, _, category = found[i]
        last = i
        while last + 1 < len(found) and alternates(found[last], found[last + 1]):
            last += 1
        code = ALTERNATING[category] if last - i >= 2 else NAMES.index(category)
        yield first << 5 | code
        i = last + 1 if last - i >= 2 else i + 1


def main():
    entries = [f"0x{e:07x}," for e in packed(runs())]
    lines = ["    " + " ".join(entries[i:i + 8]) for i in range(0, len(entries), 8)]
    text = HEAD % unicodedata.unidata_version + "\n".join(lines) + "\n" + TAIL
    (ROOT / "src/json/regex_categories.c").write_text(text)


if __name__ == "__main__":
    main()
