"""What Anthropic would say to a request of Messages: a schema in which nothing unknown is allowed,
and the rules that no schema can say.

Sources: the parameter types of anthropic-sdk-python 2.14.0 (types/*_param.py); the rules from
platform.claude.com/docs: "Tool use" (results first and all in one message), "Extended thinking"
(signed blocks come back unchanged; limits on temperature, top_p and tool_choice), "Prompt
caching" (at most four marks), "Structured outputs" (additionalProperties false).
"""

import functools
import re

import seal
from asked import Asked

TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")


def obj(required: str, optional: str = "", /, **types) -> dict:
    """An object with these members and no others; those without a type may be anything."""
    names = required.split() + optional.split()
    return {
        "type": "object",
        "properties": {n: types.get(n, True) for n in names},
        "required": required.split(),
        "additionalProperties": False,
    }


def one(kind: str, required: str = "", optional: str = "", /, **types) -> dict:
    return obj(f"type {required}", optional, type={"const": kind}, **types)


STRING = {"type": "string"}
FILLED = {"type": "string", "minLength": 1}
BOOL = {"type": "boolean"}
OBJECT = {"type": "object"}
NAME = {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,128}$"}


def ref(name: str) -> dict:
    return {"$ref": f"#/$defs/{name}"}


def many(item: dict) -> dict:
    return {"type": "array", "items": item}


CACHE = {"cache_control": {"anyOf": [one("ephemeral", "", "ttl", ttl={"enum": ["5m", "1h"]}),
                                     {"type": "null"}]}}  # fmt: skip
IMAGE_TYPES = {"enum": ["image/jpeg", "image/png", "image/gif", "image/webp"]}
BASE64 = {"type": "string", "pattern": "^[A-Za-z0-9+/]+=*$"}
TEXT = one("text", "text", "cache_control citations", text=FILLED, **CACHE)
IMAGE = one(
    "image",
    "source",
    "cache_control transformations",
    source={
        "oneOf": [
            one("base64", "media_type data", media_type=IMAGE_TYPES, data=BASE64),
            one("url", "url", url=STRING),
            one("file", "file_id", file_id=STRING),
        ]
    },
    **CACHE,
)
DOCUMENT = one(
    "document",
    "source",
    "cache_control citations context title",
    title={"type": ["string", "null"]},
    source={
        "oneOf": [
            one("base64", "media_type data", media_type={"const": "application/pdf"}, data=BASE64),
            one("text", "media_type data", media_type={"const": "text/plain"}, data=STRING),
            one("url", "url", url=STRING),
            one("file", "file_id", file_id=STRING),
            one("content", "content"),
        ]
    },
    **CACHE,
)
RESULT = one(
    "tool_result",
    "tool_use_id",
    "content is_error cache_control",
    tool_use_id=NAME,
    is_error=BOOL,
    content={"anyOf": [STRING, many({"anyOf": [ref("text"), ref("image"), ref("document")]})]},
    **CACHE,
)
USE = one("tool_use", "id name input", "cache_control", id=NAME, name=NAME, input=OBJECT, **CACHE)
THINKING = one("thinking", "thinking signature", thinking=STRING, signature=FILLED)
REDACTED = one("redacted_thinking", "data", data=FILLED)

USER = obj(
    "role content",
    role={"const": "user"},
    content={
        "anyOf": [
            FILLED,
            many({"anyOf": [ref("text"), ref("image"), ref("document"), ref("result")]})
            | {"minItems": 1},
        ]
    },
)
ASSISTANT = obj(
    "role content",
    role={"const": "assistant"},
    content={
        "anyOf": [
            FILLED,
            many({"anyOf": [ref("text"), ref("use"), ref("thinking"), ref("redacted")]})
            | {"minItems": 1},
        ]
    },
)
TOOL = obj(
    "name input_schema",
    "description strict type cache_control",
    name=NAME,
    input_schema={
        "type": "object",
        "properties": {"type": {"const": "object"}},
        "required": ["type"],
    },
    description=STRING,
    strict=BOOL,
    type={"const": "custom"},
    **CACHE,
)
PARALLEL = {"disable_parallel_tool_use": BOOL}
CHOICE = {
    "oneOf": [
        one("auto", "", "disable_parallel_tool_use", **PARALLEL),
        one("any", "", "disable_parallel_tool_use", **PARALLEL),
        one("tool", "name", "disable_parallel_tool_use", name=NAME, **PARALLEL),
        one("none"),
    ]
}
DISPLAY = {"display": {"enum": ["summarized", "omitted", None]}}
THINKING_CONFIG = {
    "oneOf": [
        one("enabled", "budget_tokens", "display",
            budget_tokens={"type": "integer", "minimum": 1024}, **DISPLAY),
        one("adaptive", "", "display", **DISPLAY),
        one("disabled"),
    ]
}  # fmt: skip
OUTPUT = obj(
    "",
    "effort format",
    effort={"enum": ["low", "medium", "high", "xhigh", "max", None]},
    format={"anyOf": [one("json_schema", "schema", schema=OBJECT), {"type": "null"}]},
)
REQUIRED = "model messages"
OPTIONAL = "system tools tool_choice thinking output_config cache_control"
TYPES = {
    "model": FILLED,
    "messages": many({"oneOf": [USER, ASSISTANT]}) | {"minItems": 1},
    "system": {"anyOf": [FILLED, many(ref("text"))]},
    "tools": many(TOOL) | {"minItems": 1},
    "tool_choice": CHOICE,
    "thinking": THINKING_CONFIG,
    "output_config": OUTPUT,
    "max_tokens": {"type": "integer", "minimum": 1},
    "stream": BOOL,
    "temperature": {"type": "number", "minimum": 0, "maximum": 1},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "top_k": {"type": "integer", "minimum": 0},
    "stop_sequences": many({"type": "string", "pattern": r"\S"}),
    "metadata": obj("", "user_id", user_id={"type": ["string", "null"], "maxLength": 256}),
    "service_tier": {"enum": ["auto", "standard_only"]},
    **CACHE,
}
DEFS = {
    "text": TEXT,
    "image": IMAGE,
    "document": DOCUMENT,
    "result": RESULT,
    "use": USE,
    "thinking": THINKING,
    "redacted": REDACTED,
}
CREATE = obj(
    f"{REQUIRED} max_tokens",
    f"{OPTIONAL} stream temperature top_p top_k stop_sequences metadata service_tier "
    "inference_geo container speed",
    **TYPES,
)
COUNT = obj(REQUIRED, OPTIONAL, **TYPES)


@functools.cache
def validator(count: bool):
    import jsonschema

    return jsonschema.Draft202012Validator((COUNT if count else CREATE) | {"$defs": DEFS})


def best(error):
    """The branch of a union that comes nearest: its message says something."""
    while error.context:
        deepest = max(len(e.absolute_path) for e in error.context)
        error = next(e for e in error.context if len(e.absolute_path) == deepest)
    return error


def schema_findings(body: dict, count: bool = False) -> list[str]:
    errors = map(best, validator(count).iter_errors(body))
    return [f"{'.'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in errors]


# --- rules -----------------------------------------------------------------------------------


def blocks(message: dict) -> list[dict]:
    content = message["content"]
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def turns(messages: list[dict]) -> list[str]:
    bad, before, open_ids = [], None, set()
    for i, message in enumerate(messages):
        role, parts = message["role"], blocks(message)
        if role == before or (before is None and role != "user"):
            bad.append(f"messages.{i}: roles must alternate, from user on; this is {role}")
        kinds = [p["type"] for p in parts]
        results = [p["tool_use_id"] for p in parts if p["type"] == "tool_result"]
        if results and kinds[: len(results)] != ["tool_result"] * len(results):
            bad.append(f"messages.{i}: tool_result blocks must come first")
        if set(results) != open_ids or len(results) != len(open_ids):
            bad.append(
                f"messages.{i}: `tool_use` ids {sorted(open_ids)} need a `tool_result` block each, "
                f"in one message; this has {results}"
            )
        open_ids = {p["id"] for p in parts if p["type"] == "tool_use"}
        before = role
    last = messages[-1]
    text = blocks(last)[-1].get("text", "")
    if last["role"] == "assistant" and text != text.rstrip():
        bad.append("final assistant content cannot end with trailing whitespace")
    return bad


def thinking(body: dict) -> list[str]:
    """Of requests that turn it on."""
    config = body.get("thinking") or {"type": "disabled"}
    if config["type"] == "disabled":
        return []
    bad = []
    if config.get("budget_tokens", 0) >= body.get("max_tokens", 1 << 40):
        bad.append("`max_tokens` must be greater than `thinking.budget_tokens`")
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        bad.append("Thinking may not be enabled when tool_choice forces tool use.")
    if body.get("temperature", 1) != 1:
        bad.append("`temperature` may only be set to 1 when thinking is enabled")
    if "top_k" in body or body.get("top_p", 1) < 0.95:
        bad.append("`top_k` and a low `top_p` are not for thinking")
    return bad


def signatures(body: dict, wanted: bool) -> list[str]:
    """`wanted`: the model has thought before its calls, so their turns must begin with it."""
    bad = []
    for i, message in enumerate(body["messages"]):
        parts = blocks(message)
        for p in parts:
            if p["type"] == "thinking" and not seal.holds(p["thinking"], p["signature"]):
                bad.append(f"messages.{i}: Invalid `signature` in `thinking` block")
            if p["type"] == "redacted_thinking" and p["data"] != seal.sign("", "redacted"):
                bad.append(f"messages.{i}: Invalid `data` in `redacted_thinking` block")
        kinds = [p["type"] for p in parts]
        if wanted and "tool_use" in kinds and not kinds[0].endswith("thinking"):
            bad.append(f"messages.{i}: Expected `thinking` or `redacted_thinking`, but found "
                       f"`{kinds[0]}`")  # fmt: skip
    return bad


def open_objects(schema, where: str = "schema") -> list[str]:
    """Objects of a schema for answers that allow other members."""
    bad = []
    if isinstance(schema, dict):
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
            bad.append(f"output_config.format.{where}: For 'object' type, 'additionalProperties' "
                       "must be explicitly set to false")  # fmt: skip
        for key, value in schema.items():
            bad += open_objects(value, f"{where}.{key}")
    elif isinstance(schema, list):
        for i, value in enumerate(schema):
            bad += open_objects(value, f"{where}.{i}")
    return bad


def rules(body: dict, asked: Asked, wants_thoughts: bool, redacts: bool) -> list[str]:
    bad = turns(body["messages"]) + thinking(body) + signatures(body, wants_thoughts)
    if redacts and asked.of("call") and not any(t.media == "redacted" for t in asked.of("thought")):
        bad.append("a redacted_thinking block is missing")
    if asked.marks > 4:
        bad.append(f"A maximum of 4 blocks with cache_control may be provided. Found {asked.marks}")
    form = (body.get("output_config") or {}).get("format")
    if form:
        bad += open_objects(form["schema"])
    if len({t["name"] for t in body.get("tools", [])}) != len(body.get("tools", [])):
        bad.append("tools: Tool names must be unique.")
    return bad
