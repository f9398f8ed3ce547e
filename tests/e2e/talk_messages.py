"""Anthropic's Messages, as the mock provider speaks them."""

import json

import seal
import strict_messages
from asked import Asked
from behave import Answer, Spec, usage_of
from delivery import Frame
from strict import check_plain_head
from talk import Talk, compact, cut, fields

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use",
        "content_filter": "refusal"}  # fmt: skip


def source(part: dict) -> tuple[str, str]:
    s = part["source"]
    data = s.get("data") or s.get("url") or s.get("file_id") or json.dumps(s.get("content"))
    return s.get("media_type", ""), data


def read_block(asked: Asked, role: str, part: dict, turn: int):
    kind = part["type"]
    asked.marks += bool(part.get("cache_control"))
    if kind == "text":
        asked.add(role, part["text"], turn=turn)
    elif kind in ("image", "document"):
        media, data = source(part)
        asked.add(kind, data, media=media, name=part.get("title") or "", turn=turn)
    elif kind == "thinking":
        asked.add("thought", part["thinking"], signature=part["signature"], turn=turn)
    elif kind == "redacted_thinking":
        asked.add("thought", "", media="redacted", signature=part["data"], turn=turn)
    elif kind == "tool_use":
        raw = compact(part["input"])
        asked.add("call", raw, id=part["id"], name=part["name"], args=part["input"], turn=turn)
    elif kind == "tool_result":
        content = part.get("content") or ""
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        text = "".join(b["text"] for b in blocks if b["type"] == "text")
        error = part.get("is_error", False)
        asked.add("result", text, id=part["tool_use_id"], error=error, turn=turn)
        for b in blocks:
            if b["type"] != "text":
                read_block(asked, "user", b, turn)


def read_choice(asked: Asked, choice: dict):
    kind = choice.get("type", "auto")
    asked.choice = choice["name"] if kind == "tool" else {"any": "required"}.get(kind, kind)
    asked.parallel = not choice.get("disable_parallel_tool_use", False)


class Messages(Talk):
    name = "messages"

    def ask(self, path: str, headers: dict, body: dict) -> tuple[str, Asked]:
        asked = Asked(stream=bool(body.get("stream")))
        settings = ("max_tokens", "temperature", "top_p", "top_k", "thinking")
        asked.settings = fields(body, stop="stop_sequences", **{s: s for s in settings})
        output = body.get("output_config") or {}
        asked.settings |= fields(output, effort="effort")
        asked.schema = (output.get("format") or {}).get("schema")
        asked.marks = bool(body.get("cache_control"))
        for part in strict_messages.blocks({"content": body["system"]}) if "system" in body else ():
            read_block(asked, "system", part, -1)
        for turn, message in enumerate(body["messages"]):
            for part in strict_messages.blocks(message):
                read_block(asked, message["role"], part, turn)
        for tool in body.get("tools") or []:
            asked.marks += bool(tool.get("cache_control"))
            asked.tools[tool["name"]] = tool["input_schema"]
        read_choice(asked, body.get("tool_choice") or {})
        return body.get("model", ""), asked

    def check(self, body: dict, count: bool = False) -> list[str]:
        return strict_messages.schema_findings(body, count)

    def check_head(self, headers: dict, key: str | None) -> list[str]:
        bad = check_plain_head(headers)
        if key and headers.get("x-api-key") != key:
            bad.append("x-api-key is not the provider's key")
        if "authorization" in headers:
            bad.append("an authorization header beside x-api-key")
        if headers.get("anthropic-version") != "2023-06-01":
            bad.append("anthropic-version: header is required")
        return bad

    def rules(self, spec: Spec, asked: Asked, body: dict) -> list[str]:
        wanted = spec.kind == "thinktools"
        redacts = wanted and spec.has("redacted")
        return super().rules(spec, asked, body) + strict_messages.rules(
            body, asked, wanted, redacts
        )

    def error(self, status: int, message: str, spec: Spec | None = None) -> dict:
        kind = TYPES.get(status, "api_error")
        error = {"type": kind, "message": message}
        return {"type": "error", "error": error, "request_id": "req_mock"}

    def stream_error(self, status: int, message: str) -> list[Frame]:
        status = {503: 529}.get(status, status)
        return [Frame(self.error(status, message), "error")]

    # --- answers ---------------------------------------------------------------------------------

    def usage(self, spec: Spec, answer: Answer) -> dict:
        u = usage_of(spec, answer)
        usage = {
            "input_tokens": u.input - (u.cached or 0) - (u.written or 0),
            "cache_creation_input_tokens": u.written or 0,
            "cache_read_input_tokens": u.cached or 0,
            "output_tokens": u.output,
            "service_tier": "standard",
        }
        if u.reasoning is not None:
            usage["output_tokens_details"] = {"thinking_tokens": u.reasoning}
        return usage

    def content(self, answer: Answer) -> list[dict]:
        out = []
        if answer.redacted:
            out.append({"type": "redacted_thinking", "data": seal.sign("", "redacted")})
        if answer.reasoning:
            signature = seal.sign(answer.thought)
            out.append({"type": "thinking", "thinking": answer.thought, "signature": signature})
        if answer.text:
            out.append({"type": "text", "text": answer.text, "citations": None})
        for i, n, a in answer.tools:
            out.append({"type": "tool_use", "id": f"toolu_{i}", "name": n, "input": json.loads(a)})
        return out

    def stop(self, answer: Answer) -> dict:
        """Refusals have no words here."""
        reason = "refusal" if answer.refusal else STOP[answer.finish]
        if answer.tools and answer.finish == "stop":
            reason = "tool_use"
        stop = {"stop_reason": reason, "stop_sequence": None}
        if reason == "refusal":
            details = {"type": "refusal", "category": None, "explanation": answer.refusal}
            stop["stop_details"] = details
        return stop

    def message(self, spec: Spec, model: str, answer: Answer) -> dict:
        return {
            "id": "msg_mock_1",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self.usage(spec, answer),
        }

    def unary(self, spec: Spec, model: str, answer: Answer, asked: Asked) -> dict:
        return self.message(spec, model, answer) | self.stop(answer) | {
            "content": self.content(answer)
        }  # fmt: skip

    def deltas(self, spec: Spec, answer: Answer, block: dict):
        """The empty block, and what fills it."""
        kind = block["type"]
        if kind == "redacted_thinking":
            return block, []
        if kind == "thinking":
            parts = [{"type": "thinking_delta", "thinking": t} for t in answer.reasoning]
            parts.append({"type": "signature_delta", "signature": block["signature"]})
            return {"type": kind, "thinking": "", "signature": ""}, parts
        if kind == "text":
            return {"type": kind, "text": ""}, [
                {"type": "text_delta", "text": t} for t in answer.pieces
            ]
        arguments = cut(compact(block["input"]), spec.num("frag", 2))
        parts = [{"type": "input_json_delta", "partial_json": p} for p in ["", *arguments]]
        return block | {"input": {}}, parts

    def frames(self, spec: Spec, model: str, answer: Answer, asked: Asked):
        def frame(name: str, content: bool = False, finish: bool = False, **more) -> Frame:
            return Frame({"type": name} | more, name, content, finish)

        start = self.message(spec, model, answer)
        start["usage"] |= {"output_tokens": 1}
        yield frame("message_start", message=start)
        for i, block in enumerate(self.content(answer)):
            empty, deltas = self.deltas(spec, answer, block)
            yield frame("content_block_start", index=i, content_block=empty)
            if i == 0:
                yield frame("ping")
            for delta in deltas:
                content = delta["type"] == "text_delta"
                yield frame("content_block_delta", content, index=i, delta=delta)
            yield frame("content_block_stop", content=block["type"] == "tool_use", index=i)
        if spec.text("finish") != "missing":
            usage = self.usage(spec, answer)
            yield frame("message_delta", finish=True, delta=self.stop(answer), usage=usage)
        if spec.num("done", 1):
            yield frame("message_stop")
