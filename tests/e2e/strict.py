"""What a provider that reads strictly would say to a request of ours: of every dialect, and of
Chat Completions; the other dialects are in files of their own (strict_*.py).

Every request that reaches the mock is checked; findings stand in the log and the session fails
on any (conftest.py). Two judges: rules written here, and OpenAI's own schema where ../shared
holds it.
"""

import functools
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPEC = ROOT.parent / "shared/data/openapi/openai.json"

FIELDS = {
    "model",
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "reasoning_effort",
    "stop",
    "user",
    "metadata",
    "stream",
    "stream_options",
    "store",
    "service_tier",
    "prompt_cache_key",
    "logit_bias",
    "verbosity",
    "prediction",
    "safety_identifier",
    "prompt_cache_retention",
    "web_search_options",
    "top_k",  # not OpenAI's, but of most servers that speak its API
}
ROLES = {"system", "developer", "user", "assistant", "tool"}


def duplicates(pairs):
    keys = [k for k, _ in pairs]
    if len(keys) != len(set(keys)):
        raise ValueError(f"duplicate keys in {keys}")
    return dict(pairs)


def parse(body: bytes) -> dict:
    """Raises ValueError for what is no JSON object without duplicate keys."""
    value = json.loads(body, object_pairs_hook=duplicates)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def check_plain_head(headers: dict) -> list[str]:
    """What holds whatever header the key is in."""
    bad = []
    if headers.get("content-type", "").split(";")[0] != "application/json":
        bad.append(f"content-type is {headers.get('content-type')!r}")
    if "host" not in headers:
        bad.append("no host")
    # requests are built from scratch: nothing of the client's head may come through
    for name in headers:
        if name in ("cookie", "origin", "referer", "x-request-id") or name.startswith(
            "x-stainless"
        ):
            bad.append(f"a client's header came through: {name}")
    return bad


def check_head(headers: dict, key: str | None) -> list[str]:
    bad = check_plain_head(headers)
    if key and headers.get("authorization") != f"Bearer {key}":
        bad.append("authorization is not the provider's key")
    return bad


def check_message(message: dict, where: str) -> list[str]:
    bad = []
    role = message.get("role")
    if role not in ROLES:
        bad.append(f"{where}.role is {role!r}")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        bad.append(f"{where} answers no tool call")
    if (
        not message.get("tool_calls")
        and message.get("content") in (None, [], "")
        and role != "tool"
    ):
        bad.append(f"{where} is empty")
    for call in message.get("tool_calls", []):
        if set(call) != {"id", "type", "function"} or call["type"] != "function":
            bad.append(f"{where}.tool_calls: {call}")
    return bad


def check_tool(tool: dict, where: str) -> list[str]:
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, dict):
        return [f"{where} is no function"]
    extra = set(function) - {"name", "description", "parameters", "strict"}
    return [f"{where}: unknown {extra}"] if extra or not function.get("name") else []


def check_body(body: dict) -> list[str]:
    bad = [f"unknown field {name}" for name in body if name not in FIELDS]
    if "stream_options" in body and not body.get("stream"):
        bad.append("stream_options without stream")
    if "tool_choice" in body and not body.get("tools"):
        bad.append("tool_choice without tools")
    if body.get("tools") == []:
        bad.append("an empty list of tools")
    if not body.get("messages"):
        bad.append("no messages")
    for i, message in enumerate(body.get("messages", [])):
        bad += check_message(message, f"messages[{i}]")
    for i, tool in enumerate(body.get("tools", [])):
        bad += check_tool(tool, f"tools[{i}]")
    return bad + schema_findings(body)


@functools.cache
def validator():
    """OpenAI's schema of the request, or None where it is not at hand."""
    if not SPEC.exists():
        return None
    import jsonschema

    spec = json.loads(SPEC.read_text())
    whole = {"$ref": "#/components/schemas/CreateChatCompletionRequest", **spec}
    return jsonschema.Draft202012Validator(whole)


def schema_findings(body: dict) -> list[str]:
    v = validator()
    if v is None:
        return []
    return [f"schema: {'.'.join(map(str, e.path))}: {e.message[:200]}" for e in v.iter_errors(body)]
