"""What a dialect of the mock provider is: how it reads a request, checks it, and answers."""

import json

from asked import Asked, pairing
from behave import Answer, Spec
from delivery import Frame, whole


class Refused(Exception):
    """A request that the provider would refuse: findings, in the words of its errors."""

    def __init__(self, findings: list[str], status: int = 400):
        super().__init__("; ".join(findings))
        self.findings, self.status = findings, status


class Talk:
    """One dialect. Each is stateless; the model's behaviour is in the Spec."""

    name = ""

    def ask(self, path: str, headers: dict, body: dict) -> tuple[str, Asked]:
        """The model id, and what is asked of it. Raises KeyError, TypeError and the like for what
        check() finds."""
        raise NotImplementedError

    def check(self, body: dict) -> list[str]:
        """What the provider's own schema says, before anything else looks at the body."""
        raise NotImplementedError

    def check_head(self, headers: dict, key: str | None) -> list[str]:
        raise NotImplementedError

    def rules(self, spec: Spec, asked: Asked, body: dict) -> list[str]:
        """What no schema can say. The pairing of calls and results is every dialect's rule."""
        return pairing(asked)

    def error(self, status: int, message: str, spec: Spec | None = None) -> dict:
        """The body of an error."""
        raise NotImplementedError

    def refuse(self, refused: Refused) -> bytes:
        return whole(refused.status, self.error(refused.status, str(refused)))

    def stream_error(self, status: int, message: str) -> list[Frame]:
        return [Frame(self.error(status, message))]

    def unary(self, spec: Spec, model: str, answer: Answer, asked: Asked) -> dict:
        raise NotImplementedError

    def frames(self, spec: Spec, model: str, answer: Answer, asked: Asked):
        """The events of a stream, made one by one: an answer may be very long."""
        raise NotImplementedError


def cut(text: str, pieces: int) -> list[str]:
    """In about so many pieces; one when 0."""
    size = max(1, -(-len(text) // max(1, pieces)))
    return [text[i : i + size] for i in range(0, len(text), size)] or [""]


def data_url(url: str) -> tuple[str, str]:
    """Media type and data of a data: URL; of any other, nothing and the URL itself."""
    if not url.startswith("data:"):
        return "", url
    head, _, data = url[5:].partition(",")
    return head.removesuffix(";base64"), data


def fields(body: dict, **names: str) -> dict:
    """Settings under their common names: fields(body, stop="stop_sequences")."""
    return {ours: body[theirs] for ours, theirs in names.items() if theirs in body}


def compact(value) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
