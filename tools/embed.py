#!/usr/bin/env python3
"""embed.py NAME IN OUT - writes the bytes of a file as a C array NAME and its length NAME_n."""

import pathlib
import sys

name, source, target = sys.argv[1:]
data = pathlib.Path(source).read_bytes()
rows = (",".join(map(str, data[at:at + 24])) for at in range(0, len(data), 24))
pathlib.Path(target).write_text(
    f"/* Made from {pathlib.Path(source).name}. */\n"
    "#include <stddef.h>\n"
    f"extern const unsigned char {name}[];\nextern const size_t {name}_n;\n"
    f"const unsigned char {name}[] = {{\n" + ",\n".join(rows) + "};\n"
    f"const size_t {name}_n = sizeof {name};\n")
