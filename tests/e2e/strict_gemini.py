"""What Gemini would say to a request of generateContent: a schema in which nothing unknown is
allowed ("Unknown name"), and the rules between contents.

Sources: ai.google.dev/api/generate-content and /api/caching (Content, Part, Tool, Schema),
ai.google.dev/gemini-api/docs/thought-signatures; errors as the API sends them.
"""

import functools

import seal
from asked import Asked
from strict_messages import BASE64, BOOL, FILLED, OBJECT, STRING, best, many, obj, ref

NUMBER = {"type": "number"}
COUNT = {"type": "integer"}
ANY = "skip_thought_signature_validator"

# Part: one of the first five, and what may stand beside it.
DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
PART = obj(
    "",
    " ".join(DATA) + " thought thoughtSignature videoMetadata mediaResolution",
    text=STRING,
    inlineData=obj("mimeType data", "displayName", mimeType=FILLED, data=BASE64),
    fileData=obj("fileUri", "mimeType displayName", fileUri=FILLED, mimeType=FILLED),
    functionCall=obj("name", "args id", name=FILLED, args=OBJECT, id=FILLED),
    functionResponse=obj(
        "name response", "id parts willContinue scheduling", name=FILLED, response=OBJECT, id=FILLED
    ),
    thought=BOOL,
    thoughtSignature=FILLED,
)
CONTENT = obj("parts", "role", role={"enum": ["user", "model"]}, parts=many(PART) | {"minItems": 1})
SCHEMA = obj(
    "",
    "type format title description nullable enum maxItems minItems properties required "
    "minProperties maxProperties minLength maxLength pattern example anyOf propertyOrdering "
    "default items minimum maximum",
    type={"enum": [t for name in ("STRING NUMBER INTEGER BOOLEAN ARRAY OBJECT NULL".split())
                   for t in (name, name.lower())]},
    enum=many(STRING),
    nullable=BOOL,
    properties={"type": "object", "additionalProperties": ref("schema")},
    required=many(STRING),
    anyOf=many(ref("schema")),
    items=ref("schema"),
)  # fmt: skip
DECLARATION = obj(
    "name",
    # Google's own library writes the one with underscores
    "description parameters parametersJsonSchema parameters_json_schema response "
    "responseJsonSchema behavior",
    name={"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}$"},
    description=STRING,
    parameters=ref("schema"),
    parametersJsonSchema=OBJECT,
    parameters_json_schema=OBJECT,
)
CONFIG = obj(
    "",
    "stopSequences responseMimeType responseSchema responseJsonSchema _responseJsonSchema "
    "responseModalities candidateCount maxOutputTokens temperature topP topK seed "
    "presencePenalty frequencyPenalty responseLogprobs logprobs speechConfig thinkingConfig "
    "imageConfig mediaResolution enableEnhancedCivicAnswers",
    stopSequences=many(FILLED) | {"maxItems": 5},
    responseMimeType={"enum": ["text/plain", "application/json", "text/x.enum"]},
    responseSchema=ref("schema"),
    responseJsonSchema=OBJECT,
    candidateCount=COUNT,
    maxOutputTokens=COUNT | {"minimum": 1},
    temperature=NUMBER | {"minimum": 0, "maximum": 2},
    topP=NUMBER,
    topK=COUNT,
    seed=COUNT | {"minimum": -(1 << 31), "maximum": (1 << 31) - 1},
    presencePenalty=NUMBER,
    frequencyPenalty=NUMBER,
    thinkingConfig=obj(
        "",
        "includeThoughts thinkingBudget thinkingLevel",
        includeThoughts=BOOL,
        thinkingBudget=COUNT,
        thinkingLevel={"enum": [w for word in ("minimal", "low", "medium", "high")
                                for w in (word, word.upper())]},
    ),
)  # fmt: skip
CALLING = obj(
    "",
    "mode allowedFunctionNames",
    mode={"enum": ["AUTO", "ANY", "NONE", "VALIDATED"]},
    allowedFunctionNames=many(FILLED) | {"minItems": 1},
)
REQUEST = obj(
    "contents",
    "systemInstruction tools toolConfig generationConfig safetySettings cachedContent model "
    "serviceTier store",
    contents=many(CONTENT) | {"minItems": 1},
    systemInstruction=CONTENT,
    tools=many(obj("", "functionDeclarations googleSearch urlContext codeExecution",
                   functionDeclarations=many(DECLARATION))),
    toolConfig=obj("", "functionCallingConfig", functionCallingConfig=CALLING),
    generationConfig=CONFIG,
)  # fmt: skip


@functools.cache
def validator():
    import jsonschema

    return jsonschema.Draft202012Validator(REQUEST | {"$defs": {"schema": SCHEMA}})


def schema_findings(body: dict) -> list[str]:
    errors = map(best, validator().iter_errors(body))
    return [f"at '{'.'.join(map(str, e.absolute_path))}': {e.message[:300]}" for e in errors]


# --- rules -----------------------------------------------------------------------------------


def parts_of(body: dict) -> list[str]:
    bad = []
    for i, content in enumerate(body["contents"]):
        for j, part in enumerate(content["parts"]):
            if sum(d in part for d in DATA) != 1:
                bad.append(f"contents[{i}].parts[{j}].data: required oneof field 'data' must have "
                           "one initialized field")  # fmt: skip
    return bad


def turns(contents: list[dict]) -> list[str]:
    """Calls directly behind the user, all of their results in the next content."""
    bad, calls, before = [], [], None
    for i, content in enumerate(contents):
        role = content.get("role", "user")
        responses = [p["functionResponse"] for p in content["parts"] if "functionResponse" in p]
        if (calls or responses) and len(responses) != len(calls):
            bad.append(
                f"contents[{i}]: Please ensure that the number of function response parts is equal "
                f"to the number of function call parts of the function call turn: {len(responses)} "
                f"of {len(calls)}."
            )
        elif [r["name"] for r in responses] != [c["name"] for c in calls]:
            bad.append(f"contents[{i}]: responses are in another order than the calls")
        ids = [(c.get("id"), r.get("id")) for c, r in zip(calls, responses)]
        bad += [f"contents[{i}]: response {r} to call {c}" for c, r in ids if c != r]
        calls = [p["functionCall"] for p in content["parts"] if "functionCall" in p]
        if responses and role != "user":
            bad.append(f"contents[{i}]: function responses of role {role}")
        if calls and (role != "model" or before != "user"):
            bad.append(f"contents[{i}]: Please ensure that function call turn comes immediately "
                       "after a user turn or after a function response turn.")  # fmt: skip
        before = role
    if contents[-1].get("role", "user") != "user":
        bad.append("Please ensure that single turn requests end with a user role")
    return bad


def signatures(contents: list[dict], wanted: bool) -> list[str]:
    """`wanted`: of the first call of each step, exactly as it was given. Others that are there
    must be ours too, or say that there is none."""
    bad = []
    for i, content in enumerate(contents):
        first = True
        for j, part in enumerate(content["parts"]):
            signature = part.get("thoughtSignature")
            if signature and signature != ANY and not seal.made_here(signature):
                bad.append(f"contents[{i}].parts[{j}]: Thought signature is not valid.")
            if "functionCall" not in part:
                continue
            name = part["functionCall"]["name"]
            if wanted and first and seal.plain(signature or "") != seal.sign("first then ", "part"):
                bad.append(f"Function call is missing a thought_signature in functionCall parts. "
                           f"This is required for tools to work correctly: {name}, position {j}"
                           )  # fmt: skip
            first = False
    return bad


def config(body: dict, asked: Asked) -> list[str]:
    bad = []
    made = body.get("generationConfig", {})
    schemas = [k for k in made if k.endswith("Schema")]
    if schemas and made.get("responseMimeType") != "application/json":
        bad.append(f"{schemas[0]} needs responseMimeType application/json")
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    if "allowedFunctionNames" in calling:
        if calling.get("mode") not in ("ANY", "VALIDATED"):
            bad.append("Allowed function names should only be set when the mode is ANY")
        bad += [f"{n} is not declared" for n in calling["allowedFunctionNames"]
                if n not in asked.tools]  # fmt: skip
    if calling and not asked.tools:
        bad.append("Function calling config is set without function_declarations.")
    for tool in body.get("tools", []):
        for d in tool.get("functionDeclarations", []):
            if "parameters" in d and "parametersJsonSchema" in d:
                bad.append(f"{d['name']} has both parameters and parametersJsonSchema")
            if d.get("parameters", {}).get("properties") == {}:
                bad.append(
                    f"{d['name']}: parameters.properties: should be non-empty for OBJECT type"
                )
    return bad


def rules(body: dict, asked: Asked, wanted: bool, has_ids: bool) -> list[str]:
    bad = parts_of(body)
    bad += turns(body["contents"]) + signatures(body["contents"], wanted) + config(body, asked)
    if not has_ids:
        bad += [
            f"Unknown name \"id\" at 'contents[{i}].parts[{j}]'"
            for i, c in enumerate(body["contents"])
            for j, p in enumerate(c["parts"])
            if "id" in p.get("functionCall", {}) or "id" in p.get("functionResponse", {})
        ]
    return bad
