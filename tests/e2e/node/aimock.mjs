// aimock as an upstream: prints its URL, answers until its standard input ends.
import { LLMock } from "@copilotkit/aimock";

const mock = new LLMock({ port: 0, host: "127.0.0.1" });
const city = { name: "weather", arguments: '{"city":"Oslo \\"North\\""}' };
// the first that fits answers; a tool's result at the end goes before the user's words
mock.on({ predicate: (r) => r.messages.at(-1).role === "tool" }, { content: "it is cold there" });
mock.on({ userMessage: "weather" }, { toolCalls: [city, { ...city, arguments: "{}" }] });
mock.on({ userMessage: "think" }, { content: "forty-two", reasoning: "six times seven" });
mock.on({ userMessage: "limit" }, {
  error: { message: "slow down", type: "rate_limit_error" }, status: 429, retryAfter: 7,
});
mock.on({ userMessage: "hello" }, { content: "hello from the other side, \u00e9\u20ac\u{1f9ed}" });
await mock.start();
console.log(mock.url);
process.stdin.on("end", () => process.exit(0)).resume();
