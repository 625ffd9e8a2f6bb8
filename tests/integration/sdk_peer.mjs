// One client made with the official TypeScript SDK, of either generation: it keeps what the server says, and answers what
// it asks. It knows nothing of mcpbridge.

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

// What the SDKs take for a schema that lets everything through: a result is to be shown as it came.
const ANYTHING = { "~standard": { version: 1, vendor: "anything", validate: (value) => ({ value }) } };

const ABILITIES = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } };
const LOG_LEVEL = "io.modelcontextprotocol/logLevel";

// Milliseconds between two looks at what has come.
const LOOK = 10;

// The SDK's classes: `@modelcontextprotocol/sdk` (1.x) or `@modelcontextprotocol/client` (2.x) in this folder.
export async function generation(number, folder) {
  const load = (...path) => import(pathToFileURL(join(folder, "dist", ...path)));
  if (number === 1) {
    const [{ Client }, { StdioClientTransport }, { StreamableHTTPClientTransport }, { SSEClientTransport }, types] =
      await Promise.all([
        load("esm", "client", "index.js"),
        load("esm", "client", "stdio.js"),
        load("esm", "client", "streamableHttp.js"),
        load("esm", "client", "sse.js"),
        load("esm", "types.js"),
      ]);
    return { number, Client, StdioClientTransport, StreamableHTTPClientTransport, SSEClientTransport, types };
  }
  const [main, { StdioClientTransport }] = await Promise.all([load("index.mjs"), load("stdio.mjs")]);
  return { number, ...main, StdioClientTransport };
}

// The content of a form: something for each field that has to be filled in.
function filled({ properties, required = [] }) {
  const samples = { string: "Ada", boolean: true, integer: 7, number: 1.5 };
  return Object.fromEntries(required.map((name) => [name, properties[name].enum?.[0] ?? samples[properties[name].type]]));
}

// Both generations drop the progress that they have read together with the answer: they hand on notifications later than
// answers (github.com/modelcontextprotocol/typescript-sdk/issues/2580). What is read together is chance where the server
// itself is reached; here answers come last.
function answersLast(transport) {
  const receive = transport.onmessage;
  transport.onmessage = (message, extra) => {
    if ("method" in message) {
      receive(message, extra);
    } else {
      setImmediate(receive, message, extra);
    }
  };
}

export class Peer {
  // The server's requests and notifications, in order: method and parameters.
  asked = [];
  told = [];
  action = "accept";
  content = undefined;
  roots = ["file:///one", "file:///two"];
  level = undefined;
  revision = undefined;

  constructor(sdk, way) {
    this.sdk = sdk;
    this.way = way;
    const options = { capabilities: ABILITIES };
    if (way.mode !== undefined && way.mode !== "legacy") {
      options.versionNegotiation = { mode: way.mode };
    }
    this.client = new sdk.Client({ name: "parity", version: "1.0.0" }, options);
    this.answer("sampling/createMessage", "CreateMessageRequestSchema", () => ({
      role: "assistant",
      content: { type: "text", text: "a sample" },
      model: "model-1",
      stopReason: "endTurn",
    }));
    this.answer("elicitation/create", "ElicitRequestSchema", (params) => {
      if (this.action !== "accept" || params.mode === "url") {
        return { action: this.action };
      }
      return { action: this.action, content: this.content ?? filled(params.requestedSchema) };
    });
    this.answer("roots/list", "ListRootsRequestSchema", () => ({
      roots: this.roots.map((uri) => ({ uri, name: uri.slice(8) })),
    }));
    this.client.fallbackNotificationHandler = async ({ method, params }) => {
      this.told.push([method, params]);
    };
  }

  answer(method, schema, reply) {
    this.client.setRequestHandler(this.sdk.number === 1 ? this.sdk.types[schema] : method, async ({ params }) => {
      this.asked.push([method, params]);
      return reply(params);
    });
  }

  // Connect as the way says.
  async connect(options) {
    const { kind, command, env, cwd, url } = this.way;
    let transport;
    if (kind === "stdio") {
      const [program, ...args] = command;
      transport = new this.sdk.StdioClientTransport({ command: program, args, env, cwd, stderr: "ignore" });
    } else {
      const { StreamableHTTPClientTransport, SSEClientTransport } = this.sdk;
      transport = new (kind === "sse" ? SSEClientTransport : StreamableHTTPClientTransport)(new URL(url));
    }
    // The first generation tells the revision to its transport alone.
    const inform = transport.setProtocolVersion?.bind(transport);
    transport.setProtocolVersion = (revision) => {
      this.revision = revision;
      inform?.(revision);
    };
    await this.client.connect(transport, options);
    if (!this.way.unmodified) {
      answersLast(transport);
    }
    this.revision = this.client.getNegotiatedProtocolVersion?.() ?? this.revision;
  }

  get modern() {
    return this.client.getProtocolEra?.() === "modern";
  }

  // Call a tool: its whole result.
  async call(name, args = {}, { meta, ...options } = {}) {
    const params = { name, arguments: args };
    if (meta !== undefined || (this.modern && this.level !== undefined)) {
      params._meta = { ...(this.modern && this.level !== undefined ? { [LOG_LEVEL]: this.level } : {}), ...meta };
    }
    return this.sdk.number === 1 ? this.client.callTool(params, undefined, options) : this.client.callTool(params, options);
  }

  // The text of a tool's result.
  async say(name, args) {
    return (await this.call(name, args)).content[0].text;
  }

  // Send any request: its whole result, unjudged.
  async raw(method, params) {
    const request = params === undefined ? { method } : { method, params };
    return this.client.request(request, this.sdk.number === 1 ? this.sdk.types.ResultSchema : ANYTHING);
  }

  // A whole list, over all its pages.
  async pages(fetch, member) {
    const found = [];
    let cursor;
    do {
      const page = await this.client[fetch](cursor === undefined ? {} : { cursor });
      found.push(...page[member]);
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return found;
  }

  // Which log messages are wanted, in the words of the era.
  async logging(level) {
    this.level = level;
    if (!this.modern) {
      await this.client.setLoggingLevel(level);
    }
  }

  // Ask for changes, in the words of the era. Returned: how to ask no more.
  async watch({ lists = [], resources = [] }) {
    if (this.modern) {
      const wanted = Object.fromEntries(lists.map((kind) => [`${kind}ListChanged`, true]));
      const filter = resources.length ? { ...wanted, resourceSubscriptions: resources } : wanted;
      const subscription = await this.client.listen(filter);
      return () => subscription.close();
    }
    for (const uri of resources) {
      await this.client.subscribeResource({ uri });
    }
    return async () => {
      for (const uri of resources) {
        await this.client.unsubscribeResource({ uri });
      }
    };
  }

  // The parameters of all notifications of a method, from a position in `told` on.
  heard(method, since = 0) {
    return this.told.slice(since).filter(([name]) => name === method).map(([, params]) => params);
  }

  // Wait for something to become true, or for a list to have something in it: what it then is.
  async until(happened) {
    for (;;) {
      const value = happened();
      if (Array.isArray(value) ? value.length : value) {
        return value;
      }
      await sleep(LOOK);
    }
  }
}
