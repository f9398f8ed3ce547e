"""The bench's table: one line a figure, aligned, with its target and what stands beside it."""

import json

COLUMNS = ("what", "target", "fusor", "nginx", "direct", "fusor/nginx", "ledger", "TLS", "")


class Line:
    """One figure. values: by system. ok: None when there is no target to hold. aside: what else is
    to be seen beside it."""

    def __init__(self, what, values, target="", ok=None, ratio=None, digits=1, ledger="on",
                 note="", aside=""):
        self.what, self.values, self.target, self.ok = what, values, target, ok
        self.ratio, self.digits, self.ledger, self.note = ratio, digits, ledger, note
        self.aside = aside

    def cells(self):
        def show(value, digits=self.digits):
            return "-" if value is None else f"{value:,.{digits}f}"

        word = {None: "", True: "ok", False: "over"}[self.ok]
        return (self.what, self.target or "-", *(show(self.values.get(s)) for s in
                                                ("fusor", "nginx", "direct")),
                show(self.ratio, 2), self.ledger, "off",
                self.note or ", ".join(filter(None, (word, self.aside))))

    def record(self):
        return {k: getattr(self, k) for k in
                ("what", "target", "values", "ratio", "ok", "ledger", "note", "aside")} | {"tls": "off"}


def render(lines):
    rows = [COLUMNS] + [line.cells() for line in lines]
    width = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    left = {0, 1, 6, 7, 8}
    out = []
    for at, row in enumerate(rows):
        cells = [c.ljust(w) if i in left else c.rjust(w)
                 for i, (c, w) in enumerate(zip(row, width))]
        out.append("  ".join(cells).rstrip())
        if at == 0:
            out.append("  ".join("-" * w for w in width).rstrip())
    return "\n".join(out) + "\n"


def write(folder, header, lines):
    text = "\n".join(f"{k}: {v}" for k, v in header.items()) + "\n\n" + render(lines)
    (folder / "table.txt").write_text(text)
    result = {"header": header, "rows": [line.record() for line in lines]}
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return text
