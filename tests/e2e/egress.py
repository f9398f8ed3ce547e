"""The upstream kinds that the gateway speaks to, as providers of a configuration that all lead to
the mock, and how a model of each is named so that its kind does what tests want."""

import gateway

KINDS = {
    "chat": {"kind": "openai"},
    "responses": {"kind": "openai", "api": "responses"},
    "anthropic": {"kind": "anthropic"},
    "mistral": {"kind": "mistral"},
    "gemini": {"kind": "gemini"},
}
# Some kinds tell what a model can do by its name: these can do all of it.
NAMES = {"anthropic": "claude-sonnet-4-5+", "gemini": "gemini-3-pro+", "responses": "", "chat": ""}
TALKS = {"chat": "chat", "responses": "responses", "anthropic": "messages", "mistral": "mistral",
         "gemini": "gemini"}  # fmt: skip


def providers(mock, **more) -> dict:
    return {
        name: gateway.provider(mock, **(kind | {"base_url": mock.base(kind["kind"])} | more))
        for name, kind in KINDS.items()
    }


def model(kind: str, behaviour: str) -> str:
    """What a client asks for: `behaviour` (behave.py) at a provider of that kind."""
    return f"{kind}/{NAMES.get(kind, '')}{behaviour}"


def settings(mock) -> dict:
    """A configuration with a provider of each kind, and a recipe over all of them."""
    base = gateway.settings(mock)
    members = {f"m-{k}": {"provider": k, "id": model(k, f"say:text=from%20{k}").partition("/")[2]}
               for k in KINDS}  # fmt: skip
    mix = {"mode": "merge", "panel": list(members), "judge": "writer", "quorum": len(members)}
    return base | {
        "providers": base["providers"] | providers(mock),
        "models": base["models"] | members,
        "fusions": base["fusions"] | {"mix": mix},
    }
