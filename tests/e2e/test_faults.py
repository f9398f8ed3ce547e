"""What upstreams do wrong, one by one: plain and as one member of a panel, streamed and whole.

The rule: before the first word a failure is a real status, after it an error event and nothing that
looks like an end; one bad member never costs the answer, and the bill says what it did.
"""

import json
import time
from decimal import Decimal

import pytest

import judging
from gateway import slow
from money import nusd, sum_of_calls

# name: model, status towards the client, `reason` as a member
BEFORE = {
    "429": ("mock/status:code=429,retry=3", 429, "rate_limit_exceeded"),
    "500": ("mock/status:code=500", 502, "upstream_error"),
    "502": ("mock/html:code=502", 502, "upstream_error"),
    "503": ("mock/status:code=503", 503, "upstream_overloaded"),
    "503 bare": ("mock/status:code=503,nobody=1", 503, "upstream_overloaded"),
    "401": ("mock/status:code=401", 502, "upstream_auth"),
    "402": ("mock/status:code=402", 402, "upstream_credit"),
    "404": ("mock/status:code=404", 404, None),
    "reset before the head": ("mock/say:rst_head=1", 502, None),
    "end before the head": ("mock/say:fin_head=1", 502, None),
    "cut before a word": ("mock/say:cut=0", 502, None),
    "garbage": ("mock/garbage", 502, None),
    "html": ("mock/html", 502, None),
    "half a JSON": ("mock/notjson", 502, None),
    "error in a 200": ("mock/err200", 503, "upstream_overloaded"),
    "no listener": ("refused/say", 502, "upstream_unreachable"),
    "silent": ("quick/say:stall_head=1", 504, "timeout"),
    "silent after the head": ("quick/say:stall=0", 504, "timeout"),
}
MIDDLE = {
    "reset": ("mock/say:n=6,gap=5,rst=3", 502),
    "cut": ("mock/say:n=6,gap=5,cut=3", 502),
    "cut, no framing": ("mock/say:n=6,gap=5,cut=3,framing=close", 502),
    "error event": ("mock/say:n=6,gap=5,cut=3,err_mid=1", 502),
    "stall": ("quick/say:n=6,gap=5,stall=3", 504),
}
# no answer of use, though nothing went wrong on the wire
USELESS = {
    "empty": "empty",
    "blank": "empty",
    "refusal": "refused",
    "filter:n=3": None,
    "length:n=3": "cut",
}


def error_of(reply) -> dict:
    assert reply.headers["content-type"] == "application/json"
    assert set(reply.error) == {"message", "type", "param", "code"}
    return reply.error


# --- plain -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("name", BEFORE)
def test_before_the_first_word(server, mock, name, stream):
    model, status, code = BEFORE[name]
    began = time.monotonic()
    reply = server.chat(model, stream=stream)
    assert reply.status == status, reply.body
    error = error_of(reply)
    assert code is None or error["code"] == code
    assert model.partition("/")[0] in error["message"]  # whose fault it is
    assert ("retry-after" in reply.headers) is ("retry=" in model)
    assert time.monotonic() - began < 3 * slow()
    # a kept connection that dies before the first byte of an answer may have been stale: once more;
    # who has asked to be left alone for a while is
    may = {"refused": (0,), "rst_head": (1, 2), "fin_head": (1, 2), "retry=": (0, 1)}
    counts = next((v for k, v in may.items() if k in model), (1,))
    assert len(mock.calls_now()) in counts
    assert server.chat("alpha").status == 200


@pytest.mark.parametrize("name", MIDDLE)
def test_after_the_first_word_streamed(server, name):
    model, status = MIDDLE[name]
    reply = server.chat(model, stream=True)
    assert reply.status == 200 and reply.text() == "w0 w1 w2 "
    *chunks, last = [json.loads(e) for e in reply.events()]
    assert last["error"]["status"] == status and last["error"]["code"]
    assert {"message", "type", "param", "code", "status", "retry_after"} == set(last["error"])
    assert all(c["choices"][0]["finish_reason"] is None for c in chunks)
    assert b"[DONE]" not in reply.body


@pytest.mark.parametrize("name", MIDDLE)
def test_after_the_first_word_whole(server, name):
    model, status = MIDDLE[name]
    reply = server.chat(model)
    assert reply.status == status and error_of(reply)["message"]
    assert reply.headers.get("x-should-retry") == "false"  # paid for already


def test_a_context_that_is_too_long_keeps_its_code(server):
    message = "This%20model's%20maximum%20context%20length%20is%208192%20tokens"
    reply = server.chat(f"mock/status:code=400,message={message}")
    assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")


def test_an_answer_that_never_ends_is_bounded(server):
    reply = server.chat(f"mock/say:bytes={70 << 20}")
    assert reply.status in (413, 502) and error_of(reply)


# --- one of three ------------------------------------------------------------------------------


def fused(server, bad: str, recipe: str = "trio", stream=False, **fusion):
    fusion = {"panel": ["alpha", bad, "gamma"], "quorum": 3} | fusion
    reply = server.chat(recipe, stream=stream, fusion=fusion)
    assert reply.status == 200, reply.body
    if stream:
        assert reply.events()[-1] == "[DONE]"
        return reply.text(), reply.frames()[-1]["usage"]
    return reply.json()["choices"][0]["message"]["content"], reply.json()["usage"]


def member(usage: dict, model: str) -> dict:
    (m,) = [m for m in usage["fusion"]["members"] if m["model"] == model]
    return m


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("name", [*BEFORE, *MIDDLE])
def test_one_bad_member(server, mock, name, stream):
    model, *_, reason = BEFORE.get(name) or (*MIDDLE[name], None)
    text, usage = fused(server, model, stream=stream)
    assert sorted(text.removeprefix("MERGED: ")[1:-1].split("] [")) == [
        "alpha says hello",
        "gamma says hello",
    ]
    bad = member(usage, model)
    assert bad["status"] == "failed" and bad["reason"] == (reason or bad["reason"])
    assert bad["reason"] and bad["detail"] and usage["fusion"]["degraded"] is None
    (judge,) = mock.calls_now("merge")
    assert len(judging.answers(judge.body)) == 2


@pytest.mark.parametrize(
    "name",
    ["429", "500", "reset before the head", "garbage", "silent", "no listener", "cut", "stall"],
)
def test_a_bad_member_is_on_the_bill_as_in_the_books(server, name):
    model = (BEFORE.get(name) or MIDDLE[name])[0]
    mark = f"bad-{name.replace(' ', '-')}"
    fusion = {"panel": ["alpha", model, "gamma"], "quorum": 3}
    usage = server.chat("trio", headers={"x-request-id": mark}, fusion=fusion).json()["usage"]
    assert nusd(usage["cost"]) == sum_of_calls(usage)

    def booked() -> int:
        return sum(r["cost_nusd"] for r in server.ledger() if r["request_id"] == mark)

    server.wait(lambda: booked() == nusd(usage["cost"]), why="the ledger to have the same sum")


@pytest.mark.parametrize("recipe", ["trio", "best"])
@pytest.mark.parametrize("kind", USELESS)
def test_one_useless_member(server, mock, kind, recipe):
    judge = {} if recipe == "trio" else {"judge": "mock/judge:pick=gamma"}
    text, usage = fused(server, f"mock/{kind}", recipe, **judge)
    assert "gamma says hello" in text
    bad = member(usage, f"mock/{kind}")
    assert bad["status"] == "unused" and bad["reason"] == (USELESS[kind] or bad["reason"])
    for call in mock.calls_now("judge") + mock.calls_now("merge"):
        assert len(judging.answers(call.body)) == 2


def test_reasoning_is_no_answer(server):
    text, _ = fused(server, "mock/think:text=forty-two", "best", judge="mock/judge:pick=forty")
    assert text == "forty-two"


# --- all of them -------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    "panel, status",
    [
        ([f"mock/status:code=429,retry={s}" for s in (9, 4, 30)], 429),
        (["mock/status:code=402"] * 3, 402),
        (["quick/say:stall_head=1"] * 3, 504),
        (["mock/status:code=429,retry=5", "quick/say:stall_head=1", "mock/status:code=500"], 502),
        (["mock/empty", "mock/blank"], 502),
        (["refused/a", "refused/b"], 502),
    ],
    ids=["429", "402", "504", "mixed", "empty", "unreachable"],
)
def test_all_members_fail(server, mock, panel, status, stream):
    reply = server.chat("trio", stream=stream, fusion={"panel": panel})
    assert reply.status == status, reply.body
    error = error_of(reply)
    if status == 429:
        assert reply.headers["retry-after"] == "4"
    for model in set(panel):  # a reason for each of them
        assert model in error["message"] or len(error["message"]) > 300
    assert mock.calls_now("merge") == []


def test_all_refuse(server):
    reply = server.chat("trio", fusion={"panel": ["mock/refusal", "mock/refusal:x=1"]})
    assert reply.status == 200
    message = reply.json()["choices"][0]["message"]
    assert message["refusal"] == "I cannot help with that." and not message["content"]


def test_all_are_cut(server):
    panel = ["mock/length:n=3", "mock/length:n=4"]
    reply = server.chat("trio", fusion={"panel": panel})
    assert reply.status == 200
    assert reply.json()["choices"][0]["finish_reason"] == "length"


# --- quorum, grace, survivors --------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_stragglers_are_aborted_at_the_end_of_the_grace(server, mock, stream):
    late = ["mock/say:n=200,gap=50", "mock/say:stall_head=1"]
    grace = 0.12
    fusion = {"panel": ["alpha", *late, "beta"], "quorum": 2, "grace_ms": int(grace * 1000)}
    reply = server.chat("trio", stream=stream, fusion=fusion)
    assert reply.status == 200
    calls = mock.calls_now()
    done = max(c.ended for c in calls if c.model.startswith("say:text"))
    for call in calls:
        if call.model in (late[0][5:], late[1][5:]):
            mock.wait(lambda c=call: c.ended)
            assert call.end == "left"
            assert -0.02 < call.ended - done - grace < 0.05 * slow()
    usage = (reply.frames()[-1] if stream else reply.json())["usage"]
    status = {m["model"]: m["status"] for m in usage["fusion"]["members"]}
    assert [status[m] for m in late] == ["abandoned"] * 2
    assert nusd(usage["cost"]) == sum_of_calls(usage)


def test_a_quorum_of_the_user_is_never_clamped(server, mock):
    late = "mock/say:text=late,delay=600"
    text, usage = fused(server, late, quorum=3)
    assert "[late]" in text and member(usage, late)["status"] == "ok"


def test_without_a_quorum_one_straggler_is_not_waited_for_long(server):
    late = "mock/say:text=late,delay=5000"
    began = time.monotonic()
    reply = server.chat("trio", fusion={"panel": ["alpha", late, "gamma"]})
    assert reply.status == 200 and time.monotonic() - began < 2 * slow()
    assert member(reply.json()["usage"], late)["status"] == "abandoned"


@pytest.mark.parametrize("recipe", ["trio", "best", "poll"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_one_survivor_is_the_answer(server, mock, recipe, stream):
    panel = ["mock/status:code=500", "mock/say:text=%20just%20me%0A", "mock/say:rst_head=1"]
    reply = server.chat(recipe, stream=stream, fusion={"panel": panel})
    text = reply.text() if stream else reply.json()["choices"][0]["message"]["content"]
    assert text == " just me\n"
    (call,) = mock.calls_now("say:text")  # it was not asked again, and no judge was
    assert mock.calls_now("merge") == mock.calls_now("judge") == []


def test_an_explicit_judge_writes_for_one_survivor_too(server, mock):
    panel = ["mock/status:code=500", "mock/say:text=just%20me"]
    reply = server.chat("trio", fusion={"panel": panel, "judge": "writer", "mode": "merge"})
    assert reply.json()["choices"][0]["message"]["content"] == "MERGED: [just me]"
    assert len(mock.calls_now("merge")) == 1


def test_a_default_judge_that_failed_is_not_asked(start, mock):
    g = start(fusions={"bare": {"panel": ["alpha", "beta"]}})
    panel = ["mock/status:code=500", "mock/merge:text=second", "mock/say:text=third"]
    reply = g.chat("bare", fusion={"panel": panel})
    assert (
        reply.json()["choices"][0]["message"]["content"] == "second [second] [third]"
        or reply.json()["choices"][0]["message"]["content"] == "second [third] [second]"
    )
    assert len(mock.calls_now("status")) == 1


def test_the_time_limit_of_a_fusion(server, mock):
    began = time.monotonic()
    panel = ["mock/say:stall_head=1", "mock/say:n=1000,gap=20"]
    reply = server.chat("trio", fusion={"panel": panel, "timeout_ms": 300})
    assert reply.status == 504 and time.monotonic() - began < 1.5 * slow()
    for call in mock.calls_now():
        mock.wait(lambda c=call: c.end == "left")
    # with one answer in, that one is used
    panel = ["alpha", "mock/say:stall_head=1"]
    reply = server.chat("trio", fusion={"panel": panel, "timeout_ms": 300})
    assert reply.status == 200
    assert reply.json()["choices"][0]["message"]["content"] == "alpha says hello"


# --- judges --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    "bad",
    [
        "mock/status:code=500",
        "mock/say:rst_head=1",
        "mock/empty",
        "quick/say:stall_head=1",
        "mock/garbage",
    ],
)
def test_the_next_judge_writes(server, mock, bad, stream):
    text, usage = fused(server, "beta", judge=[bad, "writer"], stream=stream)
    assert text.startswith("MERGED:") and len(usage["fusion"]["judge"]) == 2
    assert [j["status"] == "ok" for j in usage["fusion"]["judge"]] == [False, True]
    assert usage["fusion"]["degraded"]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("recipe", ["trio", "best"])
def test_without_a_judge_an_answer_goes_out_all_the_same(server, recipe, stream):
    text, usage = fused(server, "beta", recipe, judge="mock/status:code=500", stream=stream)
    assert text in [f"{n} says hello" for n in ("alpha", "beta", "gamma")]
    assert usage["fusion"]["degraded"] == "judge_failed" and usage["fusion"]["degraded_why"]


def test_an_invalid_verdict_is_asked_for_once_more(server, mock):
    judge = mock.script("script-repair", "judge:invalid=", "judge:pick=gamma")
    text, usage = fused(server, "beta", "best", judge=f"mock/{judge}")
    assert text == "gamma says hello" and len(mock.calls_now(judge)) == 2
    assert usage["fusion"]["degraded"] is None


@pytest.mark.parametrize(
    "invalid",
    ["", "%7B%22scores%22%3A%7B%22Z%22%3A1%7D,best%3DZ", "%7B%22best%22%3A%22A%22%7D", "A"],
)
def test_an_invalid_verdict_degrades(server, mock, invalid):
    text, usage = fused(server, "beta", "best", judge=f"mock/judge:invalid={invalid}")
    assert text in [f"{n} says hello" for n in ("alpha", "beta", "gamma")]
    assert usage["fusion"]["degraded"] == "invalid_verdict"
    assert len(mock.calls_now("judge")) == 2
    text, usage = fused(
        server, "beta", "best", judge=[f"mock/judge:invalid={invalid}", "mock/judge:pick=alpha"]
    )
    assert text == "alpha says hello"


@pytest.mark.parametrize("how, status", [("cut=2", 502), ("rst=2", 502), ("stall=2", 504)])
def test_a_judge_that_breaks_after_the_first_word(server, mock, how, status):
    judge = f"quick/merge:gap=5,{how}"
    fusion = {"judge": [judge, "writer"], "quorum": 3}
    reply = server.chat("trio", stream=True, fusion=fusion)
    assert reply.status == 200 and reply.text().startswith("MERGED:")
    assert 'finish_reason":"' not in reply.body.decode() and b"[DONE]" not in reply.body
    error = json.loads(reply.events()[-1])["error"]
    assert error["status"] == status and "judge" in error["message"]
    assert [c.model for c in mock.calls_now("merge")] == [judge[6:]]  # nobody begins anew
    whole = server.chat("trio", fusion=fusion)
    assert whole.status in (200, status)


def test_agreement_and_ratio_are_told(server):
    _, usage = fused(server, "beta")
    fusion = usage["fusion"]
    assert isinstance(fusion["latency_ratio"]["slowest"], (Decimal, int))
    assert fusion["latency_ratio"]["slowest"] >= 1
    for m in fusion["members"]:
        assert 0 <= m["ttft_ms"] <= m["total_ms"] and m["bytes"] > 0
