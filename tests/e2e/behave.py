"""What the mock provider does with a request: behaviours, chosen by the model id.

A model id is `kind` or `kind:key=value,key=value` (values percent-encoded, so that a comma can
be said), for example `say:text=hello%20world,gap=10,cut=3`. Kinds make the content, keys spoil
the delivery. A behaviour is a generator of steps, so that every fault happens at an exact byte:

    bytes   written as they are          float   seconds to wait
    FIN     closed cleanly               RST     closed with a reset
    HANG    nothing more, ever

Not here: sockets and the log (mock.py), what a request must look like (strict.py).
"""

import json
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import unquote

import judging

FIN, RST, HANG = "fin", "rst", "hang"
CREATED = 1_700_000_000


@dataclass
class Spec:
    """A model id taken apart."""

    kind: str
    args: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, model: str) -> "Spec":
        kind, _, rest = model.partition(":")
        args = {}
        for item in filter(None, rest.split(",")):
            key, _, value = item.partition("=")
            args[key] = unquote(value)
        return cls(kind, args)

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
    finish: str = "stop"

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def last_user(request: dict) -> str:
    for message in reversed(request["messages"]):
        if message["role"] == "user":
            return flat(message.get("content"))
    return ""


def flat(content) -> str:
    """Text of a message, whatever its form."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


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


def tool_calls(spec: Spec) -> list[tuple[str, str, str]]:
    arguments = spec.text("arguments", TOOL_ARGUMENTS)
    name = spec.text("name", "weather")
    return [(f"call_{name}_{i}", name, arguments) for i in range(spec.num("calls", 1))]


def compose(spec: Spec, request: dict) -> Answer:
    kind = spec.kind
    if kind == "tools":
        # a result in the conversation ends the round trip
        if request["messages"][-1]["role"] == "tool" and not spec.has("always"):
            return Answer([f"result was {flat(request['messages'][-1]['content'])}"])
        return Answer(tools=tool_calls(spec), finish=spec.text("finish", "tool_calls"))
    if kind == "echo":
        return Answer([last_user(request)])
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
        return Answer([judging.verdict(spec, request)])
    if kind == "merge":
        return Answer(judging.merged(spec, request))
    if kind == "able":  # answers, decides or writes, as it is asked
        role = judging.role_of(request)
        if role == "judge":
            return Answer([judging.verdict(spec, request)])
        return Answer(judging.merged(spec, request) if role == "writer" else pieces_of(spec))
    return Answer(pieces_of(spec), finish=spec.text("finish", "stop"))


def usage_of(spec: Spec, answer: Answer) -> dict:
    n_out = spec.num("out", max(1, len(answer.pieces) + len(answer.reasoning)))
    n_in = spec.num("in", 11)
    usage = {"prompt_tokens": n_in, "completion_tokens": n_out, "total_tokens": n_in + n_out}
    if spec.has("cached"):
        usage["prompt_tokens_details"] = {"cached_tokens": spec.num("cached")}
    if spec.has("reasoning"):
        usage["completion_tokens_details"] = {"reasoning_tokens": spec.num("reasoning")}
    return usage


# --- frames ----------------------------------------------------------------------------------


def chunk(model: str, delta: dict | None, finish: str | None = None, **more) -> dict:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    head = {"id": "up-1", "object": "chat.completion.chunk", "created": CREATED, "model": model}
    return head | {"choices": choices} | more


def tool_chunks(spec: Spec, model: str, tools: list) -> list[dict]:
    """Each call whole, or in `frag` pieces: head first, then arguments only."""
    out = []
    for i, (call_id, name, arguments) in enumerate(tools):
        head = {"index": i, "id": call_id, "type": "function"}
        frag = spec.num("frag", 0)
        if not frag:
            call = head | {"function": {"name": name, "arguments": arguments}}
            out.append(chunk(model, {"tool_calls": [call]}))
            continue
        call = head | {"function": {"name": name, "arguments": ""}}
        out.append(chunk(model, {"tool_calls": [call]}))
        size = max(1, -(-len(arguments) // frag))
        for at in range(0, len(arguments), size):
            call = {"index": i, "function": {"arguments": arguments[at : at + size]}}
            out.append(chunk(model, {"tool_calls": [call]}))
    return out


def bare_chunks(spec: Spec, model: str, answer: Answer):
    """All chunks without their usage, made one by one: an answer may be very long."""
    if spec.num("role", 1):
        yield chunk(model, {"role": "assistant", "content": ""})
    for text in answer.reasoning:
        yield chunk(model, {"reasoning_content": text})
    for text in answer.pieces:
        yield chunk(model, {"content": text})
    if answer.refusal:
        yield chunk(model, {"refusal": answer.refusal})
    yield from tool_chunks(spec, model, answer.tools)
    if spec.text("finish") != "missing":
        yield chunk(model, {}, answer.finish)


def chunks_of(spec: Spec, model: str, answer: Answer, usage_wanted: bool):
    """All chunks of a stream. Usage as `usage=` says: after, finish, each or none."""
    usage = usage_of(spec, answer)
    place = spec.text("usage", "after" if usage_wanted else "none")
    for c in bare_chunks(spec, model, answer):
        last = c["choices"][0]["finish_reason"] is not None
        yield c | {"usage": usage} if place == "each" or (place == "finish" and last) else c
    if place == "after":
        yield chunk(model, None, usage=usage)


def sse(spec: Spec, payload: dict | str) -> bytes:
    data = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
    eol = "\r\n" if spec.has("crlf") else "\n"
    comment = f": a comment{eol}{eol}" if spec.has("comments") else ""
    return f"{comment}data: {data}{eol}{eol}".encode()


# --- HTTP --------------------------------------------------------------------------------------

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


def head(status: int, headers: dict) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Odd')}"]
    lines += [f"{k}: {v}" for k, v in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole(status: int, body: bytes, headers: dict | None = None) -> bytes:
    fields = {"content-type": "application/json", "content-length": len(body)}
    return head(status, fields | (headers or {})) + body


def error_body(status: int, spec: Spec) -> bytes:
    message = spec.text("message", f"upstream says {status}")
    error = {"message": message, "type": "mock", "param": None, "code": spec.text("errcode")}
    return json.dumps({"error": error}).encode()


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


def steps(spec: Spec, model: str, request: dict):
    """The whole exchange as steps; the log is told what the answer held through .send()."""
    yield spec.num("delay") / 1000
    for key, act in (("fin_head", FIN), ("rst_head", RST), ("stall_head", HANG)):
        if spec.has(key):
            yield act
            return
    if spec.kind == "status":
        status = spec.num("code", 500)
        body = b"" if spec.has("nobody") else error_body(status, spec)
        yield whole(status, body, retry_headers(spec))
    elif spec.kind == "html":
        body = b"<!doctype html><title>502</title><h1>Bad gateway</h1>"
        yield whole(spec.num("code", 200), body, {"content-type": "text/html"})
    elif spec.kind == "notjson":
        yield whole(200, b'{"id": "up-1", "choices": [')
    elif request.get("stream"):
        yield from streamed(spec, model, request)
    else:
        yield from unary(spec, model, request)


def unary(spec: Spec, model: str, request: dict):
    answer = compose(spec, request)
    message = {"role": "assistant", "content": answer.text or None, "refusal": answer.refusal}
    if answer.tools:
        message["tool_calls"] = [
            {"id": i, "type": "function", "function": {"name": n, "arguments": a}}
            for i, n, a in answer.tools
        ]
    choice = {"index": 0, "message": message, "finish_reason": answer.finish, "logprobs": None}
    reply = {
        "id": "up-1",
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [choice],
    }
    if spec.text("usage") != "none":
        reply["usage"] = usage_of(spec, answer)
    yield whole(200, json.dumps(reply).encode())


def streamed(spec: Spec, model: str, request: dict):
    framing = Framing(spec)
    yield head(200, {"content-type": "text/event-stream"} | framing.headers)
    yield spec.num("headgap") / 1000
    wanted = (request.get("stream_options") or {}).get("include_usage", False)
    if spec.kind == "garbage":
        yield framing.wrap(sse(spec, '{"choices": [{"delta": ') + sse(spec, "<<<not json>>>"))
        yield framing.end
        return
    if spec.kind == "err200":
        error = {
            "error": {
                "message": "overloaded inside",
                "type": "server_error",
                "code": spec.num("code", 503),
            }
        }
        yield framing.wrap(sse(spec, error))
        yield framing.end
        return
    yield from paced(spec, framing, chunks_of(spec, model, compose(spec, request), wanted))
    if spec.num("done", 1):
        yield framing.wrap(sse(spec, "[DONE]"))
    yield framing.end
    if framing.bare:
        yield FIN


def paced(spec: Spec, framing: Framing, chunks):
    """Chunks, `gap` ms apart; after `cut`, `rst` or `stall` contents comes that fault."""
    faults = {
        spec.num(key): act
        for key, act in (("cut", FIN), ("rst", RST), ("stall", HANG))
        if spec.has(key)
    }
    gap, sent = spec.num("gap") / 1000, 0
    for c in chunks:
        delta = c["choices"][0]["delta"] if c["choices"] else {}
        content = bool(delta.get("content") or delta.get("tool_calls"))
        if (content or c["choices"] and c["choices"][0]["finish_reason"]) and sent in faults:
            if spec.has("err_mid"):
                yield framing.wrap(sse(spec, {"error": {"message": "broke", "code": 500}}))
            yield faults[sent]
            return
        data = framing.wrap(sse(spec, c))
        if spec.has("split"):
            for i in range(0, len(data), spec.num("split", 1)):
                yield data[i : i + spec.num("split", 1)]
                yield 0.0
        else:
            yield data
        sent += content
        if gap and content:
            yield gap
