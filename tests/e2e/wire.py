"""Raw HTTP/1.1 over a socket: requests as exact bytes, answers as exact bytes with times.

For what no client library lets one say or see: broken heads, pipelining, chunk borders, the
order of bytes, a client that vanishes.
"""

import json
import socket
import struct
import time
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass
class Reply:
    """One answer."""

    status: int
    version: str
    headers: dict[str, str]
    body: bytes = b""
    chunks: list[tuple[float, bytes]] = field(default_factory=list)  # of a chunked answer
    whole: bool = True  # False: the connection ended before the answer did

    def json(self):
        """Money stays exact."""
        return json.loads(self.body, parse_float=Decimal)

    @property
    def error(self) -> dict:
        return self.json()["error"]

    def events(self) -> list[str]:
        """The data of each server-sent event; comments are left out."""
        blocks = self.body.decode().replace("\r\n", "\n").split("\n\n")
        out = []
        for block in blocks:
            data = [line[6:] for line in block.split("\n") if line.startswith("data: ")]
            if data:
                out.append("\n".join(data))
        return out

    def frames(self) -> list[dict]:
        return [json.loads(e, parse_float=Decimal) for e in self.events() if e != "[DONE]"]

    def text(self) -> str:
        """What a streamed answer says."""
        deltas = [f["choices"][0]["delta"] for f in self.frames() if f.get("choices")]
        return "".join(d.get("content") or "" for d in deltas)


class Wire:
    """One connection to a server."""

    def __init__(self, port: int | None = None, unix: str | None = None, timeout: float = 20.0):
        if unix:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            self.sock.connect(unix)
        else:
            self.sock = socket.create_connection(("127.0.0.1", port), timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = port
        self.left = b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *exc):
        self.sock.close()

    # --- sending ---------------------------------------------------------------------------------

    def send(self, data: bytes):
        self.sock.sendall(data)

    def request(
        self,
        method: str,
        path: str,
        body=None,
        headers: dict | None = None,
        version: str = "HTTP/1.1",
    ) -> bytes:
        """The bytes of a request; a header set to None is left out."""
        fields = {"host": f"127.0.0.1:{self.port}"}
        if body is not None:
            if not isinstance(body, bytes):
                body = json.dumps(body).encode()
            fields |= {"content-type": "application/json", "content-length": str(len(body))}
        fields |= headers or {}
        lines = [f"{method} {path} {version}"]
        lines += [f"{k}: {v}" for k, v in fields.items() if v is not None]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")

    def ask(self, method: str, path: str, body=None, headers: dict | None = None) -> Reply:
        self.send(self.request(method, path, body, headers))
        return self.read()

    def chat(self, body: dict, headers: dict | None = None) -> Reply:
        return self.ask("POST", "/v1/chat/completions", body, headers)

    # --- leaving ---------------------------------------------------------------------------------

    def leave(self, how: str):
        """Closes with FIN, or with a reset."""
        if how == "rst":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # --- reading ---------------------------------------------------------------------------------

    def more(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            return False
        self.left += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        """Bytes up to and with the mark. EOFError when the connection ends first."""
        while mark not in self.left:
            if not self.more():
                raise EOFError(self.left)
        data, _, self.left = self.left.partition(mark)
        return data + mark

    def exactly(self, n: int) -> bytes:
        while len(self.left) < n:
            if not self.more():
                raise EOFError(self.left)
        data, self.left = self.left[:n], self.left[n:]
        return data

    def head(self) -> Reply:
        line, *fields = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, *_ = line.split(" ")
        pairs = [f.split(":", 1) for f in fields if f]
        return Reply(int(status), version, {k.lower(): v.strip() for k, v in pairs})

    def read(self, head_only: bool = False) -> Reply:
        """The next whole answer; 1xx ones are passed over."""
        reply = self.head()
        while reply.status < 200:
            reply = self.head()
        try:
            if head_only or reply.status in (204, 304):
                pass
            elif reply.headers.get("transfer-encoding") == "chunked":
                self.read_chunks(reply)
            elif "content-length" in reply.headers:
                reply.body = self.exactly(int(reply.headers["content-length"]))
            else:
                while self.more():
                    pass
                reply.body, self.left = self.left, b""
        except EOFError:
            reply.whole = False
        return reply

    def read_chunks(self, reply: Reply):
        for data in self.chunks():
            reply.chunks.append((time.monotonic(), data))
            reply.body += data

    def chunks(self):
        """Chunks of a body as they come, to the last one."""
        while True:
            size = int(self.until(b"\r\n"), 16)
            data = self.exactly(size + 2)[:-2]
            if size == 0:
                return
            yield data

    def chunks_left(self):
        """The rest of an event stream of which a part was read, from the next event on."""
        self.until(b"\n\n\r\n")  # of the event that was being read
        yield from self.chunks()

    def closed(self, timeout: float = 5.0) -> bool:
        """Does the other side close, without another byte?"""
        self.sock.settimeout(timeout)
        try:
            return self.left == b"" and not self.more()
        except TimeoutError:
            return False
