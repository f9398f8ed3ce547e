"""How the mock delivers an answer, or fails to: a generator of steps, so that every fault
happens at an exact byte, the same in each dialect.

    bytes   written as they are          float   seconds to wait
    FIN     closed cleanly               RST     closed with a reset
    HANG    nothing more, ever

Keys of a model id (behave.py) that are read here:

    delay, headgap, gap               milliseconds before head, before body, between contents
    cut, rst, stall = N               that fault instead of content N+1 (or of the finish)
    err_mid=1                         the dialect's own error before that fault
    fin_head, rst_head, stall_head    that fault instead of an answer
    split=N, crlf, comments           pieces of N bytes, line ends, SSE comments
    framing=close                     no chunked coding: the body ends with the connection

and these kinds: status (code, message, retry, retryms, retrydate, nobody), html, notjson, garbage,
err200 (an error as the first event of a stream).
"""

import json
import time
from dataclasses import dataclass
from email.utils import formatdate

from behave import Spec, compose

FIN, RST, HANG = "fin", "rst", "hang"


@dataclass
class Frame:
    """One event of a stream."""

    payload: dict | str
    name: str = ""  # of the event: where the dialect has them
    content: bool = False  # it says something: what `cut=N` counts
    finish: bool = False  # says that the answer is whole


REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    413: "Content Too Large",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    529: "Overloaded",
}


def head(status: int, headers: dict) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Odd')}"]
    lines += [f"{k}: {v}" for k, v in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole(status: int, body: bytes | dict, headers: dict | None = None) -> bytes:
    if isinstance(body, dict):
        body = json.dumps(body).encode()
    fields = {"content-type": "application/json", "content-length": len(body)}
    return head(status, fields | (headers or {})) + body


def retry_headers(spec: Spec) -> dict:
    if spec.has("retry"):
        return {"retry-after": spec.text("retry")}
    if spec.has("retryms"):
        return {"retry-after-ms": spec.text("retryms")}
    if spec.has("retrydate"):
        return {"retry-after": formatdate(time.time() + spec.num("retrydate"), usegmt=True)}
    return {}


class Framing:
    """Body bytes as chunked coding, or bare until the close (`framing=close`)."""

    def __init__(self, spec: Spec):
        self.bare = spec.text("framing") == "close"

    @property
    def headers(self) -> dict:
        return {"connection": "close"} if self.bare else {"transfer-encoding": "chunked"}

    def wrap(self, data: bytes) -> bytes:
        return data if self.bare else b"%x\r\n%s\r\n" % (len(data), data)

    @property
    def end(self) -> bytes:
        return b"" if self.bare else b"0\r\n\r\n"


def sse(spec: Spec, frame: Frame) -> bytes:
    payload = frame.payload
    data = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
    eol = "\r\n" if spec.has("crlf") else "\n"
    comment = f": a comment{eol}{eol}" if spec.has("comments") else ""
    event = f"event: {frame.name}{eol}" if frame.name else ""
    return f"{comment}{event}data: {data}{eol}{eol}".encode()


def steps(talk, spec: Spec, model: str, asked):
    """The whole exchange in a dialect (talk.py); `model` as the request names it."""
    yield spec.num("delay") / 1000
    for key, act in (("fin_head", FIN), ("rst_head", RST), ("stall_head", HANG)):
        if spec.has(key):
            yield act
            return
    if spec.kind == "status":
        status = spec.num("code", 500)
        message = spec.text("message", f"upstream says {status}")
        body = b"" if spec.has("nobody") else talk.error(status, message, spec)
        yield whole(status, body, retry_headers(spec))
    elif spec.kind == "html":
        body = b"<!doctype html><title>502</title><h1>Bad gateway</h1>"
        yield whole(spec.num("code", 200), body, {"content-type": "text/html"})
    elif spec.kind == "notjson":
        yield whole(200, b'{"id": "up-1", "choices": [')
    elif asked.stream:
        yield from streamed(talk, spec, model, asked)
    else:
        yield whole(200, talk.unary(spec, model, compose(spec, asked), asked))


def streamed(talk, spec: Spec, model: str, asked):
    framing = Framing(spec)
    yield head(200, {"content-type": "text/event-stream"} | framing.headers)
    yield spec.num("headgap") / 1000
    if spec.kind == "garbage":
        broken = (Frame('{"choices": [{"delta": '), Frame("<<<not json>>>"))
        yield framing.wrap(b"".join(sse(spec, f) for f in broken))
    elif spec.kind == "err200":
        frames = talk.stream_error(spec.num("code", 503), "overloaded inside")
        yield framing.wrap(b"".join(sse(spec, f) for f in frames))
    else:
        frames = talk.frames(spec, model, compose(spec, asked), asked)
        if (yield from paced(talk, spec, framing, frames)):
            return
    yield framing.end
    if framing.bare:
        yield FIN


def paced(talk, spec: Spec, framing: Framing, frames):
    """Frames, `gap` ms apart; after `cut`, `rst` or `stall` contents comes that fault: True."""
    faults = {
        spec.num(key): act
        for key, act in (("cut", FIN), ("rst", RST), ("stall", HANG))
        if spec.has(key)
    }
    gap, sent = spec.num("gap") / 1000, 0
    for frame in frames:
        if (frame.content or frame.finish) and sent in faults:
            if spec.has("err_mid"):
                for f in talk.stream_error(500, "broke"):
                    yield framing.wrap(sse(spec, f))
            yield faults[sent]
            return True
        data = framing.wrap(sse(spec, frame))
        if spec.has("split"):
            for i in range(0, len(data), spec.num("split", 1)):
                yield data[i : i + spec.num("split", 1)]
                yield 0.0
        else:
            yield data
        sent += frame.content
        if gap and frame.content:
            yield gap
    return False
