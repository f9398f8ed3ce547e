"""What the mock provider has beside models that talk: lists, embeddings, completions, fill in the
middle, token counts. Checked as strictly, answered in a line."""

import base64
import struct

import strict
import strict_mistral
import strict_responses
from delivery import whole

CREATED = 1_700_000_000
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


def completion(body: dict) -> dict:
    text = f"after {body['prompt']}"
    if body.get("suffix"):
        text += f" before {body['suffix']}"
    choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    return {
        "id": "cmpl-mock",
        "object": "text_completion",
        "created": CREATED,
        "model": body["model"],
        "choices": [choice],
        "usage": usage,
    }


def fim(body: dict) -> dict:
    """Mistral answers these as chat."""
    out = completion(body)
    text = out["choices"][0]["text"]
    message = {"role": "assistant", "content": text, "tool_calls": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return out | {"object": "chat.completion", "choices": [choice]}


def answer(mock, call, path: str, raw: bytes) -> bytes:
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
        return whole(400, {"error": {"message": "; ".join(call.findings)}})
    if path.endswith("/count_tokens"):
        return whole(200, {"input_tokens": len(raw) // 4})
    make = {"embeddings": embeddings, "completions": completion}[path.rpartition("/")[2]]
    if path.endswith("/fim/completions"):
        make = fim
    return whole(200, make(call.body))
