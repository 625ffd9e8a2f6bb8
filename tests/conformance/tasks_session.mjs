// A script: a server of the session era whose tools are tasks (2025-11-25, Tasks), on the official TypeScript SDK 1.x.
//
//     node tasks_session.mjs SDK [PORT]
//
// SDK is the folder of the package @modelcontextprotocol/sdk. With a port it speaks Streamable HTTP there, at /mcp, and
// keeps sessions; without, stdio. The tools are those that the tasks scenarios of the official conformance suite want,
// and do what these want, as far as a server of this era can. It knows nothing of mcpbridge.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const [folder, port] = process.argv.slice(2);
const load = createRequire(join(folder, "package.json"));
const { McpServer } = load("@modelcontextprotocol/sdk/server/mcp.js");
const { StdioServerTransport } = load("@modelcontextprotocol/sdk/server/stdio.js");
const { StreamableHTTPServerTransport } = load("@modelcontextprotocol/sdk/server/streamableHttp.js");
const { InMemoryTaskStore, InMemoryTaskMessageQueue } = load("@modelcontextprotocol/sdk/experimental/tasks");
const { ElicitResultSchema, ErrorCode, McpError } = load("@modelcontextprotocol/sdk/types.js");
const { z } = load("zod");

// Milliseconds.
const POLL_INTERVAL = 100;
const USUAL_TTL = 60000;

// The SDK's store has no place for the error that a call has ended with, which tasks/result has to tell as it is.
class Store extends InMemoryTaskStore {
  errors = new Map();

  async getTaskResult(taskId, sessionId) {
    const error = this.errors.get(taskId);
    if (error !== undefined) {
      throw error;
    }
    return super.getTaskResult(taskId, sessionId);
  }
}

const text = (words, more = {}) => ({ content: [{ type: "text", text: words }], ...more });

// What a form asks for, a text and a choice, each of them named.
function form(message, ...fields) {
  const types = { name: "string", confirm: "boolean" };
  const properties = Object.fromEntries(fields.map((field) => [field, { type: types[field] }]));
  return { mode: "form", message, requestedSchema: { type: "object", properties, required: fields } };
}

const ask = (extra, params, options) => extra.sendRequest({ method: "elicitation/create", params }, ElicitResultSchema, options);

// What each tool takes, what it does before it is a task, and what it does as one. A task is given what came of before.
const TOOLS = {
  slow_compute: {
    takes: { seconds: z.number(), label: z.string().optional() },
    async works({ seconds, label }) {
      await sleep(seconds * 1000, undefined, { ref: false });
      return text(`Computed ${label ?? "it"} in ${seconds} s`);
    },
  },
  failing_job: {
    takes: {},
    async works() {
      await sleep(300);
      return text("The job failed", { isError: true });
    },
  },
  protocol_error_job: {
    takes: {},
    async works() {
      throw new McpError(ErrorCode.InternalError, "The job broke down", { job: 7 });
    },
  },
  confirm_delete: {
    takes: { filename: z.string() },
    async works({ filename }, inquire) {
      const { action, content } = await inquire(form(`Delete ${filename}?`, "confirm"));
      return text(action === "accept" && content.confirm ? `Deleted ${filename}` : `Kept ${filename}`);
    },
  },
  multi_input: {
    takes: {},
    async works(_, inquire) {
      const answers = await Promise.all([
        inquire(form("Who are you?", "name", "confirm")),
        inquire(form("Who else?", "name", "confirm")),
      ]);
      return text(answers.map(({ action, content }) => content?.name ?? action).join(" and "));
    },
  },
  test_tool_with_task: {
    takes: {},
    begins: (extra) => ask(extra, form("What is your name?", "name")),
    async works(_, __, { action, content }) {
      return text(`Hello, ${content?.name ?? action}!`);
    },
  },
};

async function run(store, task, works) {
  const { taskId } = task;
  let result;
  try {
    result = await works();
  } catch (error) {
    store.errors.set(taskId, error instanceof McpError ? error : new McpError(ErrorCode.InternalError, String(error)));
  }
  // The task may have been cancelled meanwhile; then nobody wants to know.
  const { status } = (await store.getTask(taskId)) ?? { status: "gone" };
  if (!["working", "input_required"].includes(status)) {
    return;
  }
  if (result === undefined) {
    await store.updateTaskStatus(taskId, "failed", store.errors.get(taskId).message);
  } else {
    await store.storeTaskResult(taskId, result.isError ? "failed" : "completed", result);
  }
}

function make(store) {
  const server = new McpServer(
    { name: "tasks-session", version: "1.0.0" },
    {
      capabilities: { tools: {}, tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } },
      instructions: "Made for tests.",
      taskStore: store,
      taskMessageQueue: new InMemoryTaskMessageQueue(),
    },
  );
  server.registerTool("greet", { description: "Greets.", inputSchema: { name: z.string() } }, async ({ name }) =>
    text(`Hello, ${name}!`),
  );
  server.registerTool("statuses", { description: "How all tasks are." }, async () =>
    text(store.getAllTasks().map(({ status }) => status).sort().join(" ")),
  );
  for (const [name, { takes, begins, works }] of Object.entries(TOOLS)) {
    const described = { description: `${name}, as a task.`, inputSchema: takes, execution: { taskSupport: "required" } };
    server.experimental.tasks.registerToolTask(name, described, {
      async createTask(args, extra) {
        const found = await begins?.(extra);
        const wanted = { ttl: extra.taskRequestedTtl ?? USUAL_TTL, pollInterval: POLL_INTERVAL };
        const task = await extra.taskStore.createTask(wanted);
        const inquire = (params) => ask(extra, params, { relatedTask: { taskId: task.taskId } });
        // What is answered is the task as it was at first: the store goes on changing its own.
        const first = { ...task };
        void run(store, task, () => works(args, inquire, found));
        return { task: first };
      },
      getTask: (_, extra) => extra.taskStore.getTask(extra.taskId),
      getTaskResult: (_, extra) => extra.taskStore.getTaskResult(extra.taskId),
    });
  }
  return server;
}

const store = new Store();

async function serve() {
  const sessions = new Map();
  const http = createServer(async (request, response) => {
    const known = sessions.get(request.headers["mcp-session-id"]);
    if (known !== undefined) {
      await known.handleRequest(request, response);
      return;
    }
    if (request.headers["mcp-session-id"] !== undefined) {
      response.writeHead(404).end();
      return;
    }
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => sessions.set(id, transport),
    });
    transport.onclose = () => sessions.delete(transport.sessionId);
    await make(store).connect(transport);
    await transport.handleRequest(request, response);
  });
  http.listen(Number(port), "127.0.0.1");
}

if (port === undefined) {
  await make(store).connect(new StdioServerTransport());
} else {
  await serve();
}
