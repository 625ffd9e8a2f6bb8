// A script: what a client that knows tasks makes of a server's, on several ways at once, as JSON.
//
// Run as `node sdk_tasks.mjs REQUEST`, where REQUEST is JSON: {"sdk": FOLDER, "client": FOLDER, "tasks": FOLDER, "ways":
// {NAME: {"kind": KIND, "command": [...], "env": {...}, "cwd": FOLDER, "calls": {...}}}}. The folders are of the packages
// @modelcontextprotocol/{sdk,client,ext-tasks}. KIND is one of
//
//   session      the TypeScript SDK 1.x and its experimental tasks: the session dialect, step by step
//   ext-session  ext-tasks on the SDK 2.x in the session era
//   ext          ext-tasks on the SDK 2.x in the stateless era: the extension
//
// What is printed is {NAME: {CALL: OUTCOME, ...}}. It knows nothing of mcpbridge.

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const CALL_DEADLINE = 20000;
const PATIENCE = 60000;
const CLIENT = { name: "tasks", version: "1.0.0" };
const VERSION = "2026-07-28";
const EXTENSION = "io.modelcontextprotocol/tasks";
const ABILITIES = { elicitation: { form: {} } };

const request = JSON.parse(process.argv[2]);
const load = (folder, ...path) => import(pathToFileURL(join(folder, "dist", ...path)));

// A field of a form: the first choice, or something that fits.
const fill = ({ type, oneOf }) => oneOf?.[0].const ?? { string: "Ada", boolean: true }[type];

function answered(asked, params) {
  asked.push(params.message);
  const { properties } = params.requestedSchema;
  const content = Object.fromEntries(Object.entries(properties).map(([name, field]) => [name, fill(field)]));
  return { action: "accept", content };
}

// A result: its first line will do.
const said = ({ content, isError }) => ({ text: content[0].text.split("\n")[0], isError: isError ?? false });
const failed = ({ code }) => ({ error: code ?? null });

async function attempt(doing) {
  try {
    return await doing();
  } catch (error) {
    return failed(error);
  }
}

// The session dialect, with the SDK's own words for it.
async function session(way) {
  const [{ Client }, { StdioClientTransport }, { ElicitRequestSchema, CallToolResultSchema }] = await Promise.all([
    load(request.sdk, "esm", "client", "index.js"),
    load(request.sdk, "esm", "client", "stdio.js"),
    load(request.sdk, "esm", "types.js"),
  ]);
  const client = new Client(CLIENT, { capabilities: ABILITIES });
  const asked = [];
  client.setRequestHandler(ElicitRequestSchema, async ({ params }) => answered(asked, params));
  await client.connect(transport(StdioClientTransport, way));
  const { tasks } = client.experimental;
  const task = { ttl: PATIENCE };

  const call = async (name, args) => {
    const before = asked.length;
    const seen = [];
    let id;
    let end;
    for await (const step of tasks.callToolStream({ name, arguments: args }, CallToolResultSchema, { task })) {
      id ??= step.task?.taskId;
      if (step.task !== undefined && seen.at(-1) !== step.task.status) {
        seen.push(step.task.status);
      }
      end = step;
    }
    return {
      seen,
      // What a task has failed with, the SDK does not fetch.
      end: end.type === "result" ? said(end.result) : "failed",
      result: await attempt(async () => said(await tasks.getTaskResult(id, CallToolResultSchema))),
      asked: asked.slice(before).sort(),
    };
  };

  // A task is cancelled, looked at, and cancelled again.
  const cancel = async () => {
    const steps = tasks.callToolStream({ name: "slow_compute", arguments: { seconds: 60 } }, CallToolResultSchema, { task });
    const { taskId } = (await steps.next()).value.task;
    const { status } = await tasks.cancelTask(taskId);
    const after = (await tasks.getTask(taskId)).status;
    const again = await attempt(() => tasks.cancelTask(taskId));
    const result = await attempt(() => tasks.getTaskResult(taskId, CallToolResultSchema));
    return { status, after, again, result: "error" in result };
  };

  // All of them, over all pages; and none that there is not.
  const list = async () => {
    const statuses = [];
    let cursor;
    do {
      const page = await tasks.listTasks(cursor);
      statuses.push(...page.tasks.map(({ status }) => status));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return { statuses, none: await attempt(() => tasks.getTask("no-such-task")) };
  };

  const seen = {};
  for (const [name, args] of Object.entries(way.calls)) {
    seen[name] = await within(call(name, args));
  }
  if (way.calls.slow_compute !== undefined) {
    seen.cancel = await within(cancel());
    seen.list = await within(list());
  }
  await client.close();
  return seen;
}

// Of either era, with the package that hides which it is.
async function ext(way) {
  const [{ Client }, { StdioClientTransport }, { createTaskSessionFromClient, toolDeclarationFromMcpTool }] = await Promise.all([
    load(request.client, "index.mjs"),
    load(request.client, "stdio.mjs"),
    load(request.tasks, "client", "index.js"),
  ]);
  const isModern = way.kind === "ext";
  const versionNegotiation = { mode: isModern ? { pin: VERSION } : "legacy" };
  const client = new Client(CLIENT, { capabilities: ABILITIES, versionNegotiation });
  const pipe = transport(StdioClientTransport, way);
  await client.connect(pipe);
  const { tools } = await client.listTools();
  const declared = Object.fromEntries(tools.map((tool) => [tool.name, toolDeclarationFromMcpTool(tool)]));
  const asked = [];
  const options = {
    endpointId: "tests",
    tools: { currentTool: (name) => declared[name] },
    onInputRequest: async ({ params }) => answered(asked, params),
  };
  if (isModern) {
    options.rawDispatch = raw(pipe);
    options.v2RequestFraming = { protocolVersion: VERSION, clientInfo: CLIENT, clientCapabilities: ABILITIES };
  }
  const tasks = createTaskSessionFromClient(client, options);

  const call = async (name, args) => {
    const before = asked.length;
    const execution = await tasks.callTool(name, args, { task: { preference: "prefer" } });
    const { outcome } = await execution.settle();
    return {
      kind: execution.kind,
      status: outcome.status,
      end: outcome.status === "completed" ? said(outcome.result) : failed(outcome.error ?? {}),
      asked: asked.slice(before).sort(),
    };
  };

  const cancel = async () => {
    const execution = await tasks.callTool("slow_compute", { seconds: 60 }, { task: { preference: "prefer" } });
    await execution.cancel();
    return { kind: execution.kind, status: (await execution.result()).status };
  };

  const seen = {};
  for (const [name, args] of Object.entries(way.calls)) {
    seen[name] = await within(call(name, args));
  }
  if (way.calls.slow_compute !== undefined) {
    seen.cancel = await within(cancel());
  }
  await tasks.close();
  await client.close();
  return seen;
}

function transport(Transport, { command: [command, ...args], env, cwd }) {
  return new Transport({ command, args, env, cwd, stderr: "ignore" });
}

// The SDK refuses results that it has no schema for: these go round it, over the same pipe.
function raw(pipe) {
  const open = new Map();
  const receive = pipe.onmessage;
  pipe.onmessage = (message, extra) => {
    const answer = open.get(message.id);
    if (answer === undefined || "method" in message) {
      receive(message, extra);
      return;
    }
    open.delete(message.id);
    const { result, error } = message;
    answer(error === undefined ? { kind: "result", result } : { kind: "error", error });
  };
  let count = 0;
  return (message) =>
    new Promise((resolve, reject) => {
      const id = `raw-${++count}`;
      open.set(id, resolve);
      pipe.send({ jsonrpc: "2.0", id, ...message }).catch(reject);
    });
}

async function within(doing) {
  const outcome = attempt(() => doing);
  return Promise.race([outcome, sleep(CALL_DEADLINE, { error: "no end in sight" }, { ref: false })]);
}

async function travel(way) {
  try {
    return await (way.kind === "session" ? session(way) : ext(way));
  } catch (error) {
    return { connection: `${error.name}: ${error.message}` };
  }
}

const ways = Object.entries(request.ways);
const found = await Promise.all(ways.map(async ([name, way]) => [name, await travel(way)]));
// What has no end may still hold a connection open.
process.stdout.write(JSON.stringify(Object.fromEntries(found)), () => process.exit(0));
