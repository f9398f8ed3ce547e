"""What Mistral would say to a request: its own schema, where nothing unknown is allowed, and the
order of messages.

Sources: Mistral's OpenAPI document where ../shared holds it; the order from mistral_common
(protocol/instruct/validator.py); errors as api.mistral.ai has been seen to send them.
"""

import functools
import json
import re

from asked import Asked
from strict import ROOT

SPEC = ROOT.parent / "shared/data/openapi/mistral.json"
TOOL_ID = re.compile(r"[a-zA-Z0-9]{9}")
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

# Of the request, for machines without the document.
FIELDS = {
    "model", "messages", "temperature", "top_p", "max_tokens", "stream", "stop", "random_seed",
    "metadata", "response_format", "tools", "tool_choice", "presence_penalty",
    "frequency_penalty", "n", "prediction", "parallel_tool_calls", "reasoning_effort",
    "prompt_mode", "guardrails", "prompt_cache_key", "service_tier", "safe_prompt",
}  # fmt: skip
MESSAGE_FIELDS = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls", "prefix"},
    "tool": {"role", "content", "tool_call_id", "name"},
}
AFTER = {
    "tool": {"assistant", "tool"},
    "user": {"assistant", "system", "user"},
    "system": {"user", "assistant", "system"},
    "assistant": {"user", "tool", "assistant", "system"},
}


@functools.cache
def validator(name: str):
    if not SPEC.exists():
        return None
    import jsonschema

    spec = json.loads(SPEC.read_text())
    return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", **spec})


def extra(where: list, name: str) -> dict:
    return {"type": "extra_forbidden", "loc": ["body", *where, name],
            "msg": "Extra inputs are not permitted", "input": None}  # fmt: skip


def details(body: dict, name: str = "ChatCompletionRequest") -> list[dict]:
    """The `detail` of a 422; empty: fine."""
    v = validator(name)
    if v is not None:
        return [
            {"type": e.validator, "loc": ["body", *e.path], "msg": e.message[:200], "input": None}
            for e in v.iter_errors(body)
        ]
    if name != "ChatCompletionRequest":
        return []
    out = [extra([], k) for k in body if k not in FIELDS]
    for i, message in enumerate(body.get("messages", [])):
        known = MESSAGE_FIELDS.get(message.get("role"))
        if known is None:
            out.append({"type": "union_tag_invalid", "loc": ["body", "messages", i, "role"],
                        "msg": f"role {message.get('role')!r}", "input": None})  # fmt: skip
        else:
            out += [extra(["messages", i], k) for k in message if k not in known]
    return out


def order(messages: list[dict]) -> list[str]:
    bad, before = [], None
    for i, message in enumerate(messages):
        role = message["role"]
        if before and role not in AFTER[before]:
            bad.append(f"messages[{i}]: unexpected role '{role}' after role '{before}'")
        if message.get("prefix") and i != len(messages) - 1:
            bad.append(f"messages[{i}]: prefix on a message that is not the last one")
        if role == "assistant" and not message.get("content") and not message.get("tool_calls"):
            bad.append(f"messages[{i}]: Assistant message must have either content or tool_calls")
        before = role
    last = messages[-1]
    if last["role"] not in ("user", "tool") and not last.get("prefix"):
        bad.append(f"Expected last role User or Tool (or Assistant with prefix True) for serving "
                   f"but got {last['role']}")  # fmt: skip
    if len(messages) == 1 and last["role"] not in ("user", "system"):
        bad.append("a lone message of another role")
    return bad


def ids(asked: Asked) -> list[str]:
    return [
        f"Tool call id was {i.id} but must be a-z, A-Z, 0-9, with a length of 9."
        for i in asked.items
        if i.kind in ("call", "result") and not TOOL_ID.fullmatch(i.id)
    ]


def names(asked: Asked) -> list[str]:
    bad = [f"Function name was {n}" for n in asked.tools if not NAME.fullmatch(n)]
    if len(asked.tools) > 128:
        bad.append(f"{len(asked.tools)} tools")
    return bad
