"""A stream as bytes: exact order, borders, keep-alive, when the head goes out."""

import json
import pathlib
import re
import time

import pytest

from gateway import KEY
from gateway import provider as provider_entry
from mock import Mock

CHAT = "/v1/chat/completions"


def test_default_stream_byte_for_byte(server):
    reply = server.chat("mock/say:text=one%20%22two%22%0A,in=3,out=2", stream=True)
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["cache-control"] == "no-cache"
    assert "content-length" not in reply.headers
    head = json.loads(reply.events()[0])
    assert re.fullmatch(r"chatcmpl-[A-Za-z0-9]{24}", head["id"])
    start = (
        f'data: {{"id":"{head["id"]}","object":"chat.completion.chunk",'
        f'"created":{head["created"]},"model":{json.dumps(head["model"])},'
        '"choices":[{"index":0,"delta":'
    )
    end = ',"finish_reason":null}]}\n\n'
    usage = json.dumps(json.loads(reply.events()[-2])["usage"], separators=(",", ":"))
    want = (
        start
        + '{"role":"assistant","content":""}'
        + end
        + start
        + '{"content":"one "}'
        + end
        + start
        + r'{"content":"\"two\"\n"}'
        + end
        + start
        + '{},"finish_reason":"stop"}],"usage":'
    )
    body = reply.body.decode()
    assert body.startswith(want)
    assert body.endswith("}\n\ndata: [DONE]\n\n")
    assert usage.startswith('{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5')
    assert b'"usage":null' not in reply.body and b'"choices":[]' not in reply.body


def test_openai_shape_byte_for_byte(server):
    reply = server.chat("mock/say:text=one", stream=True, stream_options={"include_usage": True})
    frames = [json.loads(e) for e in reply.events()[:-1]]
    assert [f["usage"] for f in frames[:-1]] == [None] * (len(frames) - 1)
    assert frames[-1]["choices"] == [] and frames[-1]["usage"]["total_tokens"] > 0
    assert frames[-2]["choices"][0]["finish_reason"] == "stop"
    assert reply.events()[-1] == "[DONE]"


def test_each_word_as_it_comes(server):
    """Nothing is saved up: a word leaves when the upstream has said it."""
    gap = 0.06
    with server.wire() as w:
        reply = w.chat(
            {
                "model": f"mock/say:n=6,gap={int(gap * 1000)}",
                "stream": True,
                "messages": [{"role": "user", "content": "x"}],
            }
        )
    times = [t for t, data in reply.chunks if b'"content":"w' in data]
    assert len(times) == 6
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert all(g > gap / 3 for g in gaps) and times[-1] - times[0] > 4 * gap


@pytest.mark.parametrize("after", ["300ms", "0"])
def test_keep_alive(start, after):
    g = start(keepalive="1s", keepalive_after=after)
    with g.wire() as w:
        began = time.monotonic()
        reply = w.chat(
            {
                "model": "mock/say:n=2,gap=1300,headgap=1200",
                "stream": True,
                "messages": [{"role": "user", "content": "x"}],
            }
        )
    assert reply.status == 200 and reply.text() == "w0 w1 "
    beats = [t - began for t, data in reply.chunks if b": ka\n" in data]
    first_word = next(t - began for t, data in reply.chunks if b"w0" in data)
    before = [t for t in beats if t < first_word]
    assert bool(before) is (after != "0")
    assert [t for t in beats if t > first_word]  # the pause between the words is long enough
    clean = reply.body.replace(b": ka\n", b"")
    for block in clean.decode().split("\n\n")[:-1]:
        assert block.startswith("data: ")
    assert b": ka\n\n" not in reply.body  # a comment alone would be an empty event to some


def test_keep_alive_while_a_panel_works(start):
    g = start(keepalive="1s", keepalive_after="200ms")
    reply = g.chat("trio", stream=True, fusion={"panel": ["alpha", "mock/say:n=2,delay=700"]})
    assert reply.body.startswith(b": ka\n") and reply.text().startswith("MERGED:")


@pytest.mark.parametrize(
    "model",
    [
        "mock/status:code=503,delay=100",
        "mock/say:rst_head=1,delay=80",
        "mock/say:cut=0",
        "mock/err200",
    ],
)
def test_a_failure_before_the_first_word_is_a_real_status(server, model):
    reply = server.chat(model, stream=True)
    assert reply.status >= 500 and reply.headers["content-type"] == "application/json"
    assert reply.error["message"]


def test_a_failure_after_the_head_is_an_error_event(start):
    g = start(keepalive="1s", keepalive_after="50ms")
    reply = g.chat("mock/status:code=429,retry=9,delay=400", stream=True)
    assert reply.status == 200 and reply.body.startswith(b": ka\n")
    (event,) = reply.events()
    error = json.loads(event)["error"]
    assert error["status"] == 429 and error["retry_after"] == 9 and error["code"]
    assert {"message", "type", "param"} <= set(error)


def test_a_slow_client_holds_only_its_own_stream(server, mock):
    """Much for a client that does not read: bounded memory here, the upstream waits."""
    size = 32 << 20
    with server.wire() as w:
        w.send(
            w.request(
                "POST",
                CHAT,
                {
                    "model": f"mock/say:bytes={size}",
                    "stream": True,
                    "messages": [{"role": "user", "content": "x"}],
                },
            )
        )
        (call,) = mock.wait(lambda: mock.calls_now("say:bytes"))
        mock.wait(lambda: call.conn.held_back, why="the upstream to be held back")
        assert server.chat("alpha").status == 200
        status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
        reply = w.read()
    rss = int(re.search(r"VmRSS:\s+(\d+)", status)[1])
    assert sum(len(f["choices"][0]["delta"].get("content") or "") for f in reply.frames()) == size
    assert rss < 400_000  # KiB; most of it the sanitizer's


def test_a_slow_client_changes_nothing_in_a_fusion(server, mock):
    panel = ["alpha", f"mock/say:bytes={1 << 20}", "gamma"]
    with server.wire() as w:
        w.send(
            w.request(
                "POST",
                CHAT,
                {
                    "model": "best",
                    "stream": True,
                    "messages": [{"role": "user", "content": "x"}],
                    "fusion": {"panel": panel, "quorum": 3, "judge": "mock/judge:pick=xxx"},
                },
            )
        )
        time.sleep(0.3)
        reply = w.read()
    assert reply.text() == "x" * (1 << 20)
    assert [m["status"] for m in reply.frames()[-1]["usage"]["fusion"]["members"]] == ["ok"] * 3


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_an_upstream_behind_a_unix_socket(start, tmp_path, stream):
    with Mock(unix=str(tmp_path / "up.sock"), key=KEY) as up:
        g = start(providers={"lab": provider_entry(up)}, models={}, fusions={})
        reply = g.chat("lab/say:n=3", stream=stream)
        said = reply.text() if stream else reply.json()["choices"][0]["message"]["content"]
        assert said == "w0 w1 w2 " and up.calls[0].findings == []
