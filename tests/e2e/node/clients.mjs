// Node's client libraries in front of upstreams of every kind. FUSOR_URL names the server,
// CLIENTS and MODELS (JSON: kind -> prefix of a model's name) what to try. Each test is a case of
// its own: test_node_clients.py starts this file and reads its TAP.
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { Mistral } from "@mistralai/mistralai";
import * as mistralErrors from "@mistralai/mistralai/models/errors";
import OpenAI from "openai";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createMistral } from "@ai-sdk/mistral";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

const url = process.env.FUSOR_URL;
const root = url.replace(/\/v1$/, "");
const models = JSON.parse(process.env.MODELS);
const messages = [{ role: "user", content: "h\u00e9llo you" }];
const schema = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const OSLO = encodeURIComponent('{"city":"Oslo"}');
const RESULT = "result was -3 in Oslo and -3 in Oslo";
const weather = ({ city }) => `-3 in ${city}`;

// --- the libraries of the providers -------------------------------------------------------------

// Each: text, pieces (streamed), tools (a round trip, streamed), structured, limit (what a 429 is),
// leave (after the first piece).

function openaiChat() {
  const client = new OpenAI({ baseURL: url, apiKey: "x", maxRetries: 0 });
  const tools = [{ type: "function", function: { name: "weather", parameters: schema } }];
  const create = (more) => client.chat.completions.create({ messages, ...more });
  return {
    text: async (model) => (await create({ model })).choices[0].message.content,
    async *pieces(model, signal) {
      for await (const c of await client.chat.completions.create(
        { model, messages, stream: true }, { signal }))
        yield c.choices[0].delta.content ?? "";
    },
    async tools(model) {
      const turn = async (said) =>
        (await client.chat.completions.stream({ model, messages: said, tools })
          .finalChatCompletion()).choices[0].message;
      const first = await turn(messages);
      const results = first.tool_calls.map((c) => ({
        role: "tool", tool_call_id: c.id, content: weather(JSON.parse(c.function.arguments)),
      }));
      return (await turn([...messages, first, ...results])).content;
    },
    async structured(model) {
      const response_format = {
        type: "json_schema", json_schema: { name: "place", schema, strict: true },
      };
      return (await client.chat.completions.parse({ model, messages, response_format }))
        .choices[0].message.parsed;
    },
    limit: (e) => e instanceof OpenAI.RateLimitError && e.headers.get("retry-after"),
  };
}

function openaiResponses() {
  const client = new OpenAI({ baseURL: url, apiKey: "x", maxRetries: 0 });
  const tools = [{ type: "function", name: "weather", parameters: schema, strict: true }];
  const create = (more) => client.responses.create({ input: messages, store: false, ...more });
  return {
    text: async (model) => (await create({ model })).output_text,
    async *pieces(model, signal) {
      const body = { model, input: messages, store: false, stream: true };
      for await (const e of await client.responses.create(body, { signal }))
        if (e.type === "response.output_text.delta") yield e.delta;
    },
    async tools(model) {
      // what the stream helper adds for its users is not for the API
      const bare = ({ parsed_arguments, ...item }) => item;
      const turn = async (input) => client.responses.stream({
        model, input: input.map(bare), tools, store: false,
      }).finalResponse();
      const first = await turn(messages);
      const calls = first.output.filter((i) => i.type === "function_call");
      const results = calls.map((c) => ({
        type: "function_call_output", call_id: c.call_id, output: weather(JSON.parse(c.arguments)),
      }));
      return (await turn([...messages, ...first.output, ...results])).output_text;
    },
    async structured(model) {
      const format = { type: "json_schema", name: "place", schema, strict: true };
      return (await client.responses.parse({
        model, input: messages, store: false, text: { format },
      })).output_parsed;
    },
    limit: (e) => e instanceof OpenAI.RateLimitError && e.headers.get("retry-after"),
  };
}

function anthropic() {
  const client = new Anthropic({ baseURL: root, apiKey: "x", maxRetries: 0 });
  const tools = [{ name: "weather", input_schema: schema }];
  const more = { max_tokens: 4096 };
  const text = (message) => message.content.filter((b) => b.type === "text")
    .map((b) => b.text).join("");
  return {
    text: async (model) => text(await client.messages.create({ model, messages, ...more })),
    async *pieces(model, signal) {
      for await (const e of client.messages.stream({ model, messages, ...more }, { signal }))
        if (e.type === "content_block_delta") yield e.delta.text;
    },
    async tools(model) {
      const turn = (said) =>
        client.messages.stream({ model, messages: said, tools, ...more }).finalMessage();
      const first = await turn(messages);
      assert.equal(first.stop_reason, "tool_use");
      const results = first.content.filter((b) => b.type === "tool_use").map((b) => ({
        type: "tool_result", tool_use_id: b.id, content: weather(b.input),
      }));
      const said = { role: "assistant", content: first.content };
      return text(await turn([...messages, said, { role: "user", content: results }]));
    },
    async structured(model) {
      const output_config = { format: { type: "json_schema", schema } };
      return JSON.parse(text(await client.messages.create(
        { model, messages, output_config, ...more })));
    },
    limit: (e) => e instanceof Anthropic.RateLimitError && e.headers.get("retry-after"),
  };
}

function mistral() {
  const client = new Mistral({ apiKey: "x", serverURL: root });
  const tools = [{ type: "function", function: { name: "weather", parameters: schema } }];
  return {
    text: async (model) =>
      (await client.chat.complete({ model, messages })).choices[0].message.content,
    async *pieces(model, signal) {
      for await (const e of await client.chat.stream({ model, messages }, { signal }))
        yield e.data.choices[0].delta.content ?? "";
    },
    async tools(model) {
      const turn = async (said) => {
        const message = { role: "assistant", content: "", toolCalls: [] };
        for await (const e of await client.chat.stream({ model, messages: said, tools })) {
          const { delta } = e.data.choices[0];
          message.content += delta.content ?? "";
          message.toolCalls.push(...(delta.toolCalls ?? []));
        }
        return message;
      };
      const first = await turn(messages);
      const results = first.toolCalls.map((c) => ({
        role: "tool", toolCallId: c.id, content: weather(JSON.parse(c.function.arguments)),
      }));
      const { toolCalls, ...last } = await turn([...messages, first, ...results]);
      assert.deepEqual(toolCalls, []);
      return last.content;
    },
    async structured(model) {
      const responseFormat = {
        type: "json_schema", jsonSchema: { name: "place", schemaDefinition: schema, strict: true },
      };
      const reply = await client.chat.complete({ model, messages, responseFormat });
      return JSON.parse(reply.choices[0].message.content);
    },
    limit: (e) => e instanceof mistralErrors.MistralError && e.statusCode === 429 &&
      e.headers.get("retry-after"),
  };
}

// --- Vercel's AI SDK ----------------------------------------------------------------------------

function vercel(of) {
  const settings = (model) => ({ model: of(model), maxRetries: 0 });
  const prompt = messages[0].content;
  return {
    text: async (model) => (await generateText({ ...settings(model), prompt })).text,
    async *pieces(model, abortSignal) {
      const errors = [];
      const { textStream } = streamText({
        ...settings(model), prompt, abortSignal, onError: ({ error }) => errors.push(error),
      });
      yield* textStream;
      if (errors.length) throw errors[0];
    },
    async tools(model) {
      const tools = {
        weather: tool({ inputSchema: jsonSchema(schema), execute: async (x) => weather(x) }),
      };
      const run = streamText({
        ...settings(model), prompt, tools, stopWhen: stepCountIs(3),
        onError: ({ error }) => { throw error; },
      });
      let text = "";
      for await (const part of run.fullStream) {
        if (part.type === "error") throw part.error;
        if (part.type === "text-delta") text += part.text;
      }
      return text;
    },
    async structured(model) {
      const output = Output.object({ schema: jsonSchema(schema) });
      return (await generateText({ ...settings(model), prompt, output })).output;
    },
    limit: (e) => APICallError.isInstance(e) && e.statusCode === 429 &&
      e.responseHeaders["retry-after"],
  };
}

const made = { baseURL: url, apiKey: "x" };
const compatible = createOpenAICompatible({
  name: "fusor", supportsStructuredOutputs: true, includeUsage: true, ...made,
});
const clients = {
  "openai-chat": openaiChat,
  "openai-responses": openaiResponses,
  anthropic,
  mistral,
  "ai-openai": () => vercel((m) => createOpenAI(made)(m)),
  "ai-openai-chat": () => vercel((m) => createOpenAI(made).chat(m)),
  "ai-anthropic": () => vercel((m) => createAnthropic(made)(m)),
  "ai-mistral": () => vercel((m) => createMistral(made)(m)),
  "ai-compatible": () => vercel((m) => compatible(m)),
};

// --- cases --------------------------------------------------------------------------------------

async function collect(pieces) {
  const out = [];
  for await (const p of pieces) out.push(p);
  return out;
}

const cases = {
  text: async (c, at) => assert.equal(await c.text(at("echo")), "h\u00e9llo you"),
  stream: async (c, at) => {
    const pieces = (await collect(c.pieces(at("say:n=4")))).filter(Boolean);
    assert.equal(pieces.join(""), "w0 w1 w2 w3 ");
    assert.ok(pieces.length > 1, "piece by piece");
  },
  tools: async (c, at) =>
    assert.equal(await c.tools(at(`tools:calls=2,arguments=${OSLO}`)), RESULT),
  structured: async (c, at) =>
    assert.deepEqual(await c.structured(at(`say:text=${OSLO}`)), { city: "Oslo" }),
  // a model of its own: one that has asked for time is left alone for so long
  limit: async (c, at, name) =>
    assert.rejects(c.text(at(`status:code=429,retry=7,for=${name}`)), (e) => c.limit(e) === "7"),
  broken: async (c, at) =>
    assert.rejects(async () => {
      const pieces = await collect(c.pieces(at("say:n=6,gap=5,cut=2")));
      assert.fail(`ended well: ${pieces}`);
    }, (e) => e.code !== "ERR_ASSERTION"),
  abort: async (c, at) => {
    const stop = new AbortController();
    let n = 0;
    try {
      for await (const piece of c.pieces(at("say:n=1000,gap=10"), stop.signal))
        if (piece && ++n === 3) stop.abort();
    } catch (e) {
      assert.ok(stop.signal.aborted, e);
    }
    assert.ok(n >= 3 && n < 100, `${n} pieces`);
  },
};

for (const name of process.env.CLIENTS.split(" "))
  for (const [kind, prefix] of Object.entries(models))
    for (const [what, run] of Object.entries(cases))
      test(`${name} ${kind} ${what}`, () => run(clients[name](), (m) => prefix + m, name));
