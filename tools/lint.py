#!/usr/bin/env python3
"""Checks of the tree that no compiler makes.

Fails on: an include that points up (the order of folders stands in meson.build), a marker of
unfinished work, a path of one machine, a call that runs a shell, a comment that names a page or a
heading that is not there. Lists, without failing: files past 600 lines, functions past 60.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"/]+)/')
# Written so that this file does not match itself.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE_PATH = re.compile(r"(^|[^A-Za-z0-9_.])/(work|root)/")
SHELL_CALL = re.compile(r"\b(system|popen)\(")
# A page, and perhaps behind a comma or in brackets a heading in quotes; the line may break there.
POINTER = re.compile(r'\b((?:docs/\w+|[A-Z]+)\.md)(?:,[\s*]+"([^"]+)"| \("([^"]+)"\))?')
TEXT_SUFFIXES = {".c", ".h", ".py", ".sh", ".js", ".mjs", ".build", ".yaml", ".md", ".txt", ""}


def folder_order():
    text = (ROOT / "meson.build").read_text()
    listed = re.search(r"foreach folder : \[(.*?)\]", text, re.S).group(1)
    return re.findall(r"'(\w+)'", listed)


def tree():
    """What git tracks or would track."""
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                         cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(p for p in map(pathlib.Path, out.splitlines()) if (ROOT / p).is_file())


def layer_faults(path, lines, order):
    if path.parts[0] != "src" or len(path.parts) < 3:
        return
    here = path.parts[1]
    if here not in order:
        yield 1, f"folder {here} is not in the list of meson.build"
        return
    for at, line in enumerate(lines, 1):
        found = INCLUDE.match(line)
        if not found or found.group(1) == here:
            continue
        if found.group(1) not in order:
            yield at, f"includes from {found.group(1)}/, which is no folder of src/"
        elif order.index(found.group(1)) > order.index(here):
            yield at, f"{here}/ may not include {found.group(1)}/: it stands below it in meson.build"


def word_faults(path, lines):
    for at, line in enumerate(lines, 1):
        if UNFINISHED.search(line):
            yield at, "marks unfinished work"
        if MACHINE_PATH.search(line):
            yield at, "a path of one machine"
        if path.parts[0] == "src" and SHELL_CALL.search(line):
            yield at, "runs a shell"


def headings(page):
    return re.findall(r"^#+ (.+)$", page.read_text(), re.M)


def pointer_faults(path, lines):
    if path.suffix not in (".c", ".h", ".py"):
        return
    text = "\n".join(lines)
    for found in POINTER.finditer(text):
        at = text.count("\n", 0, found.start()) + 1
        page, heading = ROOT / found.group(1), found.group(2) or found.group(3)
        if not page.is_file():
            yield at, f"there is no {found.group(1)}"
        elif heading and re.sub(r"[\s*]+", " ", heading) not in headings(page):
            yield at, f'{found.group(1)} has no heading "{heading}"'


def long_functions(lines):
    """By the layout that clang-format keeps: a body's braces stand in column 0."""
    start = None
    for at, line in enumerate(lines, 1):
        if line == "{":
            start = at
        elif line == "}" and start is not None:
            if at - start - 1 > MAX_FUNCTION_LINES:
                head = lines[start - 2]
                name = re.search(r"(\w+)\(", head)
                yield start, name.group(1) if name else head.strip(), at - start - 1
            start = None


def skipped(path):
    corpus = path.parts[:3] == ("tests", "fuzz", "corpus")
    return corpus or path.suffix not in TEXT_SUFFIXES or path.name.endswith("-lock.json")


def main():
    order = folder_order()
    faults, notes = [], []
    for path in tree():
        if skipped(path):
            continue
        lines = (ROOT / path).read_text(errors="replace").splitlines()
        found = [*layer_faults(path, lines, order), *word_faults(path, lines),
                 *pointer_faults(path, lines)]
        faults += [f"{path}:{at}: {what}" for at, what in found]
        if path.suffix in (".c", ".h"):
            if len(lines) > MAX_FILE_LINES:
                notes.append(f"{path}: {len(lines)} lines")
            notes += [f"{path}:{at}: {name}() has {n} lines" for at, name, n in
                      long_functions(lines)]
    if notes:
        print("to look at (no failure):")
        print("\n".join(f"  {note}" for note in notes))
    print("\n".join(faults) if faults else "layers and words: fine")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
