"""Google's generateContent, as the mock provider speaks it: whole calls, no [DONE], the end of the
bytes is the end of the stream.

Models whose name begins with gemini-3 have ids of calls and sign their first call of each step;
for others an id is an error.
"""

import json
from urllib.parse import unquote

import seal
import strict_gemini
from asked import Asked
from behave import Answer, Spec, usage_of
from delivery import Frame
from strict import check_plain_head
from talk import Talk, compact, fields

STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED",
          404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
          504: "DEADLINE_EXCEEDED"}  # fmt: skip
FINISH = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
CHOICE = {"AUTO": "auto", "VALIDATED": "auto", "ANY": "required", "NONE": "none"}


def result_text(response: dict) -> str:
    """What a tool said: alone under one of the usual names, or the object itself."""
    for key in ("result", "output", "error", "content"):
        if set(response) == {key} and isinstance(response[key], str):
            return response[key]
    return compact(response)


class Reader:
    """Contents -> transcript. Calls without ids are known by their place."""

    def __init__(self, asked: Asked):
        self.asked, self.calls, self.waiting = asked, 0, []

    def part(self, role: str, part: dict, turn: int):
        signature = part.get("thoughtSignature", "")
        if "functionCall" in part:
            call = part["functionCall"]
            call_id = call.get("id") or f"#{self.calls}"
            self.calls += 1
            self.waiting.append(call_id)
            args = call.get("args", {})
            self.asked.add("call", compact(args), id=call_id, name=call["name"], args=args,
                           signature=signature, turn=turn)  # fmt: skip
        elif "functionResponse" in part:
            response = part["functionResponse"]
            place = self.waiting.pop(0) if self.waiting else "none"
            text, error = result_text(response["response"]), "error" in response["response"]
            self.asked.add("result", text, id=response.get("id") or place, name=response["name"],
                           error=error, turn=turn)  # fmt: skip
            for inner in response.get("parts", []):
                self.part("user", inner, turn)
        elif "inlineData" in part:
            data = part["inlineData"]
            self.media(data["mimeType"], data["data"], turn)
        elif "fileData" in part:
            data = part["fileData"]
            self.media(data.get("mimeType", ""), data["fileUri"], turn)
        elif part.get("thought"):
            self.asked.add("thought", part.get("text", ""), signature=signature, turn=turn)
        else:
            self.asked.add(role, part.get("text", ""), signature=signature, turn=turn)

    def media(self, media: str, data: str, turn: int):
        kind = media.partition("/")[0]
        kind = kind if kind in ("image", "audio") else "document"
        self.asked.add(kind, data, media=media, turn=turn)


class Gemini(Talk):
    name = "gemini"

    def ask(self, path: str, headers: dict, body: dict) -> tuple[str, Asked]:
        name, _, verb = path.partition("?")[0].rpartition(":")
        model = unquote(name.partition("/models/")[2])
        asked = Asked(stream=verb == "streamGenerateContent")
        config = body.get("generationConfig", {})
        asked.settings = fields(
            config, max_tokens="maxOutputTokens", temperature="temperature", top_p="topP",
            stop="stopSequences", seed="seed", thinking="thinkingConfig",
        )  # fmt: skip
        asked.schema = config.get("responseJsonSchema") or config.get("responseSchema")
        reader = Reader(asked)
        for part in body.get("systemInstruction", {}).get("parts", []):
            reader.part("system", part, -1)
        for turn, content in enumerate(body["contents"]):
            role = {"model": "assistant"}.get(content.get("role"), "user")
            for part in content["parts"]:
                reader.part(role, part, turn)
        for tool in body.get("tools", []):
            for d in tool.get("functionDeclarations", []):
                schema = d.get("parametersJsonSchema") or d.get("parameters") or {}
                asked.tools[d["name"]] = schema
        calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
        names = calling.get("allowedFunctionNames", [])
        asked.choice = names[0] if len(names) == 1 else CHOICE[calling.get("mode", "AUTO")]
        return model, asked

    def check(self, body: dict) -> list[str]:
        return strict_gemini.schema_findings(body)

    def check_head(self, headers: dict, key: str | None) -> list[str]:
        bad = check_plain_head(headers)
        if key and headers.get("x-goog-api-key") != key:
            bad.append("x-goog-api-key is not the provider's key")
        if "authorization" in headers:
            bad.append("an authorization header beside x-goog-api-key")
        return bad

    def rules(self, spec: Spec, asked: Asked, body: dict) -> list[str]:
        has_ids = spec.model.startswith("gemini-3")
        return super().rules(spec, asked, body) + strict_gemini.rules(
            body, asked, spec.kind == "thinktools", has_ids
        )

    def error(self, status: int, message: str, spec: Spec | None = None) -> dict:
        error = {"code": status, "message": message, "status": STATUS.get(status, "UNKNOWN")}
        if spec and spec.has("retryinfo"):
            delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo",
                     "retryDelay": f"{spec.num('retryinfo')}s"}  # fmt: skip
            error["details"] = [delay]
        return {"error": error}

    # --- answers ---------------------------------------------------------------------------------

    def usage(self, spec: Spec, answer: Answer) -> dict:
        u = usage_of(spec, answer)
        usage = {
            "promptTokenCount": u.input,
            "candidatesTokenCount": u.output - (u.reasoning or 0),
            "totalTokenCount": u.total,
        }
        if u.cached is not None:
            usage["cachedContentTokenCount"] = u.cached
        if u.reasoning is not None:
            usage["thoughtsTokenCount"] = u.reasoning
        return usage

    def reply(self, spec: Spec, model: str, answer: Answer, parts: list, last: bool) -> dict:
        candidate = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if last:
            finish = "SAFETY" if answer.refusal else FINISH[answer.finish]
            if not parts:
                candidate = {"index": 0}
            candidate["finishReason"] = finish
        out = {"candidates": [candidate], "modelVersion": model, "responseId": "mock-1"}
        if spec.text("usage") != "none":
            out["usageMetadata"] = self.usage(spec, answer)
        return out

    def parts(self, spec: Spec, model: str, answer: Answer):
        """Lists of parts that come together, and whether they say something."""
        for text in answer.reasoning:
            yield [{"text": text, "thought": True}], False
        for text in answer.pieces:
            yield [{"text": text}], True
        calls = []
        for i, n, a in answer.tools:
            call = {"name": n, "args": json.loads(a)}
            if model.startswith("gemini-3"):
                call["id"] = i
            part = {"functionCall": call}
            if not calls and answer.signed:
                part["thoughtSignature"] = seal.sign(answer.thought, "part")
            calls.append(part)
        if calls:
            yield calls, True
        elif answer.reasoning:
            yield [{"text": "", "thoughtSignature": seal.sign(answer.thought, "part")}], False

    def unary(self, spec: Spec, model: str, answer: Answer, asked: Asked) -> dict:
        parts = []
        for some, _ in self.parts(spec, model, answer):
            for part in some:
                if parts and set(part) == set(parts[-1]) <= {"text", "thought"}:
                    parts[-1]["text"] += part["text"]
                else:
                    parts.append(part)
        return self.reply(spec, model, answer, parts, last=True)

    def frames(self, spec: Spec, model: str, answer: Answer, asked: Asked):
        for parts, content in self.parts(spec, model, answer):
            yield Frame(self.reply(spec, model, answer, parts, last=False), content=content)
        if spec.text("finish") != "missing":
            parts = [] if answer.refusal or answer.finish == "content_filter" else [{"text": ""}]
            yield Frame(self.reply(spec, model, answer, parts, last=True), finish=True)
