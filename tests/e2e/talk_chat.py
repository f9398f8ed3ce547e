"""OpenAI's Chat Completions, as the mock provider speaks it (and its oddities: behave.py)."""

import base64
import hashlib

import seal
import strict
from asked import Asked, parsed
from behave import Answer, Spec, usage_of
from delivery import Frame
from talk import Talk, cut, data_url, fields

CREATED = 1_700_000_000


def flat(content) -> str:
    """Text of a message, whatever its form."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def effort_of(body: dict) -> dict:
    return fields(
        body,
        max_tokens="max_tokens",
        temperature="temperature",
        top_p="top_p",
        stop="stop",
        seed="seed",
        effort="reasoning_effort",
    ) | fields(body, max_tokens="max_completion_tokens")


def read_part(asked: Asked, role: str, part: dict, turn: int):
    kind = part.get("type")
    if kind in ("text", "refusal"):
        asked.add(role, part.get(kind, ""), turn=turn)
    elif kind == "image_url":
        url = part["image_url"]
        media, data = data_url(url["url"] if isinstance(url, dict) else url)
        asked.add("image", data, media=media, turn=turn)
    elif kind == "file":
        media, data = data_url(part["file"].get("file_data", part["file"].get("file_id", "")))
        asked.add("document", data, media=media, turn=turn, name=part["file"].get("filename", ""))
    elif kind == "input_audio":
        audio = part["input_audio"]
        asked.add("audio", audio["data"], media=audio["format"], turn=turn)


def read_thoughts(asked: Asked, message: dict, turn: int):
    for key in ("reasoning_content", "reasoning"):
        if message.get(key):
            asked.add("thought", message[key], turn=turn)
    for detail in message.get("reasoning_details") or []:
        text = detail.get("text") or detail.get("data") or detail.get("summary") or ""
        asked.add("thought", text, signature=detail.get("signature") or "", turn=turn)


def read_message(asked: Asked, message: dict, turn: int):
    role = {"developer": "system"}.get(message["role"], message["role"])
    if role == "tool":
        text = flat(message["content"])
        asked.add("result", text, id=message["tool_call_id"], turn=turn)
        return
    if role == "assistant":
        read_thoughts(asked, message, turn)
    content = message.get("content")
    if isinstance(content, list):
        for part in content:
            read_part(asked, role, part, turn)
    elif content:
        asked.add(role, content, turn=turn)
    for call in message.get("tool_calls") or []:
        function = call["function"]
        raw = function["arguments"]
        args = parsed(raw) if isinstance(raw, str) else raw
        name = function["name"]
        asked.add("call", str(raw), id=call["id"], name=name, args=args, turn=turn)


def read_request(body: dict) -> Asked:
    """Of this dialect and of those made after it."""
    asked = Asked(stream=bool(body.get("stream")), settings=effort_of(body))
    for turn, message in enumerate(body["messages"]):
        read_message(asked, message, turn)
    for tool in body.get("tools") or []:
        asked.tools[tool["function"]["name"]] = tool["function"].get("parameters") or {}
    choice = body.get("tool_choice", "auto")
    asked.choice = choice["function"]["name"] if isinstance(choice, dict) else choice
    asked.choice = {"any": "required"}.get(asked.choice, asked.choice)
    asked.parallel = body.get("parallel_tool_calls", True)
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        asked.schema = form["json_schema"].get("schema")
    return asked


def nine(call_id: str) -> str:
    """An id as Mistral makes them."""
    digest = hashlib.sha256(call_id.encode()).digest()
    return base64.b64encode(digest, b"aB").decode()[:9].replace("=", "c")


class Chat(Talk):
    name = "chat"

    def ask(self, path: str, headers: dict, body: dict) -> tuple[str, Asked]:
        asked = read_request(body)
        asked.usage_wanted = (body.get("stream_options") or {}).get("include_usage", False)
        return body.get("model", ""), asked

    def check(self, body: dict) -> list[str]:
        return strict.check_body(body)

    def check_head(self, headers: dict, key: str | None) -> list[str]:
        return strict.check_head(headers, key)

    def error(self, status: int, message: str, spec: Spec | None = None) -> dict:
        code = spec.text("errcode") if spec else None
        return {"error": {"message": message, "type": "mock", "param": None, "code": code}}

    def stream_error(self, status: int, message: str) -> list[Frame]:
        return [
            Frame({"error": {"message": message, "type": "server_error", "code": status}}),
        ]

    # --- answers ---------------------------------------------------------------------------------

    def usage(self, spec: Spec, answer: Answer) -> dict:
        u = usage_of(spec, answer)
        usage = {
            "prompt_tokens": u.input,
            "completion_tokens": u.output,
            "total_tokens": u.total,
        }
        if u.cached is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": u.cached}
        if u.reasoning is not None:
            usage["completion_tokens_details"] = {"reasoning_tokens": u.reasoning}
        return usage

    def details(self, answer: Answer) -> list[dict]:
        """OpenRouter's shape of signed reasoning."""
        one = {
            "type": "reasoning.text",
            "text": answer.thought,
            "signature": seal.sign(answer.thought),
            "format": "anthropic-claude-v1",
            "index": 0,
        }
        return [one]

    def unary(self, spec: Spec, model: str, answer: Answer, asked: Asked) -> dict:
        message = {"role": "assistant", "content": answer.text or None, "refusal": answer.refusal}
        if answer.tools:
            message["tool_calls"] = [
                {"id": i, "type": "function", "function": {"name": n, "arguments": a}}
                for i, n, a in answer.tools
            ]
        if answer.reasoning:
            message["reasoning_content"] = answer.thought
        if answer.signed:
            message["reasoning_details"] = self.details(answer)
        choice = {"index": 0, "message": message, "finish_reason": answer.finish, "logprobs": None}
        reply = {
            "id": "up-1",
            "object": "chat.completion",
            "created": CREATED,
            "model": model,
            "choices": [choice],
        }
        if spec.text("usage") != "none":
            reply["usage"] = self.usage(spec, answer)
        return reply

    def chunk(self, model: str, delta: dict | None, finish: str | None = None, **more) -> dict:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        head = {"id": "up-1", "object": "chat.completion.chunk", "created": CREATED, "model": model}
        return head | {"choices": choices} | more

    def tool_deltas(self, spec: Spec, tools: list):
        """Each call whole, or in `frag` pieces: head first, then arguments only."""
        for i, (call_id, name, arguments) in enumerate(tools):
            head = {"index": i, "id": call_id, "type": "function"}
            frag = spec.num("frag", 0)
            if not frag:
                yield {"tool_calls": [head | {"function": {"name": name, "arguments": arguments}}]}
                continue
            yield {"tool_calls": [head | {"function": {"name": name, "arguments": ""}}]}
            for piece in cut(arguments, frag):
                yield {"tool_calls": [{"index": i, "function": {"arguments": piece}}]}

    def deltas(self, spec: Spec, answer: Answer):
        if spec.num("role", 1):
            yield {"role": "assistant", "content": ""}
        for text in answer.reasoning:
            yield {"reasoning_content": text}
        if answer.signed:
            yield {"reasoning_details": self.details(answer)}
        for text in answer.pieces:
            yield {"content": text}
        if answer.refusal:
            yield {"refusal": answer.refusal}
        yield from self.tool_deltas(spec, answer.tools)

    def frames(self, spec: Spec, model: str, answer: Answer, asked: Asked):
        """Usage as `usage=` says: after, finish, each or none."""
        usage = {"usage": self.usage(spec, answer)}
        place = spec.text("usage", "after" if asked.usage_wanted else "none")
        each = usage if place == "each" else {}
        for delta in self.deltas(spec, answer):
            content = bool(delta.get("content") or delta.get("tool_calls"))
            yield Frame(self.chunk(model, delta, **each), content=content)
        if spec.text("finish") != "missing":
            last = usage if place in ("each", "finish") else {}
            yield Frame(self.chunk(model, {}, answer.finish, **last), finish=True)
        if place == "after":
            yield Frame(self.chunk(model, None, **usage))
        if spec.num("done", 1):
            yield Frame("[DONE]")
