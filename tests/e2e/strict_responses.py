"""What OpenAI would say to a request of Responses.

Two judges: OpenAI's own schema where ../shared holds it (it lets unknown members pass), and what
stands here: which members there are, and the rules between items. Sources of the rules: errors
that api.openai.com sends ("No tool output found for function call ...", "Previous response with
id ... not found."), and platform.openai.com/docs, "Structured Outputs", for `strict`.
"""

import functools
import json

import seal
from strict import SPEC

FIELDS = {
    "background", "context_management", "conversation", "include", "input", "instructions",
    "max_output_tokens", "max_tool_calls", "metadata", "model", "moderation",
    "parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_key",
    "prompt_cache_options", "prompt_cache_retention", "reasoning", "safety_identifier",
    "service_tier", "store", "stream", "stream_options", "temperature", "text", "tool_choice",
    "tools", "top_logprobs", "top_p", "truncation", "user",
}  # fmt: skip
ITEMS = {
    "message": {"type", "role", "content", "id", "status", "phase"},
    "function_call": {"type", "id", "call_id", "name", "arguments", "status"},
    "function_call_output": {"type", "id", "call_id", "output", "status"},
    "reasoning": {"type", "id", "summary", "content", "encrypted_content", "status"},
    "item_reference": {"type", "id"},
}
PARTS = {
    "input_text": {"type", "text"},
    "output_text": {"type", "text", "annotations", "logprobs"},
    "refusal": {"type", "refusal"},
    "input_image": {"type", "image_url", "file_id", "detail"},
    "input_file": {"type", "file_data", "file_id", "file_url", "filename", "detail"},
}
PREFIX = {"message": "msg_", "function_call": "fc_", "reasoning": "rs_"}


@functools.cache
def named(name: str):
    """The validator of a schema of OpenAI's document; None where it is not at hand."""
    if not SPEC.exists():
        return None
    import jsonschema

    spec = json.loads(SPEC.read_text())
    return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", **spec})


def schema_findings(body: dict) -> list[str]:
    v = named("CreateResponse")
    if body.get("tools"):
        body = body | {"tools": [{"strict": None} | t for t in body["tools"]]}
    if v is None:
        return []
    return [f"schema: {'.'.join(map(str, e.path))}: {e.message[:200]}" for e in v.iter_errors(body)]


def unknown(where: str, value: dict, known: set) -> list[str]:
    return [f"Unknown parameter: '{where}.{k}'." for k in value if k not in known]


def check_item(where: str, item: dict) -> list[str]:
    kind = item.get("type", "message")
    if kind not in ITEMS:
        return [f"Invalid value: '{kind}' at {where}.type"]
    bad = unknown(where, item, ITEMS[kind])
    prefix = PREFIX.get(kind)
    if prefix and "id" in item and not item["id"].startswith(prefix):
        bad.append(f"Invalid '{where}.id': expected an ID that begins with '{prefix[:-1]}'.")
    if kind == "message":
        bad += check_message(where, item)
    if kind == "reasoning" and not item.get("encrypted_content"):
        bad.append(f"{where}: a reasoning item that is not stored needs encrypted_content")
    return bad


def check_message(where: str, item: dict) -> list[str]:
    bad = []
    if item.get("role") not in ("user", "assistant", "system", "developer"):
        bad.append(f"{where}.role is {item.get('role')!r}")
    content = item.get("content")
    if content in (None, "", []):
        bad.append(f"{where} is empty")
    for j, part in enumerate(content if isinstance(content, list) else []):
        at = f"{where}.content[{j}]"
        if part.get("type") not in PARTS:
            bad.append(f"Invalid value: '{part.get('type')}' at {at}.type")
            continue
        bad += unknown(at, part, PARTS[part["type"]])
        out = part["type"] in ("output_text", "refusal")
        if out != (item.get("role") == "assistant"):
            bad.append(f"{at}: {part['type']} in a message of {item.get('role')}")
    return bad


def strict_schema(schema, where: str) -> list[str]:
    """Of the subset for `strict`: closed objects whose members are all required."""
    bad = []
    if isinstance(schema, list):
        for i, value in enumerate(schema):
            bad += strict_schema(value, f"{where}.{i}")
    if not isinstance(schema, dict):
        return bad
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            bad.append(f"Invalid schema: {where}: 'additionalProperties' is required to be false")
        if set(schema.get("properties", {})) != set(schema.get("required", [])):
            bad.append(f"Invalid schema: {where}: 'required' must include every key in properties")
    for key, value in schema.items():
        bad += strict_schema(value, f"{where}.{key}")
    return bad


def check_tool(where: str, tool: dict) -> list[str]:
    if tool.get("type") != "function":
        return [f"{where} is no function"]
    known = {"type", "name", "description", "parameters", "strict"}
    bad = unknown(where, tool, known)
    needed = known - {"description", "strict"}  # the schema wants strict, the API does not
    bad += [f"Missing required parameter: '{where}.{k}'." for k in needed - set(tool)]
    if tool.get("strict"):
        bad += strict_schema(tool.get("parameters"), f"{where}.parameters")
    return bad


def check_body(body: dict) -> list[str]:
    bad = [f"Unknown parameter: '{k}'." for k in body if k not in FIELDS]
    items = body.get("input")
    if items in (None, "", []):
        bad.append("Missing required parameter: 'input'.")
    for i, item in enumerate(items if isinstance(items, list) else []):
        bad += check_item(f"input[{i}]", item)
    for i, tool in enumerate(body.get("tools", [])):
        bad += check_tool(f"tools[{i}]", tool)
    if body.get("tools") == []:
        bad.append("an empty list of tools")
    if "tool_choice" in body and not body.get("tools"):
        bad.append("tool_choice without tools")
    form = (body.get("text") or {}).get("format") or {}
    if form.get("strict"):
        bad += strict_schema(form.get("schema"), "text.format.schema")
    if isinstance(form.get("schema"), dict) and "name" not in form:
        bad.append("Missing required parameter: 'text.format.name'.")
    return bad + schema_findings(body)


def rules(body: dict, wants_thoughts: bool) -> list[str]:
    bad, items = [], body["input"] if isinstance(body["input"], list) else []
    thought = False
    for i, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "reasoning":
            thought = True
            text = "".join(s["text"] for s in item["summary"])
            if not seal.holds(text, item["encrypted_content"], "item"):
                bad.append(f"The encrypted content for item {item.get('id')} could not be verified.")
        elif kind == "function_call" and wants_thoughts and not thought:
            bad.append(f"Item '{item.get('id')}' of type 'function_call' was provided without its "
                       "required 'reasoning' item")  # fmt: skip
        elif kind == "message" or kind == "function_call_output":
            thought = False
    if wants_thoughts and "reasoning.encrypted_content" not in (body.get("include") or []):
        bad.append("the reasoning of this model is lost: include has no reasoning.encrypted_content")
    return bad
