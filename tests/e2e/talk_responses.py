"""OpenAI's Responses, as the mock provider speaks them: the event sequence of recorded streams.

Nothing is kept: previous_response_id is always of a response that is not found.
"""

import seal
import strict_responses
from asked import Asked, parsed
from behave import Answer, Spec, usage_of
from delivery import Frame
from strict import check_head
from talk import Talk, cut, data_url, fields

CREATED = 1_700_000_000


def read_part(asked: Asked, role: str, part: dict, turn: int):
    kind = part["type"]
    if kind in ("input_text", "output_text", "text"):
        asked.add(role, part["text"], turn=turn)
    elif kind == "refusal":
        asked.add(role, part["refusal"], turn=turn)
    elif kind == "input_image":
        media, data = data_url(part.get("image_url") or part.get("file_id"))
        asked.add("image", data, media=media, turn=turn)
    elif kind == "input_file":
        url = part.get("file_data") or part.get("file_url") or part.get("file_id")
        media, data = data_url(url)
        asked.add("document", data, media=media, name=part.get("filename", ""), turn=turn)


def read_item(asked: Asked, item: dict, turn: int):
    kind = item.get("type", "message")
    if kind == "message":
        role = {"developer": "system"}.get(item["role"], item["role"])
        content = item["content"]
        if isinstance(content, str):
            asked.add(role, content, turn=turn)
            return
        for part in content:
            read_part(asked, role, part, turn)
    elif kind == "function_call":
        raw = item["arguments"]
        call_id, name = item["call_id"], item["name"]
        asked.add("call", raw, id=call_id, name=name, args=parsed(raw), turn=turn)
    elif kind == "function_call_output":
        output = item["output"]
        parts = output if isinstance(output, list) else [{"type": "input_text", "text": output}]
        text = "".join(p["text"] for p in parts if p["type"] == "input_text")
        asked.add("result", text, id=item["call_id"], turn=turn)
        for part in parts:
            if part["type"] != "input_text":
                read_part(asked, "user", part, turn)
    elif kind == "reasoning":
        text = "".join(s["text"] for s in item["summary"])
        asked.add("thought", text, signature=item.get("encrypted_content") or "", turn=turn)


def turn_of(items: list[dict]) -> list[int]:
    """What the model says in one go, and what is said to it in one go, is a turn."""
    out, turn, before = [], 0, None
    for item in items:
        ours = item.get("type") in ("function_call", "reasoning") or item.get("role") == "assistant"
        turn += before is not None and ours != before
        before = ours
        out.append(turn)
    return out


class Responses(Talk):
    name = "responses"

    def ask(self, path: str, headers: dict, body: dict) -> tuple[str, Asked]:
        asked = Asked(stream=bool(body.get("stream")), include=body.get("include") or [])
        asked.settings = fields(
            body, max_tokens="max_output_tokens", temperature="temperature", top_p="top_p"
        ) | fields(body.get("reasoning") or {}, effort="effort", summary="summary")
        if body.get("instructions"):
            asked.add("system", body["instructions"], turn=-1)
        items = body["input"]
        if isinstance(items, str):
            items = [{"role": "user", "content": items}]
        for turn, item in zip(turn_of(items), items):
            read_item(asked, item, turn)
        for tool in body.get("tools") or []:
            asked.tools[tool["name"]] = tool.get("parameters") or {}
        choice = body.get("tool_choice", "auto")
        asked.choice = choice["name"] if isinstance(choice, dict) else choice
        asked.parallel = body.get("parallel_tool_calls", True)
        form = (body.get("text") or {}).get("format") or {}
        asked.schema = form.get("schema")
        return body.get("model", ""), asked

    def check(self, body: dict) -> list[str]:
        return strict_responses.check_body(body)

    def check_head(self, headers: dict, key: str | None) -> list[str]:
        return check_head(headers, key)

    def rules(self, spec: Spec, asked: Asked, body: dict) -> list[str]:
        bad = super().rules(spec, asked, body)
        if body.get("previous_response_id"):
            bad.append(f"Previous response with id '{body['previous_response_id']}' not found.")
        return bad + strict_responses.rules(body, spec.kind == "thinktools")

    def error(self, status: int, message: str, spec: Spec | None = None) -> dict:
        kind = "invalid_request_error" if status < 429 else "server_error"
        code = spec.text("errcode") if spec else None
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def stream_error(self, status: int, message: str) -> list[Frame]:
        """As recorded: an error event, then a response that failed."""
        error = {"type": "server_error", "code": "server_error", "message": message, "param": None}
        response = self.response(Spec("say"), "", None, Asked())
        response |= {"status": "failed", "error": {"code": "server_error", "message": message}}
        return [
            Frame({"type": "error", "sequence_number": 2, "error": error}, "error"),
            Frame(
                {"type": "response.failed", "sequence_number": 3, "response": response},
                "response.failed",
            ),
        ]

    # --- answers ---------------------------------------------------------------------------------

    def usage(self, spec: Spec, answer: Answer) -> dict:
        u = usage_of(spec, answer)
        return {
            "input_tokens": u.input,
            "input_tokens_details": {"cached_tokens": u.cached or 0},
            "output_tokens": u.output,
            "output_tokens_details": {"reasoning_tokens": u.reasoning or 0},
            "total_tokens": u.total,
        }

    def items(self, answer: Answer, asked: Asked) -> list[dict]:
        out = []
        if answer.reasoning:
            summary = [{"type": "summary_text", "text": answer.thought}]
            item = {"id": "rs_mock_1", "type": "reasoning", "summary": summary}
            if "reasoning.encrypted_content" in asked.include:
                item["encrypted_content"] = seal.sign(answer.thought, "item")
            out.append(item)
        parts = []
        if answer.text:
            text = answer.text
            parts.append({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
        if answer.refusal:
            parts.append({"type": "refusal", "refusal": answer.refusal})
        if parts or not answer.tools:
            out.append({"id": "msg_mock_1", "type": "message", "status": "completed",
                        "content": parts, "role": "assistant"})  # fmt: skip
        for i, n, a in answer.tools:
            out.append({"id": f"fc_{i}", "type": "function_call", "status": "completed",
                        "arguments": a, "call_id": i, "name": n})  # fmt: skip
        return out

    def response(self, spec: Spec, model: str, answer: Answer | None, asked: Asked) -> dict:
        """`answer` None: it has just begun."""
        out = {
            "id": "resp_mock_1",
            "object": "response",
            "created_at": CREATED,
            "status": "in_progress",
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "max_output_tokens": None,
            "model": model,
            "output": [],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "service_tier": "default",
            "store": False,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}, "verbosity": "medium"},
            "tool_choice": "auto",
            "tools": [],
            "top_logprobs": 0,
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": None,
            "user": None,
            "metadata": {},
        }
        if answer is None:
            return out
        why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(answer.finish)
        return out | {
            "status": "incomplete" if why else "completed",
            "incomplete_details": {"reason": why} if why else None,
            "output": self.items(answer, asked),
            "usage": self.usage(spec, answer),
        }

    def unary(self, spec: Spec, model: str, answer: Answer, asked: Asked) -> dict:
        return self.response(spec, model, answer, asked)

    def frames(self, spec: Spec, model: str, answer: Answer, asked: Asked):
        for number, (event, content) in enumerate(self.events(spec, model, answer, asked)):
            name = event["type"]
            finish = name in ("response.completed", "response.incomplete")
            yield Frame(event | {"sequence_number": number}, name, content, finish)

    def events(self, spec: Spec, model: str, answer: Answer, asked: Asked):
        """Events without their numbers, and whether they say something."""
        begun = self.response(spec, model, None, asked)
        yield {"type": "response.created", "response": begun}, False
        yield {"type": "response.in_progress", "response": begun}, False
        for index, item in enumerate(self.items(answer, asked)):
            at = {"output_index": index}
            empty = self.empty(item)
            yield {"type": "response.output_item.added", "item": empty} | at, False
            at["item_id"] = item["id"]
            yield from self.inside(spec, answer, item, at)
            del at["item_id"]
            tool = item["type"] == "function_call"
            yield {"type": "response.output_item.done", "item": item} | at, tool
        if spec.text("finish") != "missing":
            done = self.response(spec, model, answer, asked)
            yield {"type": f"response.{done['status']}", "response": done}, False

    def empty(self, item: dict) -> dict:
        if item["type"] == "message":
            return item | {"content": [], "status": "in_progress"}
        if item["type"] == "reasoning":
            return item | {"summary": []}
        return item | {"arguments": "", "status": "in_progress"}

    def inside(self, spec: Spec, answer: Answer, item: dict, at: dict):
        if item["type"] == "reasoning":
            yield from self.summary(answer, at | {"summary_index": 0})
        elif item["type"] == "message":
            for i, part in enumerate(item["content"]):
                yield from self.part(answer, part, at | {"content_index": i})
        else:
            name = "response.function_call_arguments"
            for piece in cut(item["arguments"], spec.num("frag", 2)):
                yield {"type": f"{name}.delta", "delta": piece} | at, False
            arguments = {"arguments": item["arguments"], "name": item["name"]}
            yield {"type": f"{name}.done"} | arguments | at, False

    def summary(self, answer: Answer, at: dict):
        part = {"type": "summary_text", "text": ""}
        yield {"type": "response.reasoning_summary_part.added", "part": part} | at, False
        name = "response.reasoning_summary_text"
        for text in answer.reasoning:
            yield {"type": f"{name}.delta", "delta": text} | at, False
        yield {"type": f"{name}.done", "text": answer.thought} | at, False
        part = part | {"text": answer.thought}
        yield {"type": "response.reasoning_summary_part.done", "part": part} | at, False

    def part(self, answer: Answer, part: dict, at: dict):
        refused = part["type"] == "refusal"
        key, name = ("refusal", "refusal") if refused else ("text", "output_text")
        more = {} if refused else {"logprobs": []}
        yield {"type": "response.content_part.added", "part": part | {key: ""}} | at, False
        for piece in [part[key]] if refused else answer.pieces:
            yield {"type": f"response.{name}.delta", "delta": piece} | more | at, True
        yield {"type": f"response.{name}.done", key: part[key]} | more | at, False
        yield {"type": "response.content_part.done", "part": part} | at, False
