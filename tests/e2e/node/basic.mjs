// OpenAI's Node library against a running server: FUSOR_URL names it.
// Each test is a case of its own in the whole run: test_node.py starts this file, reads its TAP.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.FUSOR_URL, apiKey: "unused", maxRetries: 0 });
const messages = [{ role: "user", content: "Hi" }];
const tools = [{
  type: "function",
  function: {
    name: "weather",
    parameters: { type: "object", properties: { city: { type: "string" } } },
  },
}];

const create = (model, more = {}) => client.chat.completions.create({ model, messages, ...more });

async function collect(model, more = {}) {
  const chunks = [];
  for await (const chunk of await create(model, { stream: true, ...more })) chunks.push(chunk);
  return chunks;
}

const said = (chunks) => chunks.map((c) => c.choices[0]?.delta.content ?? "").join("");

test("models are listed", async () => {
  const ids = (await client.models.list()).data.map((m) => m.id);
  assert.ok(ids.includes("trio") && ids.includes("alpha"));
  assert.equal((await client.models.retrieve("alpha")).id, "alpha");
});

test("chat unary", async () => {
  const reply = await create("alpha");
  assert.equal(reply.choices[0].message.content, "alpha says hello");
  assert.equal(reply.choices[0].message.refusal, null);
  assert.ok(reply.usage.total_tokens > 0);
});

test("chat stream in the default shape", async () => {
  const chunks = await collect("mock/say:n=4");
  assert.equal(said(chunks), "w0 w1 w2 w3 ");
  assert.ok(chunks.every((c) => c.choices.length === 1));
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
});

test("chat stream with include_usage", async () => {
  const chunks = await collect("mock/say:n=4", { stream_options: { include_usage: true } });
  assert.equal(said(chunks), "w0 w1 w2 w3 ");
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(0).usage, null);
});

for (const frag of ["", ",frag=5"]) {
  test(`tool calls streamed${frag}`, async () => {
    const model = `mock/tools:calls=2${frag}`;
    const stream = client.chat.completions.stream({ model, messages, tools });
    const choice = (await stream.finalChatCompletion()).choices[0];
    assert.equal(choice.finish_reason, "tool_calls");
    assert.equal(choice.message.tool_calls.length, 2);
    for (const call of choice.message.tool_calls)
      assert.equal(JSON.parse(call.function.arguments).city, 'Oslo "North"');
  });
}

test("tool round trip", async () => {
  const first = (await create("mock/tools", { tools })).choices[0].message;
  const result = { role: "tool", tool_call_id: first.tool_calls[0].id, content: "-3" };
  const second = await client.chat.completions.create({
    model: "mock/tools", tools, messages: [...messages, first, result],
  });
  assert.equal(second.choices[0].message.content, "result was -3");
});

test("an unknown model is a NotFoundError with near names", async () => {
  await assert.rejects(create("alhpa"), (e) => {
    assert.ok(e instanceof OpenAI.NotFoundError);
    assert.equal(e.code, "model_not_found");
    return /alpha/.test(e.message);
  });
});

test("a bad field is a BadRequestError with its name", async () => {
  await assert.rejects(create("alpha", { temperature: 9 }), (e) => {
    assert.ok(e instanceof OpenAI.BadRequestError);
    return e.param === "temperature";
  });
});

test("a rate limit is a RateLimitError with retry-after", async () => {
  await assert.rejects(create("mock/status:code=429,retry=5"), (e) => {
    assert.ok(e instanceof OpenAI.RateLimitError);
    return e.headers.get("retry-after") === "5";
  });
});

test("a stream that breaks is an error", async () => {
  await assert.rejects(collect("mock/say:n=5,gap=5,cut=2"), OpenAI.APIError);
});

test("merge streamed", async () => {
  const chunks = await collect("trio", { fusion: { quorum: 3 } });
  assert.match(said(chunks), /^MERGED:.*alpha says hello/);
  assert.equal(chunks.at(-1).usage.fusion.members.length, 3);
});

test("best of gives the winner's bytes", async () => {
  const reply = await create("best");
  assert.equal(reply.choices[0].message.content, "beta says hello");
});

test("a fusion object of the request", async () => {
  const reply = await create("trio", {
    fusion: { mode: "best_of", judge: "mock/judge:pick=gamma", quorum: 3 },
  });
  assert.equal(reply.choices[0].message.content, "gamma says hello");
});

test("stream_members frames are valid chunks", async () => {
  const chunks = await collect("trio", { fusion: { stream_members: true, quorum: 3 } });
  const labels = new Set(chunks.filter((c) => c.fusion && !c.fusion.member.judge)
    .map((c) => c.fusion.member.label));
  assert.equal(labels.size, 3);
  assert.match(said(chunks), /^MERGED:/);
});

test("aborting a stream", async () => {
  const stream = await create("mock/say:n=1000,gap=10", { stream: true });
  let n = 0;
  for await (const chunk of stream)
    if (chunk.choices[0].delta.content && ++n === 3) stream.controller.abort();
  assert.equal(n, 3);
});
