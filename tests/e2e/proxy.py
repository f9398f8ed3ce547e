"""An HTTP proxy for tests, with an exact log: CONNECT, and requests by the whole URL.

It alone knows where names lead (`routes`), so that a call which arrives was resolved by it. The
log is the oracle: what it was asked, and every byte that a client gave it.
"""

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Asked:
    """One request to the proxy; of a tunnel also what went through it."""

    line: str
    headers: dict[str, str]
    up: bytearray = field(default_factory=bytearray)
    closed: float | None = None  # when the client was gone, time.monotonic()


class Proxy:
    """A thread per connection. `answer` instead of doing its work: bytes to send, b"" for silence."""

    def __init__(self, routes: dict[str, int] | None = None, auth: str | None = None):
        self.routes = routes or {}  # "host:port" to a port of this machine
        self.auth = auth  # the field that it wants
        self.answer: bytes | None = None
        self.asked: list[Asked] = []
        self.connections = 0

    def __enter__(self) -> "Proxy":
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self):
        while True:
            try:
                client, _ = self.sock.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket):
        origins: dict[str, socket.socket] = {}
        with client:
            try:
                while self.one(client, origins):
                    pass
            except OSError:
                pass
            for origin in origins.values():
                with contextlib.suppress(OSError):
                    origin.shutdown(socket.SHUT_RDWR)

    def one(self, client: socket.socket, origins: dict[str, socket.socket]) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            got = client.recv(65536)
            if not got:
                return False
            data += got
        head, _, rest = data.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {n.lower(): v.strip() for n, _, v in (f.partition(":") for f in fields)}
        asked = Asked(line, headers)
        self.asked.append(asked)
        method, target, _ = line.split(" ")
        if self.answer is not None:
            client.sendall(self.answer)
            while client.recv(65536):
                pass
            asked.closed = time.monotonic()
            return False
        if self.auth and headers.get("proxy-authorization") != self.auth:
            self.refuse(client, "407 Proxy Authentication Required")
            return False
        if method == "CONNECT":
            return self.tunnel(client, asked, target, rest)
        return self.forward(client, asked, origins, rest)

    def refuse(self, client: socket.socket, status: str):
        client.sendall(f"HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\nsaid".encode())

    def reach(self, client: socket.socket, target: str) -> socket.socket | None:
        port = self.routes.get(target)
        if port is None:
            self.refuse(client, "502 Bad Gateway")
            return None
        return socket.create_connection(("127.0.0.1", port))

    def tunnel(self, client: socket.socket, asked: Asked, target: str, rest: bytes) -> bool:
        assert rest == b"", "bytes behind CONNECT"
        origin = self.reach(client, target)
        if origin is None:
            return False
        client.sendall(b"HTTP/1.1 200 Connection established\r\nproxy-agent: tests\r\n\r\n")
        with origin:
            threading.Thread(target=self.down, args=(origin, client), daemon=True).start()
            self.up(client, origin, asked)
        return False

    def up(self, client: socket.socket, origin: socket.socket, asked: Asked):
        try:
            while got := client.recv(65536):
                asked.up += got
                origin.sendall(got)
        finally:
            asked.closed = time.monotonic()
            origin.shutdown(socket.SHUT_RDWR)

    def down(self, origin: socket.socket, client: socket.socket):
        try:
            while got := origin.recv(65536):
                client.sendall(got)
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def forward(self, client, asked: Asked, origins: dict[str, socket.socket], rest: bytes) -> bool:
        method, target, _ = asked.line.split(" ")
        assert target.startswith("http://"), target
        where, slash, path = target[7:].partition("/")
        assert where == asked.headers["host"], "the target and the host differ"
        if where not in origins:
            origin = self.reach(client, where if ":" in where else f"{where}:80")
            if origin is None:
                return False
            origins[where] = origin
            threading.Thread(target=self.down, args=(origin, client), daemon=True).start()
        while len(rest) < int(asked.headers.get("content-length", 0)):
            rest += client.recv(65536)
        asked.up += rest
        fields = {n: v for n, v in asked.headers.items() if not n.startswith("proxy-")}
        head = f"{method} {slash}{path} HTTP/1.1\r\n" + "".join(
            f"{n}: {v}\r\n" for n, v in fields.items()
        )
        origins[where].sendall(head.encode("latin-1") + b"\r\n" + rest)
        return True
