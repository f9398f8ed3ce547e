"""What the mock provider says: behaviours, chosen by the model id.

A model id is `kind` or `kind:key=value,key=value` (values percent-encoded, so that a comma can
be said), for example `say:text=hello%20world,gap=10,cut=3`. Kinds make the content, keys spoil
the delivery. A name and a plus may stand before it, for those who tell models apart by their
names: `gemini-3-pro+tools:calls=2`.

Not here: how a dialect writes an answer (talk_*.py), how it is delivered or not (delivery.py),
sockets and the log (mock.py), what a request must look like (strict*.py).
"""

import json
from dataclasses import dataclass, field
from urllib.parse import unquote

import judging
from asked import Asked


@dataclass
class Spec:
    """A model id taken apart. `model` is the whole of it."""

    kind: str
    args: dict[str, str] = field(default_factory=dict)
    model: str = ""

    @classmethod
    def parse(cls, model: str) -> "Spec":
        kind, _, rest = model.partition(":")
        kind = kind.rpartition("+")[2]
        args = {}
        for item in filter(None, rest.split(",")):
            key, _, value = item.partition("=")
            args[key] = unquote(value)
        return cls(kind, args, model)

    def text(self, key: str, default: str | None = None) -> str | None:
        return self.args.get(key, default)

    def num(self, key: str, default: int = 0) -> int:
        return int(self.args.get(key, default))

    def has(self, key: str) -> bool:
        return key in self.args


@dataclass
class Answer:
    """What an answer holds, before it is cut into chunks."""

    pieces: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    refusal: str | None = None
    tools: list[tuple[str, str, str]] = field(default_factory=list)  # id, name, arguments
    finish: str = "stop"  # stop, length, tool_calls, content_filter
    signed: bool = False  # the reasoning has a signature that must come back
    redacted: bool = False  # and a part that only its maker can read

    @property
    def thought(self) -> str:
        return "".join(self.reasoning)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def pieces_of(spec: Spec) -> list[str]:
    """`text` word by word, else n numbered words: a lost or doubled one shows."""
    text = spec.text("text")
    if text is None:
        text = "".join(f"w{i} " for i in range(spec.num("n", 4)))
    elif spec.has("n"):
        text *= spec.num("n")
    if spec.has("bytes"):
        return ["x" * min(16384, spec.num("bytes") - i) for i in range(0, spec.num("bytes"), 16384)]
    words = text.split(" ")
    return [w + " " for w in words[:-1]] + [w for w in words[-1:] if w]


TOOL_ARGUMENTS = '{"city":"Oslo \\"North\\"","days":[1,2,3],"unit":null}'


def tool_calls(spec: Spec, asked: Asked) -> list[tuple[str, str, str]]:
    arguments = spec.text("arguments", TOOL_ARGUMENTS)
    name = spec.text("name", "weather")
    if asked.choice not in ("auto", "none", "required"):
        name = asked.choice
    before = len(asked.of("call"))
    return [(f"call_{name}_{before + i}", name, arguments) for i in range(spec.num("calls", 1))]


def using_tools(spec: Spec, asked: Asked, **more) -> Answer:
    """Calls; results at the end of the conversation end the round trip."""
    if asked.results and not spec.has("always"):
        return Answer(["result was " + " and ".join(r.text for r in asked.results)])
    return Answer(tools=tool_calls(spec, asked), finish=spec.text("finish", "tool_calls"), **more)


def handy(spec: Spec, asked: Asked) -> Answer:
    """Calls the tool that it must call, thinks when it is told to; else it speaks."""
    told = asked.settings.get("effort"), asked.settings.get("thinking")
    reasoning = ["first ", "then "] if any(told) else []
    if asked.choice not in ("auto", "none") and not asked.results:
        name = next(iter(asked.tools)) if asked.choice == "required" else asked.choice
        arguments = spec.text("arguments", '{"location":"Oslo"}')
        return Answer([], reasoning, tools=[("call_1", name, arguments)], finish="tool_calls")
    return Answer(pieces_of(spec), reasoning)


def chain(spec: Spec, asked: Asked) -> Answer:
    """`hops` turns of `width` calls of `step`, each of which needs the result of the one before.

    What comes back of the chain so far must be it: ids, order and arguments.
    """
    hops, width = spec.num("hops", 12), spec.num("width", 1)
    calls, results = asked.of("call"), asked.of("result")
    if [r.id for r in results] != [c.id for c in calls]:
        return Answer([f"BROKEN: results {[r.id for r in results]} of {[c.id for c in calls]}"])
    for i, call in enumerate(calls):
        want = step_arguments(i, width, results)
        # as text: the order of the members counts
        if call.name != "step" or json.dumps(call.args) != json.dumps(want):
            return Answer([f"BROKEN: call {i} is {call.name} {call.args}, not {want}"])
    if len(calls) >= hops * width:
        return Answer([f"after {len(calls)} calls: {results[-1].text}"])
    new = range(len(calls), len(calls) + width)
    tools = [(f"call_step_{i}", "step", json.dumps(step_arguments(i, width, results))) for i in new]
    return Answer(tools=tools, finish="tool_calls")


def step_arguments(i: int, width: int, results: list) -> dict:
    hop = i // width
    before = results[(hop - 1) * width].text if hop else "the start"
    return {"n": i, "from": before, "also": {"z": [i, None, True], "a": '\\u00e5 "\u20ac" </x>'}}


def compose(spec: Spec, asked: Asked) -> Answer:
    kind = spec.kind
    if kind == "tools":
        return using_tools(spec, asked)
    if kind == "thinktools":  # thinks before it calls, and wants its thoughts back
        thoughts = ["first ", "then "]
        return using_tools(
            spec, asked, reasoning=thoughts, signed=True, redacted=spec.has("redacted")
        )
    if kind == "handy":
        return handy(spec, asked)
    if kind == "chain":
        return chain(spec, asked)
    if kind == "echo":
        return Answer([asked.last_user])
    if kind == "refusal":
        return Answer(refusal="I cannot help with that.")
    if kind == "filter":
        return Answer(pieces_of(spec)[:2], finish="content_filter")
    if kind == "length":
        return Answer(pieces_of(spec), finish="length")
    if kind == "empty":
        return Answer([])
    if kind == "blank":
        return Answer([" \n", "\t "])
    if kind == "think":
        return Answer(pieces_of(spec), reasoning=["first ", "then "])
    if kind == "judge":
        return Answer([judging.verdict(spec, asked)])
    if kind == "merge":
        return Answer(judging.merged(spec, asked))
    if kind == "able":  # answers, decides or writes, as it is asked
        role = judging.role_of(asked)
        if role == "judge":
            return Answer([judging.verdict(spec, asked)])
        return Answer(judging.merged(spec, asked) if role == "writer" else pieces_of(spec))
    return Answer(pieces_of(spec), finish=spec.text("finish", "stop"))


@dataclass
class Usage:
    """Tokens. input counts cached and written ones, output those of reasoning."""

    input: int
    output: int
    cached: int | None = None
    written: int | None = None
    reasoning: int | None = None

    @property
    def total(self) -> int:
        return self.input + self.output


def usage_of(spec: Spec, answer: Answer) -> Usage:
    def told(key: str) -> int | None:
        return spec.num(key) if spec.has(key) else None

    output = spec.num("out", max(1, len(answer.pieces) + len(answer.reasoning)))
    return Usage(spec.num("in", 11), output, told("cached"), told("written"), told("reasoning"))
