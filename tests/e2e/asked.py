"""What a request to the mock asks for, whatever dialect it came in.

Each dialect (talk_*.py) reads its own body into one Asked: a flat transcript and the settings
that change an answer. Behaviours decide by it, and tests look in it for what they sent. What
must hold in every dialect is checked here: calls and results that pair up.
"""

import json
from dataclasses import dataclass, field


@dataclass
class Item:
    """One thing in the transcript.

    kind: system, user, assistant, image, document, audio, thought, call or result.
    """

    kind: str
    text: str = ""  # also: data of an image or document (base64, or a URL), arguments as sent
    media: str = ""
    id: str = ""  # of a call, and of the call that a result answers
    name: str = ""
    args: dict | None = None
    signature: str = ""
    error: bool = False
    turn: int = 0  # index of the message that it stands in


@dataclass
class Asked:
    items: list[Item] = field(default_factory=list)
    stream: bool = False
    usage_wanted: bool = True
    tools: dict[str, dict] = field(default_factory=dict)  # name -> schema of its arguments
    choice: str = "auto"  # auto, none, required, or the name of a function
    parallel: bool = True
    schema: dict | None = None  # of the answer, natively
    settings: dict = field(
        default_factory=dict
    )  # max_tokens, temperature, top_p, stop, seed, effort
    marks: int = 0  # cache_control
    include: list[str] = field(default_factory=list)

    def add(self, kind: str, text: str = "", **more):
        self.items.append(Item(kind, text, **more))

    def of(self, kind: str) -> list[Item]:
        return [i for i in self.items if i.kind == kind]

    def said(self, kind: str) -> list[str]:
        return [i.text for i in self.items if i.kind == kind]

    @property
    def last_user(self) -> str:
        """All text of the last message of the user."""
        last = max((i.turn for i in self.of("user")), default=-1)
        return "".join(i.text for i in self.of("user") if i.turn == last)

    @property
    def results(self) -> list[Item]:
        """Tool results that end the conversation."""
        out = []
        for item in reversed(self.items):
            if item.kind != "result":
                break
            out.append(item)
        return out[::-1]

    @property
    def text(self) -> str:
        """All that was said, for judges."""
        turns: dict[tuple, str] = {}
        for i in self.items:
            if i.kind in ("system", "user", "assistant"):
                turns[i.kind, i.turn] = turns.get((i.kind, i.turn), "") + i.text
        return "\n".join(turns.values())


def parsed(arguments: str) -> dict | None:
    """Arguments as sent; None when they are no JSON object."""
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def pairing(asked: Asked) -> list[str]:
    """Every call is answered, once, before anything else is said by the model."""
    bad, open_calls, known = [], {}, set()
    for item in asked.items:
        if item.kind == "call":
            if item.id in known:
                bad.append(f"two calls have the id {item.id}")
            if item.args is None:
                bad.append(f"arguments of {item.id} are no object: {item.text[:80]}")
            known.add(item.id)
            open_calls[item.id] = item
        elif item.kind == "result":
            if item.id not in open_calls:
                bad.append(f"a result of {item.id!r}, which is no open call")
            elif open_calls.pop(item.id).turn >= item.turn:
                bad.append(f"the result of {item.id!r} stands in the turn of its call")
        elif open_calls and item.kind in ("assistant", "user"):
            turn = max(c.turn for c in open_calls.values())
            if item.turn > turn:
                bad.append(f"{item.kind} speaks while {sorted(open_calls)} have no result")
                open_calls = {}
    if open_calls:
        bad.append(f"no result of {sorted(open_calls)}")
    return bad
