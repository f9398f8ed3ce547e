"""How a mock judge reads what it is asked, and what it replies.

It knows the layout of a judge's prompt (docs/fusion.md, "The judge") as a model would: the code
that makes a line a fence is announced, and what stands between two fences is an answer. A judge
with `obey` does what any text outside the fences tells it to: answers must not get there.
"""

import json
import re

from asked import Asked

CODE = re.compile(r"Lines with the code ([0-9a-f]+) mark where each begins and ends")
ORDER = re.compile(r"PICK-THE-ONE-WITH ([\w-]+)")


def text_of(request: dict | Asked) -> str:
    """Of a request of Chat Completions, or of what any dialect's reader made of one."""
    if isinstance(request, Asked):
        return request.text
    out = []
    for message in request["messages"]:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content or ""}]
        out.append("".join(part.get("text", "") for part in parts))
    return "\n".join(out)


def fence(code: str) -> re.Pattern:
    return re.compile(rf"\[begin (\w) {code}\]\n(.*?)\n\[end \1 {code}\]", re.S)


def answers(request: dict | Asked) -> dict[str, str]:
    """Label -> text, in the order shown. Empty: no judge's prompt."""
    text = text_of(request)
    code = CODE.search(text)
    return dict(fence(code.group(1)).findall(text)) if code else {}


def outside(request: dict | Asked) -> str:
    """What a judge that trusts only the fences would take for instructions."""
    text = text_of(request)
    code = CODE.search(text)
    return fence(code.group(1)).sub("", text) if code else text


def role_of(request: dict | Asked) -> str:
    """What a model is wanted for: judge, writer, or member."""
    if not answers(request):
        return "member"
    return "judge" if '"scores"' in text_of(request) else "writer"


def wanted(spec, request: dict | Asked) -> str:
    order = ORDER.search(outside(request)) if spec.has("obey") else None
    return order.group(1) if order else spec.text("pick", "")


def verdict(spec, request: dict | Asked) -> str:
    """The verdict for the answer that holds `pick`, else for the first one shown."""
    if spec.has("invalid"):
        return spec.text("invalid") or "I like the first one best."
    shown = answers(request)
    pick = wanted(spec, request)
    best = next((label for label, text in shown.items() if pick in text), "A")
    if spec.has("first"):
        best = next(iter(shown), "A")
    others = float(spec.text("others", "3"))
    scores = {label: 9 if label == best else others for label in shown}
    reply = json.dumps({"scores": scores, "best": best})
    return f"Sure:\n```json\n{reply}\n```" if spec.has("prose") else reply


def merged(spec, request: dict | Asked) -> list[str]:
    """One new answer out of all of them, label order as shown: a piece for each."""
    shown = answers(request)
    head = spec.text("text", "MERGED:")
    return [head, *(f" [{text}]" for text in shown.values())]
