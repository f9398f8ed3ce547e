"""A client that leaves, in every phase: each upstream connection is closed at once, and it is
booked.

The mock's log is the witness: within 100 ms of the client's FIN or reset (more under a
sanitizer) every connection that worked for it must be seen closed.
"""

import contextlib
import socket
import time

import pytest

from gateway import provider as provider_entry
from gateway import slow

LIMIT = 0.1
CHAT = "/v1/chat/completions"
pytestmark = pytest.mark.race


def body(model: str, stream: bool, **more) -> dict:
    return {
        "model": model,
        "stream": stream,
        "messages": [{"role": "user", "content": "Hi"}],
    } | more


def fused(stream: bool, panel: list, **fusion) -> dict:
    return body("trio", stream, fusion={"panel": panel, "quorum": len(panel)} | fusion)


SILENT, TALKING = "mock/say:stall_head=1", "mock/say:n=2000,gap=10"

# phase: the request, how many upstream calls there are then, when to leave
PHASES = {
    "no byte yet": lambda s: (body(SILENT, s), 1, lambda c: True),
    "head only": lambda s: (body("mock/say:stall=0", s), 1, lambda c: c[0].sent),
    "streaming": lambda s: (body(TALKING, s), 1, lambda c: len(c[0].sent) > 8),
    "stalled": lambda s: (body("mock/say:stall=3", s), 1, lambda c: len(c[0].sent) > 3),
    "panel silent": lambda s: (fused(s, [SILENT] * 3), 3, lambda c: True),
    "panel talking": lambda s: (
        fused(s, [TALKING] * 3),
        3,
        lambda c: all(len(x.sent) > 5 for x in c),
    ),
    "one of the panel left": lambda s: (
        fused(s, ["alpha", SILENT, "beta"]),
        3,
        lambda c: sum(x.end == "done" for x in c) == 2,
    ),
    "second target silent": lambda s: (
        body("mock/status:code=429", s, models=["refused/say", SILENT]),
        2,
        lambda c: True,
    ),
    "second target talking": lambda s: (
        body("mock/status:code=429", s, models=[TALKING]),
        2,
        lambda c: len(c[-1].sent) > 8,
    ),
    "structured, second target": lambda s: (
        body("refused/say", s, models=[TALKING], response_format={"type": "json_object"}),
        1,
        lambda c: len(c[0].sent) > 8,
    ),
    "judge silent": lambda s: (
        fused(s, ["alpha", "beta"], judge="mock/merge:stall_head=1"),
        3,
        lambda c: True,
    ),
    "judge writing": lambda s: (
        fused(s, ["alpha", "beta"], judge="mock/merge:stall=2"),
        3,
        lambda c: len(c[-1].sent) > 3,
    ),
    "judge deciding": lambda s: (
        fused(s, ["alpha", "beta"], mode="best_of", judge="mock/judge:delay=30000"),
        3,
        lambda c: True,
    ),
}


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("phase", PHASES)
def test_client_leaves(server, mock, phase, stream, how):
    request, count, ready = PHASES[phase](stream)
    with server.wire() as w:
        w.send(w.request("POST", CHAT, request))
        calls = mock.wait(
            lambda: len(mock.calls_now()) == count and ready(mock.calls_now()) and mock.calls_now(),
            why=phase,
        )
        time.sleep(0.02)  # let what is on its way arrive
        left = time.monotonic()
        w.leave(how)
    open_calls = [c for c in calls if c.end != "done"]
    assert open_calls
    for call in open_calls:
        mock.wait(lambda c=call: c.ended, 5, "the upstream connection to be closed")
        assert call.end == "left"
        assert call.ended - left < LIMIT * slow(), f"{(call.ended - left) * 1000:.0f} ms"
    assert len(mock.calls_now()) == count  # nothing new was begun
    assert server.chat("alpha").status == 200


def stands_still(call) -> bool:
    """Held back, and not only for a moment: on a busy machine everybody waits now and then."""
    before = len(call.sent)
    time.sleep(0.1 * slow())
    return call.conn.held_back and len(call.sent) == before > 0


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_client_leaves_while_it_does_not_read(server, mock, how):
    """With our buffers full nothing is read or written: the leaving is noticed all the same."""
    with server.wire() as w:
        w.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        w.send(w.request("POST", CHAT, body(f"mock/say:bytes={48 << 20}", True)))
        (call,) = mock.wait(lambda: mock.calls_now("say:bytes"))
        mock.wait(lambda: stands_still(call), why="the upstream to be held back")
        left = time.monotonic()
        w.leave(how)
    mock.wait(lambda: call.ended, 5, "the upstream connection to be closed")
    assert call.end == "left" and call.ended - left < LIMIT * slow()


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_client_leaves_the_queue(server, mock, stream, how):
    model = f"one/say:n=1000,gap=20,x={how}{stream}"
    with server.wire() as first, server.wire() as second, server.wire() as third:
        first.send(first.request("POST", CHAT, body(model, True)))
        mock.wait(lambda: mock.calls_now())
        second.send(second.request("POST", CHAT, body(model, stream)))
        third.send(third.request("POST", CHAT, body(model, True)))
        time.sleep(0.1)
        assert len(mock.calls_now()) == 1
        assert server.chat(model).status == 429  # max_queue: 2
        second.leave(how)
        gone = f'fusor_upstream_calls_total{{model="{model}",outcome="cancelled"}} 1\n'
        mock.wait(lambda: gone in server.ask("GET", "/metrics").body.decode(), why="it to go")
        assert queue_has_room(server, model)
        first.leave("fin")
        mock.wait(lambda: len(mock.calls_now()) == 2, 5, "the third to have its turn")
        third.until(b"w3 ")
    mock.wait(lambda: all(c.ended for c in mock.calls_now()), 5, "all to be closed")
    assert len(mock.calls_now()) == 2


def queue_has_room(server, model: str) -> bool:
    """Is a request taken into the queue? It leaves again at once."""
    with server.wire() as w:
        w.send(w.request("POST", CHAT, body(model, False)))
        w.sock.settimeout(0.05)
        try:
            return w.read().status != 429
        except TimeoutError:
            return True


@contextlib.contextmanager
def black_hole():
    """A port that lets nobody through: its accept queue is full, so that a SYN is dropped."""
    with socket.socket() as s, contextlib.ExitStack() as stack:
        s.bind(("127.0.0.1", 0))
        s.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(s.getsockname())
        time.sleep(0.05)
        yield s.getsockname()[1]


def connecting(port: int) -> int:
    """Sockets in SYN_SENT towards a port."""
    rows = [line.split() for line in open("/proc/net/tcp").readlines()[1:]]
    return sum(r[2].endswith(f":{port:04X}") and r[3] == "02" for r in rows)


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("members", [0, 3], ids=["plain", "fused"])
def test_client_leaves_while_we_connect(start, mock, members, stream, how):
    with black_hole() as port:
        entry = provider_entry(
            mock, base_url=f"http://127.0.0.1:{port}/v1", timeouts={"connect": "20s"}
        )
        g = start(
            providers={"hole": entry},
            models={"h": {"provider": "hole"}},
            fusions={"trio": {"panel": ["h"] * 3}},
        )
        others = connecting(port)
        request = fused(stream, ["h"] * 3) if members else body("h", stream)
        with g.wire() as w:
            w.send(w.request("POST", CHAT, request))
            mock.wait(lambda: connecting(port) == others + (members or 1), why="SYN_SENT")
            left = time.monotonic()
            w.leave(how)
        mock.wait(lambda: connecting(port) == others, 5, "the connecting sockets to go")
        assert time.monotonic() - left < LIMIT * slow() + 0.05


def test_connect_timeout(start, mock):
    with black_hole() as port:
        entry = provider_entry(
            mock, base_url=f"http://127.0.0.1:{port}/v1", timeouts={"connect": "200ms"}
        )
        g = start(providers={"hole": entry}, models={"h": {"provider": "hole"}}, fusions={})
        began = time.monotonic()
        reply = g.chat("h")
        assert reply.status in (502, 504) and 0.15 < time.monotonic() - began < 1.5 * slow()


def test_clients_leave_by_the_hundred(server, mock):
    """Streams that come and go in no order leave nothing behind."""
    wires = []
    for i in range(150):
        w = server.wire()
        busy = "mock/say:n=2000,gap=60"
        model = busy if i % 3 else "trio"
        more = {} if i % 3 else {"fusion": {"panel": [busy, busy], "quorum": 2}}
        w.send(w.request("POST", CHAT, body(model, True, **more)))
        wires.append(w)
    mock.wait(lambda: len(mock.calls_now()) == 200, 20, "all upstream calls")
    for i, w in enumerate(wires):
        w.leave("rst" if i % 2 else "fin")
    # how soon is shown above, one by one: here the mock itself needs its time for so many. Left
    # alone they would go on for two minutes.
    mock.wait(lambda: all(c.ended for c in mock.calls_now()), 10, "all to be closed")
    assert all(c.end == "left" for c in mock.calls_now())
