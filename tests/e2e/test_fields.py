"""Fields that an upstream cannot take, beta headers, reasoning that stands in the text: what is
refused, what is left out and listed, what is taken apart."""

import json
import urllib.parse

import pytest

import egress
import gateway

BETA = {"anthropic-beta": "context-management-2025-06-27, interleaved-thinking-2025-05-14"}
SAID = "<think>\nwhy is that so\n</ think>\n</think>\n\nbecause of it"
THOUGHT = f"say:text={urllib.parse.quote(SAID)}"


@pytest.fixture
def g(start, provider):
    """Providers that go without a field, beside those that do not."""
    both = {
        f"{word}-{kind}": gateway.provider(provider, **entry, on_unsupported=word)
        for word in ("warn", "drop")
        for kind, entry in (
            ("mistral", {"kind": "mistral", "base_url": provider.base("mistral")}),
            ("anthropic", {"kind": "anthropic", "base_url": provider.base("anthropic")}),
        )
    }
    base = egress.settings(provider)
    raw = {"raw": gateway.provider(provider, reasoning_tags="none")}
    aliases = {
        "strict": {"to": "mistral/echo", "fallback": ["mock/echo"]},
        "lenient": {"to": "drop-mistral/echo", "fallback": ["mock/echo"]},
    }
    return start(
        **{k: base[k] for k in ("models", "fusions")},
        providers=base["providers"] | both | raw,
        aliases=aliases,
    )


# --- on_unsupported --------------------------------------------------------------------------------


def test_refused_unless_configured(g, mock):
    reply = g.chat("mistral/echo", top_k=5)
    assert reply.status == 400 and reply.json()["error"]["param"] == "top_k"
    assert mock.calls_now() == []


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("word", ["warn", "drop"])
def test_left_out_and_listed(g, mock, word, stream):
    more = {"top_k": 5, "logit_bias": {"5": 1}, "temperature": 1.0, "user": "u1"}
    reply = g.chat(f"{word}-mistral/echo", stream=stream, **more)
    assert reply.status == 200, reply.body
    assert reply.headers["x-fusor-ignored"] == "top_k, logit_bias, user"
    (call,) = mock.calls_now()
    assert "top_k" not in call.body and "logit_bias" not in call.body
    assert call.body["temperature"] == 1.0
    said = [(x["field"], x["model"]) for x in g.log("field_left_out")]
    model = "warn-mistral/echo"
    assert said == ([("top_k", model), ("logit_bias", model)] if word == "warn" else [])


def test_a_value_that_is_too_large_is_a_field_too(g, mock):
    reply = g.chat("drop-anthropic/echo", temperature=1.7)
    assert reply.status == 200 and reply.headers["x-fusor-ignored"].split(", ")[0] == "temperature"
    assert "temperature" not in mock.calls_now()[0].body


def test_what_is_asked_is_never_left_out(g, mock):
    tools = [{"type": "file_search", "vector_store_ids": ["v"]}]
    reply = g.chat("drop-mistral/echo", tools=tools)
    assert reply.status == 400 and reply.json()["error"]["param"] == "tools[0]"
    content = [{"type": "text", "text": "Hi", "colour": "red"}]
    messages = [{"role": "user", "content": content}]
    assert g.chat("drop-mistral/echo", messages=messages).status == 400
    assert mock.calls_now() == []


def test_a_target_that_goes_without_is_not_passed_over(g, mock):
    assert g.chat("strict", top_k=5).headers["x-fusor-model"] == "mock/echo"
    reply = g.chat("lenient", top_k=5)
    assert reply.headers["x-fusor-model"] == "drop-mistral/echo"
    assert reply.headers["x-fusor-ignored"] == "top_k"


def test_a_member_that_cannot_take_a_field_goes_without(g, mock):
    """And so does a judge; those that can take it get it."""
    fusion = {"judge": "mistral/merge"}
    reply = g.chat("mix", stream=True, top_k=5, fusion=fusion)
    members = reply.frames()[-1]["usage"]["fusion"]["members"]
    assert [m["status"] for m in members] == ["ok"] * 5
    label = {m["model"].partition("/")[0]: m["label"] for m in members}
    ignored = reply.headers["x-fusor-ignored"].split(", ")
    without = {label["m-mistral"], label["m-responses"], "judge"}
    assert {x.partition(":")[0] for x in ignored if x.endswith(": top_k")} == without
    (chat,) = (c for c in mock.calls_now() if "from%20chat" in c.model)
    assert chat.body["top_k"] == 5


def test_unless_the_client_wants_all_or_nothing(g, mock):
    exact = {"top_k": 5, "provider": {"require_parameters": True}}
    assert g.chat("drop-mistral/echo", **exact).status == 400
    assert g.chat("lenient", **exact).headers["x-fusor-model"] == "mock/echo"
    reply = g.chat("mix", stream=True, **exact, fusion={"quorum": 2})
    members = reply.frames()[-1]["usage"]["fusion"]["members"]
    failed = {m["model"] for m in members if m["status"] == "failed"}
    assert failed == {"m-mistral", "m-responses"}
    assert "top_k" not in reply.headers.get("x-fusor-ignored", "")


# --- betas -----------------------------------------------------------------------------------------


def test_betas_go_to_an_upstream_of_the_same_dialect(g, mock):
    body = {
        "model": egress.model("anthropic", "echo"),
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    reply = g.ask("POST", "/v1/messages", body, BETA)
    assert reply.status == 200 and "x-fusor-ignored" not in reply.headers, reply.body
    (call,) = mock.calls_now()
    assert call.headers["anthropic-beta"] == BETA["anthropic-beta"]


def test_betas_in_two_lines_are_one_list(g, mock):
    messages = [{"role": "user", "content": "Hi"}]
    model = egress.model("anthropic", "echo")
    body = json.dumps({"model": model, "max_tokens": 9, "messages": messages}).encode()
    head = (
        "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"anthropic-beta: one\r\nanthropic-beta: two\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with g.wire() as w:
        w.send(head.encode() + body)
        assert w.read().status == 200
    assert mock.calls_now()[0].headers["anthropic-beta"] == "one,two"


@pytest.mark.parametrize("kind", ["chat", "mistral", "gemini", "responses"])
def test_others_are_not_sent_them(g, mock, kind):
    body = {
        "model": egress.model(kind, "echo"),
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    reply = g.ask("POST", "/v1/messages", body, BETA)
    assert reply.status == 200, reply.body
    assert "anthropic-beta" in reply.headers["x-fusor-ignored"].split(", ")
    assert "anthropic-beta" not in mock.calls_now()[0].headers


# --- reasoning in the text --------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_reasoning_between_tags_is_reasoning(g, stream):
    reply = g.chat(f"mock/{THOUGHT}", stream=stream)
    assert reply.status == 200, reply.body
    if stream:
        deltas = [f["choices"][0]["delta"] for f in reply.frames()]
        said = {
            key: "".join(d.get(key) or "" for d in deltas) for key in ("content", "reasoning")
        }
    else:
        said = reply.json()["choices"][0]["message"]
    assert said["content"] == "because of it"
    assert said["reasoning"] == "why is that so\n</ think>\n"


def test_or_stays_text(g):
    message = g.chat(f"raw/{THOUGHT}").json()["choices"][0]["message"]
    assert message["content"] == SAID
    assert not message.get("reasoning")
