"""A provider for tests: the dialects of five providers over raw sockets, and an exact log.

asyncio protocols, no framework, so that a fault happens at the byte that a test names. The log
is the oracle: when a request came, each chunk that left, and when and how the other side closed
(FIN or RST). Lives here: sockets, HTTP requests, the log. Not here: behaviours (behave.py),
their delivery (delivery.py), dialects (talk_*.py), checks (strict*.py).

In a test: `with Mock() as mock` runs it on a thread of its own. By itself: `python mock.py
PORT`, then `GET /_mock/log` gives the log (what the load test needs: a process of its own).
"""

import asyncio
import json
import socket
import ssl
import struct
import sys
import threading
import time
from dataclasses import dataclass, field

import behave
import delivery
import strict
import thin
from asked import Asked
from delivery import whole
from talk import Refused, Talk
from talk_chat import Chat
from talk_gemini import Gemini
from talk_messages import Messages
from talk_mistral import Mistral
from talk_responses import Responses

CHAT = Chat()
# Where each dialect lives; Mistral's paths are those of OpenAI, so that it has a folder.
TALKS: dict[str, Talk] = {
    "/mistral/": Mistral(),
    "/v1/chat/completions": CHAT,
    "/v1/responses": Responses(),
    "/v1/messages": Messages(),
    "/v1beta/models/": Gemini(),
}


def talk_of(path: str) -> Talk | None:
    return next((t for prefix, t in TALKS.items() if path.startswith(prefix)), None)


@dataclass
class Conn:
    """One accepted connection. Times are time.monotonic()."""

    opened: float
    closed: float | None = None
    how: str = "open"  # fin or rst: by the other side; ours: by a behaviour
    held_back: bool = False  # the other side has let our bytes wait


@dataclass
class Call:
    """One request and what was sent for it."""

    conn: Conn
    received: float
    method: str
    path: str
    headers: dict
    model: str = ""
    body: dict | None = None
    talk: Talk | None = None
    asked: Asked | None = None  # of a call of a model
    findings: list = field(default_factory=list)
    sent: list = field(default_factory=list)  # (time, bytes) of each write
    ended: float | None = None
    end: str = "open"  # done: all was sent; cut: a fault of ours; left: the other side closed

    @property
    def bytes_sent(self) -> int:
        return sum(n for _, n in self.sent)

    def summary(self) -> dict:
        return {
            "model": self.model,
            "path": self.path,
            "received": self.received,
            "end": self.end,
            "ended": self.ended,
            "chunks": len(self.sent),
            "bytes": self.bytes_sent,
            "how": self.conn.how,
            "findings": self.findings,
        }


class Exchange:
    """Runs one behaviour step by step on a connection."""

    def __init__(self, protocol: "Protocol", call: Call, steps):
        self.protocol, self.call, self.steps = protocol, call, steps
        self.timer = None

    def step(self):
        self.timer = None
        transport = self.protocol.transport
        for action in self.steps:
            if isinstance(action, bytes):
                transport.write(action)
                self.call.sent.append((time.monotonic(), len(action)))
                if self.protocol.full:
                    return  # resume_writing() goes on
            elif isinstance(action, float):
                if action > 0:
                    self.timer = self.protocol.loop.call_later(action, self.step)
                else:
                    self.timer = self.protocol.loop.call_soon(self.step)
                return
            elif action == delivery.HANG:
                return
            else:
                self.end("cut")
                self.protocol.close(reset=action == delivery.RST)
                return
        self.end("done")
        self.protocol.next_request()

    def end(self, how: str):
        if self.timer:
            self.timer.cancel()
        if self.call.end == "open":
            self.call.end, self.call.ended = how, time.monotonic()


class Protocol(asyncio.Protocol):
    """One connection: reads requests one after the other, notices how the other side closes."""

    def __init__(self, mock: "Mock"):
        self.mock = mock
        self.loop = mock.loop
        self.data = b""
        self.exchange = None
        self.full = False
        self.conn = Conn(time.monotonic())
        mock.conns.append(self.conn)

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data: bytes):
        self.data += data
        if self.exchange is None:
            self.next_request()

    def pause_writing(self):
        self.full = self.conn.held_back = True

    def resume_writing(self):
        self.full = False
        if self.exchange and not self.exchange.timer and self.exchange.call.end == "open":
            self.exchange.step()

    def eof_received(self):
        self.gone("fin")

    def connection_lost(self, exc):
        self.gone("rst" if exc else "fin")

    def gone(self, how: str):
        if self.conn.closed is None:
            self.conn.closed, self.conn.how = time.monotonic(), how
        if self.exchange:
            self.exchange.end("left")

    def close(self, reset: bool):
        self.conn.closed, self.conn.how = time.monotonic(), "ours"
        if reset:
            sock = self.transport.get_extra_info("socket")
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()

    def next_request(self):
        self.exchange = None
        head, found, rest = self.data.partition(b"\r\n\r\n")
        if not found:
            return
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {}
        for one in fields:
            name, _, value = one.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self.data = rest[length:]
        method, path, _ = line.split(" ")
        call = Call(self.conn, time.monotonic(), method, path, headers)
        steps = self.mock.answer(call, rest[:length])
        # Logged when it has been read: the first of a dialect reads a schema for long, and who
        # waited for the call only would go on to measure what this thread cannot see yet.
        if not path.startswith("/_mock/"):
            self.mock.calls.append(call)
        self.exchange = Exchange(self, call, steps)
        self.exchange.step()


class Mock:
    """The server, its log, and what a test says to it."""

    def __init__(
        self,
        port: int = 0,
        key: str | None = None,
        unix: str | None = None,
        direct: bool = False,
        refuses: bool = False,
        tls: ssl.SSLContext | None = None,
    ):
        self.want_port, self.key, self.unix, self.tls = port, key, unix, tls
        self.direct = direct  # client libraries talk to it: their own headers are fine
        self.refuses = refuses  # another key is a 401, as of a real provider, and no finding
        self.models = ["say"]  # what it lists; a script of "/v1/models" goes first
        self.calls: list[Call] = []
        self.conns: list[Conn] = []
        self.scripts: dict[str, list[str]] = {}
        self.lock = threading.Lock()

    # --- life ------------------------------------------------------------------------------------

    def __enter__(self) -> "Mock":
        ready = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(ready.set,), daemon=True)
        self.thread.start()
        if not ready.wait(10):
            raise RuntimeError("the mock did not start")
        return self

    def __exit__(self, *exc):
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def run(self, on_ready):
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.listen())
        on_ready()
        self.loop.run_forever()

    async def listen(self):
        def made():
            return Protocol(self)

        if self.unix:
            self.server = await self.loop.create_unix_server(made, self.unix)
            return
        self.server = await self.loop.create_server(
            made, "127.0.0.1", self.want_port, backlog=4096, ssl=self.tls
        )
        self.port = self.server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"unix:{self.unix}:/v1" if self.unix else f"{self.root}/v1"

    @property
    def root(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    def base(self, kind: str) -> str:
        """The base URL of a provider of that kind in a configuration."""
        paths = {"mistral": "/mistral/v1", "gemini": "/v1beta"}
        return self.root + paths.get(kind, "/v1")

    # --- answers ---------------------------------------------------------------------------------

    def answer(self, call: Call, body: bytes):
        path = call.path.partition("?")[0]
        if path == "/_mock/log":
            return iter([whole(200, json.dumps([c.summary() for c in self.calls]).encode())])
        call.talk = talk_of(path)
        if self.refuses and not self.key_fits(call):
            sent = call.headers.get("authorization", "no key")
            error = (call.talk or CHAT).error(401, f"Incorrect API key provided: {sent}")
            return iter([whole(401, error)])
        if path.endswith("/models"):
            return self.listed(call, path)
        if path in thin.PATHS:
            return thin.answer(self, call, path, body)
        if call.talk is None:
            return iter([whole(404, b'{"error":{"message":"no such path"}}')])
        try:
            return self.model_answer(call, body)
        except Refused as e:
            call.findings += e.findings
            return iter([call.talk.refuse(e)])

    def key_fits(self, call: Call) -> bool:
        sent = [call.headers.get(h) for h in ("authorization", "x-api-key", "x-goog-api-key")]
        return f"Bearer {self.key}" in sent[:1] or self.key in sent[1:]

    def model_answer(self, call: Call, body: bytes):
        """Steps of the model's behaviour. Raises Refused."""
        talk = call.talk
        try:
            call.body = strict.parse(body)
        except ValueError as e:
            raise Refused([f"body: {e}"]) from None
        call.model = call.body.get("model", "")
        bad = [] if self.direct else talk.check_head(call.headers, self.key)
        wrong = talk.check(call.body)
        if wrong:
            raise Refused(wrong + bad, 422 if talk.name == "mistral" else 400)
        try:
            call.model, call.asked = talk.ask(call.path, call.headers, call.body)
        except (KeyError, TypeError, AttributeError, IndexError) as e:
            raise Refused([f"not understood: {e!r}"]) from None
        spec = behave.Spec.parse(self.scripted(call.model))
        bad += talk.rules(spec, call.asked, call.body)
        if bad:
            raise Refused(bad)
        return delivery.steps(talk, spec, call.model, call.asked)

    def listed(self, call: Call, path: str):
        if path in self.scripts:
            spec = behave.Spec.parse(self.scripted(path))
            return delivery.steps(call.talk or CHAT, spec, path, Asked())
        return iter([whole(200, thin.models(path, self.models))])

    def scripted(self, model: str) -> str:
        """The next behaviour of a model with a script; the last one stays."""
        with self.lock:
            script = self.scripts.get(model)
            if not script:
                return model
            return script.pop(0) if len(script) > 1 else script[0]

    def script(self, model: str, *behaviours: str) -> str:
        """`model` behaves as told, one call after the other. Returns the name."""
        with self.lock:
            self.scripts[model] = list(behaviours)
        return model

    # --- the log ---------------------------------------------------------------------------------

    def mark(self) -> int:
        return len(self.calls)

    def since(self, mark: int, model: str | None = None) -> list[Call]:
        """Calls of models after the mark in the order they came; of those whose id begins so."""
        return [
            c
            for c in self.calls[mark:]
            if c.talk is not None and (model is None or c.model.startswith(model))
        ]

    def wait(self, what, timeout: float = 10.0, why: str = "the mock"):
        """Polls until what() is true and returns it."""
        end = time.monotonic() + timeout
        while True:
            got = what()
            if got:
                return got
            if time.monotonic() > end:
                raise AssertionError(f"timed out waiting for {why}")
            time.sleep(0.002)


def main():
    mock = Mock(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    mock.run(lambda: print(f"mock on {mock.url}", flush=True))


if __name__ == "__main__":
    main()
