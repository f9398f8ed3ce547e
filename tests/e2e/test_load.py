"""Many streams at once: every frame of every stream is there, once, in order.

The mock is a process of its own here, so that its timing does not suffer from the client's.
"""

import asyncio
import contextlib
import json
import pathlib
import resource
import subprocess
import sys
import urllib.request

import pytest

from gateway import Gateway, sanitizer, settings
from gateway import provider as provider_entry

FRAMES, GAP_MS = 20, 100


@pytest.fixture(scope="module")
def far_mock():
    """The mock as a process; gives its base URL."""
    script = pathlib.Path(__file__).with_name("mock.py")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as p:
        yield p.stdout.readline().split()[-1]
        p.terminate()


def room_for(streams: int) -> int:
    """As many streams as file descriptors allow: a stream takes two in the server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = 2 * streams + 200
    if soft < want:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(want, hard), hard))
        soft = min(want, hard)
    return min(streams, (soft - 200) // 2)


async def one_stream(port: int, request: bytes, gate: asyncio.Semaphore):
    """Reads one streamed answer raw. Returns its words, and what is odd about it."""
    async with gate:  # so that the listener's queue is not what is tested
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    data = b""
    while size := int(await reader.readline(), 16):
        data += await reader.readexactly(size)
        await reader.readexactly(2)
    writer.close()
    events = data.decode().split("\n\n")
    odd = [] if head.startswith(b"HTTP/1.1 200") else [head]
    odd += [e for e in events[:-1] if not e.startswith("data: ")]
    frames = [json.loads(e[6:]) for e in events[:-2] if e.startswith("data: ")]
    if events[-2:] != ["data: [DONE]", ""] or len({f["id"] for f in frames}) != 1:
        odd.append(events[-2:])
    return [c for f in frames if (c := f["choices"][0]["delta"].get("content"))], odd


def request_of(g: Gateway, body: dict) -> bytes:
    data = json.dumps(body).encode()
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{g.port}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    ).encode() + data


async def all_streams(g: Gateway, bodies: list):
    gate = asyncio.Semaphore(64)
    return await asyncio.gather(*(one_stream(g.port, request_of(g, b), gate) for b in bodies))


@pytest.fixture(scope="module")
def loaded(provider, far_mock, tmp_path_factory):
    config = settings(provider)
    config["providers"]["far"] = provider_entry(provider, base_url=far_mock, price="free", key=None)
    with Gateway(tmp_path_factory.mktemp("loaded"), config) as g:
        yield g


def test_a_thousand_streams(loaded):
    count = room_for(200 if sanitizer() == "thread" else 1000)
    assert count >= 200, "too few file descriptors"
    bodies = [
        {
            "model": f"far/say:n={FRAMES},gap={GAP_MS}",
            "stream": True,
            "messages": [{"role": "user", "content": f"stream {i}"}],
        }
        for i in range(count)
    ]
    want = [f"w{k} " for k in range(FRAMES)]
    results = asyncio.run(all_streams(loaded, bodies))
    odd = [o for _, o in results if o]
    assert not odd, odd[:3]
    gaps = sum(words != want for words, _ in results)
    assert gaps == 0, f"{gaps} of {count} streams have gaps: {results[0]}"


@pytest.mark.race
def test_a_hundred_fusions_at_once(loaded):
    bodies = [
        {
            "model": "trio",
            "stream": True,
            "fusion": {
                "panel": [
                    f"far/say:text=f{i}m{k},gap=20,delay={(i * 13 + k * 7) % 50}" for k in range(3)
                ],
                "judge": "far/merge:gap=10",
                "quorum": 3,
                "stream_members": i % 2 == 0,
            },
            "messages": [{"role": "user", "content": "x"}],
        }
        for i in range(100)
    ]
    for i, (words, odd) in enumerate(asyncio.run(all_streams(loaded, bodies))):
        assert not odd, odd
        text = "".join(words).removeprefix("MERGED: [")[:-1]
        assert sorted(text.split("] [")) == [f"f{i}m{k}" for k in range(3)]


def test_the_mock_saw_each_request_once(loaded, far_mock):
    url = far_mock.removesuffix("/v1") + "/_mock/log"
    with contextlib.closing(urllib.request.urlopen(url)) as reply:
        calls = [c for c in json.load(reply) if c["path"].startswith("/v1/chat")]
    assert calls and all(c["end"] == "done" and not c["findings"] for c in calls)
    assert loaded.wait(lambda: len(loaded.ledger()) == len(calls), why="the ledger to have them")
