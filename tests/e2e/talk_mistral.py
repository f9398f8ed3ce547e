"""Mistral's chat, as the mock provider speaks it: a strict reader, and answers of its own shape.

Tool calls come whole in one delta without index or type, together with the finish; reasoning is
an array in the content; usage stands in the last chunk; ids have nine characters.
"""

import strict_mistral
from asked import Asked
from behave import Answer, Spec, usage_of
from delivery import Frame, whole
from strict import check_head
from talk import Refused
from talk_chat import CREATED, Chat, nine, read_message, read_request

ID = "cmpl0123456789abcdef0123456789ab"


class Mistral(Chat):
    name = "mistral"

    def ask(self, path: str, headers: dict, body: dict) -> tuple[str, Asked]:
        asked = read_request(body)
        asked.settings |= {"seed": body["random_seed"]} if "random_seed" in body else {}
        asked.items = []
        for turn, message in enumerate(body["messages"]):
            content = message.get("content")
            parts = content if isinstance(content, list) else []
            for part in parts:
                if part["type"] == "thinking":
                    text = "".join(t.get("text", "") for t in part["thinking"])
                    asked.add("thought", text, signature=part.get("signature") or "", turn=turn)
                elif part["type"] == "document_url":
                    head, _, data = part["document_url"].partition(",")
                    media = head.removeprefix("data:").removesuffix(";base64")
                    name = part.get("document_name") or ""
                    asked.add("document", data or head, media=media, name=name, turn=turn)
            others = [p for p in parts if p["type"] not in ("thinking", "document_url")]
            read_message(asked, message | ({"content": others} if parts else {}), turn)
        return body.get("model", ""), asked

    def check(self, body: dict) -> list[str]:
        return [f"{'.'.join(map(str, d['loc']))}: {d['msg']}" for d in strict_mistral.details(body)]

    def check_head(self, headers: dict, key: str | None) -> list[str]:
        return check_head(headers, key)

    def rules(self, spec: Spec, asked: Asked, body: dict) -> list[str]:
        return (
            super().rules(spec, asked, body)
            + strict_mistral.order(body["messages"])
            + strict_mistral.ids(asked)
            + strict_mistral.names(asked)
        )

    def error(self, status: int, message: str, spec: Spec | None = None) -> dict:
        code = spec.text("errcode") if spec else None
        return {
            "object": "error",
            "message": message,
            "type": {429: "rate_limited", 401: "unauthorized"}.get(status, "invalid_request_error"),
            "param": None,
            "code": code or "3000",
            "raw_status_code": status,
        }

    def refuse(self, refused: Refused) -> bytes:
        if refused.status != 422:
            return super().refuse(refused)
        detail = [
            {"type": "extra_forbidden", "loc": ["body"], "msg": m, "input": None}
            for m in refused.findings
        ]
        body = self.error(422, "") | {"message": {"detail": detail}}
        return whole(422, body)

    def stream_error(self, status: int, message: str) -> list[Frame]:
        return [Frame(self.error(status, message))]

    # --- answers ---------------------------------------------------------------------------------

    def usage(self, spec: Spec, answer: Answer) -> dict:
        u = usage_of(spec, answer)
        usage = {"prompt_tokens": u.input, "total_tokens": u.total, "completion_tokens": u.output}
        if u.cached is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": u.cached}
        return usage

    def text(self, answer: Answer) -> str:
        """There is no refusal here but in words."""
        return answer.refusal or answer.text

    def finish(self, answer: Answer) -> str:
        return {"content_filter": "error"}.get(answer.finish, answer.finish)

    def calls(self, answer: Answer, typed: bool) -> list[dict]:
        more = {"type": "function", "index": 0} if typed else {}
        return [
            {"id": nine(i), "function": {"name": n, "arguments": a}} | more
            for i, n, a in answer.tools
        ]

    def thinking(self, answer: Answer, text: str) -> dict:
        signed = {"closed": True} if answer.signed else {}
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}]} | signed

    def unary(self, spec: Spec, model: str, answer: Answer, asked: Asked) -> dict:
        content = self.text(answer)
        if answer.reasoning:
            content = [self.thinking(answer, answer.thought)]
            if self.text(answer):
                content.append({"type": "text", "text": self.text(answer)})
        message = {"role": "assistant", "content": content, "tool_calls": None}
        if answer.tools:
            message["tool_calls"] = self.calls(answer, typed=False)
            if not content:
                del message["content"]
        choice = {"index": 0, "finish_reason": self.finish(answer), "message": message}
        return {
            "id": ID,
            "created": CREATED,
            "model": model,
            "usage": self.usage(spec, answer),
            "object": "chat.completion",
            "choices": [choice],
        }

    def chunk(self, model: str, delta: dict | None, finish: str | None = None, **more) -> dict:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        head = {"id": ID, "object": "chat.completion.chunk", "created": CREATED, "model": model}
        return head | {"choices": [choice]} | more

    def deltas(self, spec: Spec, answer: Answer):
        yield {"role": "assistant", "content": ""}
        for text in answer.reasoning:
            yield {"content": [self.thinking(answer, text)]}
        for text in [answer.refusal] if answer.refusal else answer.pieces:
            yield {"content": text}

    def frames(self, spec: Spec, model: str, answer: Answer, asked: Asked):
        for delta in self.deltas(spec, answer):
            content = isinstance(delta["content"], str) and bool(delta["content"])
            yield Frame(self.chunk(model, delta), content=content)
        last = {"content": ""}
        if answer.tools:
            last = {"tool_calls": self.calls(answer, typed=False)}
        if spec.text("finish") != "missing":
            usage = {} if spec.text("usage") == "none" else {"usage": self.usage(spec, answer)}
            finish = self.chunk(model, last, self.finish(answer), **usage)
            yield Frame(finish, content=bool(answer.tools), finish=True)
        if spec.num("done", 1):
            yield Frame("[DONE]")
