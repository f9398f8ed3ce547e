"""What the mock provider has beside models that talk: lists, embeddings, completions, fill in the
middle, token counts. Checked as strictly, answered in a line, delivered or not as a chat is."""

import base64
import struct

import behave
import delivery
import strict
import strict_mistral
import strict_responses
from asked import Asked
from behave import Answer, Spec
from delivery import Frame, whole
from talk_chat import CREATED, Chat

PATHS = {
    "/v1/embeddings": "CreateEmbeddingRequest",
    "/v1/completions": "CreateCompletionRequest",
    "/mistral/v1/embeddings": "EmbeddingRequest",
    "/mistral/v1/fim/completions": "FIMCompletionRequest",
    "/v1/messages/count_tokens": "",
}


def models(path: str, ids: list[str]) -> dict:
    """The list of a provider's models, in its own shape."""
    if path.startswith("/v1beta"):
        methods = ["generateContent", "countTokens"]
        return {
            "models": [
                {
                    "name": f"models/{m}",
                    "displayName": m,
                    "inputTokenLimit": 1048576,
                    "outputTokenLimit": 65536,
                    "supportedGenerationMethods": methods,
                }
                for m in ids
            ]
        }
    data = [{"id": m, "object": "model", "created": 1, "owned_by": "mock"} for m in ids]
    if path.startswith("/mistral"):
        can = {"completion_chat": True, "function_calling": True, "vision": True}
        more = {"type": "base", "capabilities": can, "max_context_length": 131072, "aliases": []}
        data = [d | more for d in data]
    return {"object": "list", "data": data}


def findings(call, path: str) -> list[str]:
    if path.endswith("/count_tokens"):
        return call.talk.check(call.body, count=True)
    if path.startswith("/mistral"):
        details = strict_mistral.details(call.body, PATHS[path])
        return [f"{d['loc']}: {d['msg']}" for d in details]
    v = strict_responses.named(PATHS[path])
    return [f"{list(e.path)}: {e.message[:200]}" for e in v.iter_errors(call.body)] if v else []


def numbers(text, n: int) -> list[float]:
    """Those of a text: exact in 32 bits."""
    seed = sum(str(text).encode())
    return [(seed * (i + 1) % 256) / 256 for i in range(n)]


def embeddings(body: dict) -> dict:
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    n = body.get("dimensions") or body.get("output_dimension") or 4
    data = []
    for i, text in enumerate(texts):
        vector = numbers(text, n)
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{n}f", *vector)).decode()
        data.append({"object": "embedding", "index": i, "embedding": vector})
    usage = {"prompt_tokens": 3 * len(texts), "total_tokens": 3 * len(texts)}
    head = {"id": "emb-mock", "object": "list", "model": body["model"]}
    return head | {"data": data, "usage": usage}


def words(body: dict) -> list[str]:
    """What a completion says that is not told what to say."""
    suffix = [" before ", str(body["suffix"])] if body.get("suffix") else []
    return ["after ", str(body["prompt"]), *suffix]


class Thin(Chat):
    """Of one request. Errors are OpenAI's."""

    name = "thin"

    def __init__(self, path: str, body: dict):
        self.body = body
        self.embeds = path.endswith("/embeddings")
        self.fim = path.endswith("/fim/completions")  # which Mistral answers as chat

    def pieces(self, spec: Spec, answer: Answer) -> list[str]:
        return answer.pieces if spec.kind == "say" else words(self.body)

    def piece(self, text: str, finish: str | None, key: str) -> dict:
        """An answer that says this; key: what a chat calls it."""
        said = {key: {"role": "assistant", "content": text}} if self.fim else {"text": text}
        choice = {"index": 0, **said, "finish_reason": finish}
        kind = "text_completion"
        if self.fim:
            kind = "chat.completion" + (".chunk" if key == "delta" else "")
        else:
            choice["logprobs"] = None
        head = {"id": "cmpl-mock", "object": kind, "created": CREATED, "model": self.body["model"]}
        return head | {"choices": [choice]}

    def unary(self, spec: Spec, model: str, answer: Answer, asked: Asked) -> dict:
        reply = embeddings(self.body) if self.embeds else None
        if reply is None:
            reply = self.piece("".join(self.pieces(spec, answer)), "stop", "message")
            reply["usage"] = self.usage(spec, answer)
        if spec.text("usage") == "none":
            del reply["usage"]
        return reply

    def frames(self, spec: Spec, model: str, answer: Answer, asked: Asked):
        """Usage comes with the finish at Mistral, and behind it at OpenAI to who asks for it."""
        usage = {"usage": self.usage(spec, answer)}
        for text in self.pieces(spec, answer):
            yield Frame(self.piece(text, None, "delta"), content=True)
        yield Frame(self.piece("", "stop", "delta") | (usage if self.fim else {}), finish=True)
        if asked.usage_wanted and not self.fim:
            yield Frame(self.piece("", None, "delta") | {"choices": []} | usage)
        if spec.num("done", 1):
            yield Frame("[DONE]")


def answer(mock, call, path: str, raw: bytes):
    """Steps."""
    talk = call.talk
    try:
        call.body = strict.parse(raw)
        call.model = call.body.get("model", "")
        call.findings += findings(call, path)
    except ValueError as e:
        call.findings.append(f"body: {e}")
    if talk and not mock.direct:
        call.findings += talk.check_head(call.headers, mock.key)
    elif not mock.direct:
        call.findings += strict.check_head(call.headers, mock.key)
    if call.findings:
        return iter([whole(400, {"error": {"message": "; ".join(call.findings)}})])
    if path.endswith("/count_tokens"):
        return iter([whole(200, {"input_tokens": len(raw) // 4})])
    call.talk = Thin(path, call.body)
    wanted = (call.body.get("stream_options") or {}).get("include_usage", False)
    asked = Asked(stream=bool(call.body.get("stream")), usage_wanted=wanted)
    spec = behave.Spec.parse(mock.scripted(call.model))
    return delivery.steps(call.talk, spec, call.model, asked)
