"""The three doors of the gateway, each driven with the official library of its dialect, behind one
interface: a test says what it wants once and gets back what a user of that library would see.

History is native to each door (what its library would send), so that ids, thoughts and
signatures go back as real clients send them.
"""

import json
from dataclasses import dataclass, field

import anthropic
import openai


@dataclass
class Called:
    id: str
    name: str
    arguments: str

    @property
    def args(self) -> dict:
        return json.loads(self.arguments)


@dataclass
class Got:
    """What came back, under common names."""

    text: str = ""
    thought: str = ""
    refusal: str = ""
    calls: list[Called] = field(default_factory=list)
    finish: str = ""  # stop, length, tool_calls, refusal
    usage: dict = field(default_factory=dict)  # input, output, cached, reasoning
    said: list = field(default_factory=list)  # the model's turn, as history
    raw: object = None
    headers: dict = field(default_factory=dict)


@dataclass
class Want:
    """A request in common words."""

    prompt: str = "Hi"
    system: str | None = None
    developer: str | None = None
    history: list | None = None  # native; replaces the prompt
    image: str | None = None  # base64 of a PNG
    document: str | None = None  # base64 of a PDF
    tools: dict[str, dict] = field(default_factory=dict)  # name -> schema
    choice: str | None = None  # auto, none, required, or a name
    parallel: bool | None = None
    schema: dict | None = None
    effort: str | None = None
    max_tokens: int | None = None
    more: dict = field(default_factory=dict)  # native fields as they are


def png(data: str) -> str:
    return f"data:image/png;base64,{data}"


def pdf(data: str) -> str:
    return f"data:application/pdf;base64,{data}"


class Door:
    name = ""
    error = Exception  # what its library raises

    def __init__(self, server):
        self.server = server

    def body(self, model: str, want: Want) -> dict:
        """As the library is told it."""
        raise NotImplementedError

    def unary(self, body: dict) -> Got:
        raise NotImplementedError

    def stream(self, body: dict) -> Got:
        raise NotImplementedError

    def pieces(self, body: dict):
        """Texts as they come, for streams that break."""
        raise NotImplementedError

    def ask(self, model: str, stream: bool = False, **want) -> Got:
        body = self.body(model, Want(**want))
        return self.stream(body) if stream else self.unary(body)

    def results(self, calls: list[Called], texts: list[str]) -> list:
        """The turn that answers calls, as history."""
        raise NotImplementedError

    def user(self, text: str) -> list:
        return [{"role": "user", "content": text}]


class ChatDoor(Door):
    name, path = "chat", "/v1/chat/completions"
    library = openai

    def __init__(self, server):
        super().__init__(server)
        self.client = openai.OpenAI(base_url=server.url, api_key="unused", max_retries=0)

    def content(self, want: Want):
        parts = [{"type": "text", "text": want.prompt}]
        if want.image:
            parts.append({"type": "image_url", "image_url": {"url": png(want.image)}})
        if want.document:
            file = {"filename": "a.pdf", "file_data": pdf(want.document)}
            parts.append({"type": "file", "file": file})
        return parts if len(parts) > 1 else want.prompt

    def body(self, model: str, want: Want) -> dict:
        messages = want.history or [{"role": "user", "content": self.content(want)}]
        for role in ("developer", "system"):
            if getattr(want, role):
                messages = [{"role": role, "content": getattr(want, role)}, *messages]
        body = {"model": model, "messages": messages}
        if want.tools:
            body["tools"] = [
                {"type": "function", "function": {"name": n, "description": n, "parameters": p}}
                for n, p in want.tools.items()
            ]
        if want.choice in ("auto", "none", "required"):
            body["tool_choice"] = want.choice
        elif want.choice:
            body["tool_choice"] = {"type": "function", "function": {"name": want.choice}}
        if want.parallel is not None:
            body["parallel_tool_calls"] = want.parallel
        if want.schema:
            form = {"name": "answer", "schema": want.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if want.effort:
            body["reasoning_effort"] = want.effort
        if want.max_tokens:
            body["max_completion_tokens"] = want.max_tokens
        return body | want.more

    def got(self, reply, message, finish: str, usage, headers=None) -> Got:
        """As a client that keeps the whole message would send it back."""
        said = {k: v for k, v in message.items() if v is not None and k not in ("index", "parsed")}
        calls = [
            Called(c["id"], c["function"]["name"], c["function"]["arguments"])
            for c in message.get("tool_calls") or []
        ]
        out = Got(message.get("content") or "", raw=reply, calls=calls, said=[said])
        out.refusal = message.get("refusal") or ""
        out.thought = message.get("reasoning_content") or message.get("reasoning") or ""
        out.finish = "refusal" if finish == "content_filter" or out.refusal else finish
        if usage:
            into, of = usage.prompt_tokens_details, usage.completion_tokens_details
            out.usage = {
                "input": usage.prompt_tokens,
                "output": usage.completion_tokens,
                "cached": into and into.cached_tokens,
                "reasoning": of and of.reasoning_tokens,
            }
        out.headers = headers or {}
        return out

    def unary(self, body: dict) -> Got:
        raw = self.client.chat.completions.with_raw_response.create(**body)
        reply = raw.parse()
        choice = reply.choices[0]
        message = choice.message.model_dump(exclude_none=True)
        return self.got(reply, message, choice.finish_reason, reply.usage, raw.headers)

    def stream(self, body: dict) -> Got:
        message = {"role": "assistant", "content": "", "tool_calls": []}
        finish, usage, chunks = "", None, []
        for chunk in self.client.chat.completions.create(**body, stream=True):
            chunks.append(chunk)
            usage = chunk.usage or usage
            finish = chunk.choices[0].finish_reason or finish
            self.grow(message, chunk.choices[0].delta.model_dump(exclude_none=True))
        if not message["tool_calls"]:
            del message["tool_calls"]
        message["content"] = message["content"] or None
        return self.got(chunks, message, finish, usage)

    def grow(self, message: dict, delta: dict):
        for key in ("content", "refusal", "reasoning_content", "reasoning"):
            if delta.get(key):
                message[key] = (message.get(key) or "") + delta[key]
        for detail in delta.get("reasoning_details") or []:
            merge_detail(message.setdefault("reasoning_details", []), detail)
        for call in delta.get("tool_calls") or []:
            assert call["index"] == len(message["tool_calls"]), "calls come whole and in order"
            call = {k: v for k, v in call.items() if k != "index"}
            message["tool_calls"].append(call)

    def pieces(self, body: dict):
        for chunk in self.client.chat.completions.create(**body, stream=True):
            assert chunk.choices[0].finish_reason in (None, "error"), "a cut stream has no finish"
            if chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    def results(self, calls: list[Called], texts: list[str]) -> list:
        return [{"role": "tool", "tool_call_id": c.id, "content": t} for c, t in zip(calls, texts)]


def merge_detail(details: list[dict], new: dict):
    """As OpenRouter's own client does: pieces of one index are one block."""
    for old in details:
        if old.get("index") == new.get("index") and old["type"] == new["type"]:
            for key, value in new.items():
                grows = key in ("text", "summary", "data") and isinstance(old.get(key), str)
                old[key] = old[key] + value if grows else value
            return
    details.append(dict(new))


class ResponsesDoor(Door):
    name, path = "responses", "/v1/responses"
    library = openai

    def __init__(self, server):
        super().__init__(server)
        self.client = openai.OpenAI(base_url=server.url, api_key="unused", max_retries=0)

    def body(self, model: str, want: Want) -> dict:
        parts = [{"type": "input_text", "text": want.prompt}]
        if want.image:
            parts.append({"type": "input_image", "image_url": png(want.image), "detail": "auto"})
        if want.document:
            parts.append(
                {"type": "input_file", "filename": "a.pdf", "file_data": pdf(want.document)}
            )
        items = want.history or [{"role": "user", "content": parts}]
        if want.developer:
            items = [{"role": "developer", "content": want.developer}, *items]
        body = {"model": model, "input": items, "store": False}
        if want.system:
            body["instructions"] = want.system
        if want.tools:
            body["tools"] = [
                {"type": "function", "name": n, "parameters": p, "strict": False, "description": n}
                for n, p in want.tools.items()
            ]
        if want.choice in ("auto", "none", "required"):
            body["tool_choice"] = want.choice
        elif want.choice:
            body["tool_choice"] = {"type": "function", "name": want.choice}
        if want.parallel is not None:
            body["parallel_tool_calls"] = want.parallel
        if want.schema:
            form = {"type": "json_schema", "name": "answer", "schema": want.schema, "strict": True}
            body["text"] = {"format": form}
        if want.effort:
            body["reasoning"] = {"effort": want.effort, "summary": "auto"}
            body["include"] = ["reasoning.encrypted_content"]
        if want.max_tokens:
            body["max_output_tokens"] = want.max_tokens
        return body | want.more

    def got(self, reply, headers=None) -> Got:
        out = Got(reply.output_text, raw=reply, headers=headers or {})
        for item in reply.output:
            dumped = item.model_dump(exclude_none=True, exclude={"parsed_arguments", "parsed"})
            for part in dumped.get("content") or []:
                part.pop("parsed", None)
            out.said.append(dumped)
            if item.type == "function_call":
                out.calls.append(Called(item.call_id, item.name, item.arguments))
            elif item.type == "reasoning":
                texts = [s.text for s in item.summary] + [c.text for c in item.content or []]
                out.thought += "".join(texts)
            elif item.type == "message":
                refusals = [p.refusal for p in item.content if p.type == "refusal"]
                out.refusal += "".join(refusals)
        why = reply.incomplete_details.reason if reply.incomplete_details else "stop"
        out.finish = {"max_output_tokens": "length", "content_filter": "refusal"}.get(why, why)
        if out.calls:
            out.finish = "tool_calls"
        if out.refusal:
            out.finish = "refusal"
        u = reply.usage
        out.usage = {
            "input": u.input_tokens,
            "output": u.output_tokens,
            "cached": u.input_tokens_details.cached_tokens,
            "reasoning": u.output_tokens_details.reasoning_tokens,
        }
        return out

    def unary(self, body: dict) -> Got:
        raw = self.client.responses.with_raw_response.create(**body)
        return self.got(raw.parse(), raw.headers)

    def stream(self, body: dict) -> Got:
        """Through the library's own helper, which puts the response together from its parts; what
        the last event says must be the same."""
        with self.client.responses.stream(**body) as s:
            events = list(s)
        assert [e.sequence_number for e in events if hasattr(e, "sequence_number")] == list(
            range(len(events))
        )
        got = self.got(events[-1].response)
        texts = [e.delta for e in events if e.type == "response.output_text.delta"]
        assert "".join(texts) == got.text, "the deltas are the text"
        return got

    def pieces(self, body: dict):
        for event in self.client.responses.create(**body, stream=True):
            assert event.type not in ("response.completed", "response.incomplete")
            if event.type == "response.output_text.delta":
                yield event.delta
            if event.type == "response.failed":
                raise openai.APIError(event.response.error.message, None, body=None)
            if event.type == "error":
                raise openai.APIError(event.message, None, body=None)

    def results(self, calls: list[Called], texts: list[str]) -> list:
        return [
            {"type": "function_call_output", "call_id": c.id, "output": t}
            for c, t in zip(calls, texts)
        ]


class MessagesDoor(Door):
    name, path = "messages", "/v1/messages"
    library = anthropic

    def __init__(self, server):
        super().__init__(server)
        url = server.url.removesuffix("/v1")
        self.client = anthropic.Anthropic(base_url=url, api_key="unused", max_retries=0)

    def body(self, model: str, want: Want) -> dict:
        parts = [{"type": "text", "text": want.prompt}]
        if want.image:
            source = {"type": "base64", "media_type": "image/png", "data": want.image}
            parts.append({"type": "image", "source": source})
        if want.document:
            source = {"type": "base64", "media_type": "application/pdf", "data": want.document}
            parts.append({"type": "document", "source": source, "title": "a.pdf"})
        body = {
            "model": model,
            "max_tokens": want.max_tokens or 4096,
            "messages": want.history or [{"role": "user", "content": parts}],
        }
        system = [s for s in (want.system, want.developer) if s]
        if system:
            body["system"] = [{"type": "text", "text": s} for s in system]
        if want.tools:
            body["tools"] = [
                {"name": n, "description": n, "input_schema": p} for n, p in want.tools.items()
            ]
        self.choose(body, want)
        if want.schema:
            body["output_config"] = {"format": {"type": "json_schema", "schema": want.schema}}
        if want.effort:
            body["thinking"] = {"type": "enabled", "budget_tokens": 2048}
        return body | want.more

    def choose(self, body: dict, want: Want):
        choice = None
        if want.choice in ("auto", "none"):
            choice = {"type": want.choice}
        elif want.choice:
            named = {"type": "tool", "name": want.choice}
            choice = {"type": "any"} if want.choice == "required" else named
        if want.parallel is not None:
            choice = (choice or {"type": "auto"}) | {"disable_parallel_tool_use": not want.parallel}
        if choice:
            body["tool_choice"] = choice

    def got(self, reply, headers=None) -> Got:
        content = [b.model_dump(exclude_none=True) for b in reply.content]
        for block in content:
            block.pop("parsed_output", None)
        out = Got(raw=reply, said=[{"role": "assistant", "content": content}])
        for block in reply.content:
            if block.type == "text":
                out.text += block.text
            elif block.type == "thinking":
                out.thought += block.thinking
            elif block.type == "tool_use":
                arguments = json.dumps(block.input, separators=(",", ":"), ensure_ascii=False)
                out.calls.append(Called(block.id, block.name, arguments))
        finish = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
        out.finish = finish.get(reply.stop_reason, reply.stop_reason)
        if reply.stop_reason == "refusal" and reply.stop_details:
            out.refusal = reply.stop_details.explanation or ""
        u = reply.usage
        cached = u.cache_read_input_tokens or 0
        details = u.output_tokens_details
        out.usage = {
            "input": u.input_tokens + cached + (u.cache_creation_input_tokens or 0),
            "output": u.output_tokens,
            "cached": cached,
            "reasoning": details and details.thinking_tokens,
        }
        out.headers = headers or {}
        return out

    def unary(self, body: dict) -> Got:
        raw = self.client.messages.with_raw_response.create(**body)
        return self.got(raw.parse(), raw.headers)

    def stream(self, body: dict) -> Got:
        with self.client.messages.stream(**body) as s:
            return self.got(s.get_final_message())

    def pieces(self, body: dict):
        for event in self.client.messages.create(**body, stream=True):
            assert event.type != "message_stop", "a cut stream does not stop"
            if event.type == "content_block_delta":
                yield event.delta.text

    def results(self, calls: list[Called], texts: list[str]) -> list:
        blocks = [
            {"type": "tool_result", "tool_use_id": c.id, "content": t} for c, t in zip(calls, texts)
        ]
        return [{"role": "user", "content": blocks}]


DOORS = {d.name: d for d in (ChatDoor, ResponsesDoor, MessagesDoor)}
