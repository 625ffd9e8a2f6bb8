// What the official TypeScript SDK does with a server: one function for each feature, and what came of it as plain data.
// The names, and what is done, are those of sdk_scenarios.py; the scenarios of a table run one after another over one
// connection. REFERENCE is for clients of both eras: they say it in the words of theirs.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

// Milliseconds to give what must not come, before it counts as not having come.
const QUIET = 300;

const CHANGED = (kind) => `notifications/${kind}/list_changed`;
const UPDATED = "notifications/resources/updated";
const MESSAGE = "notifications/message";

const tools = (peer) => peer.pages("listTools", "tools");
const resources = (peer) => peer.pages("listResources", "resources");
const resourceTemplates = (peer) => peer.pages("listResourceTemplates", "resourceTemplates");
const prompts = (peer) => peer.pages("listPrompts", "prompts");

const call = (name, args, options) => (peer) => peer.call(name, args, options);
const raw = (method, params) => (peer) => peer.raw(method, params);
const read = (uri) => (peer) => peer.client.readResource({ uri });
const prompt = (name, args) => (peer) => peer.client.getPrompt(args === undefined ? { name } : { name, arguments: args });

const complete = (ref, name, value, before) => (peer) =>
  peer.client.complete({
    ref,
    argument: { name, value },
    ...(before === undefined ? {} : { context: { arguments: before } }),
  });

const promptReference = (name) => ({ type: "ref/prompt", name });
const templateReference = (uri) => ({ type: "ref/resource", uri });

// A tool asks the client something: the question and the result.
const askedBy = (name, method, action, args) => async (peer) => {
  const before = peer.asked.length;
  peer.action = action;
  const result = await peer.call(name, args);
  return { result, asked: peer.asked.slice(before).filter(([asked]) => asked === method) };
};

// What is told twice counts once: server-everything repeats what a client may have missed, also when it has not.
const progress = (name, args) => async (peer) => {
  const seen = new Set();
  const result = await peer.call(name, args, { onprogress: (told) => seen.add(JSON.stringify(told)) });
  return { result, seen: [...seen].map((told) => JSON.parse(told)) };
};

// Give up a call after some milliseconds.
async function abandon(peer, name, args, after) {
  try {
    await peer.call(name, args, { signal: AbortSignal.timeout(after) });
  } catch (error) {
    return `given up: ${typeof error.code === "number" && error.code}`;
  }
  return "it had an answer";
}

const COMMON = {
  initialize: (peer) => ({
    revision: peer.revision,
    server: peer.client.getServerVersion(),
    capabilities: peer.client.getServerCapabilities(),
    instructions: peer.client.getInstructions(),
  }),
  ping: raw("ping"),
  unknown_method: raw("no/such_method", { x: 1 }),
  unknown_notification: async (peer) => {
    await peer.client.notification({ method: "notifications/own", params: { x: 1 } });
    return peer.raw("ping");
  },
  tools,
  resources,
  resource_templates: resourceTemplates,
  prompts,
  unknown_tool: call("no_such_tool"),
};

const DYNAMIC = "demo://resource/dynamic/text/";

const EVERYTHING = {
  ...COMMON,
  unknown_prompt: prompt("no_such_prompt"),
  echo: call("echo", { message: "à la carte ☕ 𝄞\n\t\u2028" }),
  wrong_arguments: call("echo", { wrong: 1 }),
  sum: call("get-sum", { a: 2, b: 40 }),
  // The server's environment is not the same on two ways; that it has the one variable it was given is.
  environment: async (peer) => JSON.parse(await peer.say("get-env")).GIVEN,
  image: call("get-tiny-image"),
  annotations_error: call("get-annotated-message", { messageType: "error", includeImage: true }),
  annotations_success: call("get-annotated-message", { messageType: "success", includeImage: false }),
  structured_content: call("get-structured-content", { location: "Chicago" }),
  resource_links: call("get-resource-links", { count: 4 }),
  resource_reference: call("get-resource-reference", { resourceType: "Blob", resourceId: 3 }),
  progress: progress("trigger-long-running-operation", { duration: 0.5, steps: 5 }),
  cancellation: async (peer) => [
    await abandon(peer, "trigger-long-running-operation", { duration: 30, steps: 3 }, 400),
    await peer.call("echo", { message: "still here" }),
  ],
  logging: async (peer) => {
    const before = peer.told.length;
    await peer.logging("debug");
    await peer.call("toggle-simulated-logging");
    const [message] = await peer.until(() => peer.heard(MESSAGE, before));
    await peer.call("toggle-simulated-logging");
    return Object.keys(message).sort();
  },
  // Below the level that the client wants, nothing comes.
  logging_level: async (peer) => {
    const uri = `${DYNAMIC}9`;
    await peer.logging("emergency");
    const before = peer.told.length;
    await peer.client.subscribeResource({ uri });
    await sleep(QUIET);
    const quiet = peer.heard(MESSAGE, before).length;
    await peer.logging("info");
    await peer.client.unsubscribeResource({ uri });
    const loud = await peer.until(() => peer.heard(MESSAGE, before));
    return [quiet, loud.slice(0, 1)];
  },
  read_static: read("demo://resource/static/document/features.md"),
  read_text: read(`${DYNAMIC}5`),
  read_blob: read("demo://resource/dynamic/blob/6"),
  read_unknown: read("demo://no/such/resource"),
  subscription: async (peer) => {
    const stop = await peer.watch({ resources: [`${DYNAMIC}1`] });
    let before = peer.told.length;
    await peer.call("toggle-subscriber-updates");
    const [updated] = await peer.until(() => peer.heard(UPDATED, before));
    await peer.call("toggle-subscriber-updates");
    await stop();
    before = peer.told.length;
    await peer.call("toggle-subscriber-updates");
    await sleep(QUIET);
    const after = peer.heard(UPDATED, before);
    await peer.call("toggle-subscriber-updates");
    return { updated, after };
  },
  // A resource that a tool makes: the list changes, says so, and has it.
  session_resource: async (peer) => {
    const stop = await peer.watch({ lists: ["resources"] });
    const before = peer.told.length;
    const name = `${randomUUID()}.gz`; // all sessions with this server share these names
    const link = await peer.call("gzip-file-as-resource", { name, data: "data:text/plain;base64,aGk=" });
    await peer.until(() => peer.heard(CHANGED("resources"), before));
    await stop();
    const listed = (await resources(peer)).filter((each) => each.name === name);
    return { link, listed, content: await peer.client.readResource({ uri: `demo://resource/session/${name}` }) };
  },
  prompt_simple: prompt("simple-prompt"),
  prompt_arguments: prompt("args-prompt", { city: "Oslo", state: "none" }),
  prompt_missing_argument: prompt("args-prompt"),
  prompt_resource: prompt("resource-prompt", { resourceType: "Text", resourceId: "2" }),
  complete_prompt: complete(promptReference("completable-prompt"), "department", "S"),
  complete_in_context: complete(promptReference("completable-prompt"), "name", "", { department: "Sales" }),
  complete_template: complete(templateReference(`${DYNAMIC}{resourceId}`), "resourceId", "7"),
  roots: call("get-roots-list"),
  roots_changed: async (peer) => {
    const before = peer.told.length;
    peer.roots = [...peer.roots, "file:///three"];
    await peer.client.sendRootsListChanged();
    const wanted = `Roots updated: ${peer.roots.length}`;
    return peer.until(() => peer.heard(MESSAGE, before).filter(({ data }) => String(data).includes(wanted)));
  },
  sampling: askedBy("trigger-sampling-request", "sampling/createMessage", "accept", { prompt: "Hello?", maxTokens: 12 }),
  elicitation_accepted: askedBy("trigger-elicitation-request", "elicitation/create", "accept"),
  elicitation_declined: askedBy("trigger-elicitation-request", "elicitation/create", "decline"),
  elicitation_cancelled: askedBy("trigger-elicitation-request", "elicitation/create", "cancel"),
  elicitation_url: askedBy("trigger-url-elicitation", "elicitation/create", "accept", {
    url: "https://example.org/a?b=c",
    elicitationId: "e-1",
  }),
  elicitation_url_required: call("trigger-url-elicitation", {
    url: "https://example.org/z",
    elicitationId: "e-2",
    errorPath: true,
  }),
  // Tasks of 2025-11-25: a call that returns at once, asked about later, its result fetched when it is done.
  task: async (peer) => {
    peer.action = "accept";
    peer.content = { interpretation: "snake" };
    try {
      const args = { topic: "python", ambiguous: true };
      const { task } = await peer.raw("tools/call", {
        name: "simulate-research-query",
        arguments: args,
        task: { ttl: 60000 },
      });
      const { taskId } = task;
      const working = await peer.raw("tasks/get", { taskId });
      const listed = (await peer.raw("tasks/list", {})).tasks.map((each) => each.taskId === taskId);
      const before = peer.asked.length;
      const result = await peer.raw("tasks/result", { taskId });
      const done = await peer.raw("tasks/get", { taskId });
      return {
        created: task.status,
        working: working.status,
        listed,
        asked: peer.asked
          .slice(before)
          .filter(([method]) => method === "elicitation/create")
          .map(([, params]) => params.message),
        result: result.content,
        done: done.status,
      };
    } finally {
      peer.content = undefined;
    }
  },
};

const SDK = {
  ...COMMON,
  own_method: raw("own/method", { question: "why" }),
  own_method_wrong: raw("own/method", {}),
  client_says: call("client_says"),
  wrong_cursor: async (peer) => {
    try {
      await peer.client.listTools({ cursor: "no such cursor" });
    } catch {
      return "refused";
    }
    return "accepted";
  },
  echo: call("echo", { text: "à la carte ☕ 𝄞\n\t\u2028\x00" }),
  crowd: (peer) => Promise.all(Array.from({ length: 30 }, (_, index) => peer.say("echo", { text: `call ${index}` }))),
  large: async (peer) => (await peer.say("large", { size: 900000 })).length,
  big_number: call("big_number"),
  many_kinds: call("many_kinds"),
  structured_content: call("measured", { place: "here" }),
  failing: call("failing"),
  raising: call("raising"),
  meta: call("meta", {}, { meta: { "vendor/one": { deep: [1, "x"] }, "claudecode/toolUseId": "u-1" } }),
  state: async (peer) => {
    await peer.call("remember", { key: "k", value: "v" });
    return peer.call("recall", { key: "k" });
  },
  progress: progress("count", { upto: 20 }),
  // The server sees which call was cancelled, and no other.
  cancellation: async (peer) => {
    const end = await abandon(peer, "wait", { key: "first" }, 300);
    for (;;) {
      const heard = await peer.call("cancelled");
      if (heard.content[0].text) {
        return [end, heard];
      }
      await sleep(50);
    }
  },
  // All levels from the wanted one on, in order.
  logging: async (peer) => {
    const heard = [];
    for (const level of ["error", "debug"]) {
      await peer.logging(level);
      const before = peer.told.length;
      await peer.call("logs");
      await sleep(QUIET);
      heard.push(peer.heard(MESSAGE, before));
    }
    return heard;
  },
  read_text: read("note://3"),
  read_blob: read("note://blob"),
  read_unknown: read("note://nothing/here"),
  subscription: async (peer) => {
    const stop = await peer.watch({ resources: ["note://1"] });
    const before = peer.told.length;
    await peer.call("touch", { uri: "note://1" });
    await peer.call("touch", { uri: "note://2" });
    await peer.until(() => peer.heard(UPDATED, before));
    await stop();
    const counted = await peer.call("touch", { uri: "note://1" });
    await sleep(QUIET);
    return { updated: peer.heard(UPDATED, before), counted };
  },
  // The lists change, say so, and are longer.
  growth: async (peer) => {
    const before = peer.told.length;
    await peer.call("grow");
    for (const kind of ["tools", "prompts", "resources"]) {
      await peer.until(() => peer.heard(CHANGED(kind), before));
    }
    const lists = await Promise.all([tools(peer), prompts(peer), resources(peer)]);
    return { lengths: lists.map((list) => list.length), called: await peer.call("grown_0", { text: "new" }) };
  },
  prompt: prompt("prompt_2", { topic: "bees" }),
  prompt_missing_argument: prompt("prompt_2"),
  complete_prompt: complete(promptReference("prompt_1"), "topic", "be"),
  complete_in_context: complete(templateReference("t1://{name}"), "name", "x", { other: "given" }),
  roots: call("roots"),
  roots_changed: async (peer) => {
    peer.roots = ["file:///changed"];
    await peer.client.sendRootsListChanged();
    await sleep(QUIET);
    return peer.call("roots");
  },
  ping_client: call("ping_client"),
  sampling: askedBy("sample", "sampling/createMessage", "accept", { prompt: "Hello?" }),
  elicitation_accepted: askedBy("elicit", "elicitation/create", "accept", { message: "who?" }),
  elicitation_declined: askedBy("elicit", "elicitation/create", "decline", { message: "who?" }),
  elicitation_url: askedBy("elicit_url", "elicitation/create", "accept"),
};

const WATCHED = "test://watched-resource";

const { ping, unknown_notification, ...OF_BOTH_ERAS } = COMMON;

const REFERENCE = {
  ...OF_BOTH_ERAS,
  unknown_prompt: prompt("no_such_prompt"),
  own_method: raw("test.example/own", { question: "why" }),
  mixed_content: call("test_multiple_content_types"),
  audio: call("test_audio_content"),
  link: call("link"),
  structured_content: call("measure"),
  failing: call("test_error_handling"),
  // Only after the list is known are arguments repeated in headers.
  header_parameters: async (peer) => {
    await tools(peer);
    return peer.call("test_header_parameters", { region: " é\n", count: 3, urgent: true });
  },
  meta: call("meta", {}, { meta: { "test.example/one": { deep: [1, "x"] } } }),
  spoken_to: call("who"),
  progress: progress("test_tool_with_progress"),
  logging: async (peer) => {
    await peer.logging("info");
    const before = peer.told.length;
    const result = await peer.call("test_tool_with_logging");
    await peer.until(() => peer.heard(MESSAGE, before).length >= 3);
    return { result, heard: peer.heard(MESSAGE, before) };
  },
  // The server hears of it: by a notification, or by the end of the stream.
  cancellation: async (peer) => {
    const key = randomUUID();
    const end = await abandon(peer, "wait", { key }, 300);
    while (!(await peer.say("cancelled")).split(",").includes(key)) {
      await sleep(50);
    }
    return end;
  },
  list_changes: async (peer) => {
    const changes = {
      tools: "test_trigger_tool_change",
      prompts: "test_trigger_prompt_change",
      resources: "trigger_resource_change",
    };
    const stop = await peer.watch({ lists: Object.keys(changes) });
    for (const [kind, tool] of Object.entries(changes)) {
      const before = peer.told.length;
      await peer.call(tool);
      await peer.until(() => peer.heard(CHANGED(kind), before));
    }
    await stop();
    return "told of all three";
  },
  resource_changes: async (peer) => {
    const stop = await peer.watch({ resources: [WATCHED] });
    const before = peer.told.length;
    await peer.call("touch", { uri: WATCHED });
    const updated = await peer.until(() => peer.heard(UPDATED, before));
    await stop();
    // Other clients change it too, all hear of it, and what was on its way when the stream was closed may still come.
    await sleep(QUIET);
    const after = peer.told.length;
    await peer.call("touch", { uri: WATCHED });
    await sleep(QUIET);
    return { updated: [...new Set(updated.map(({ uri }) => uri))], after: peer.heard(UPDATED, after).length };
  },
  read_text: read("test://static-text"),
  read_blob: read("test://static-binary"),
  read_unknown: read("test://nowhere"),
  prompt_arguments: prompt("test_prompt_with_arguments", { arg1: "one", arg2: "two" }),
  prompt_that_asks: prompt("test_input_required_result_prompt"),
  complete_prompt: complete(promptReference("test_prompt_with_arguments"), "arg1", "p"),
  roots: askedBy("test_input_required_result_list_roots", "roots/list", "accept"),
  sampling: askedBy("test_sampling", "sampling/createMessage", "accept", { prompt: "Hello?" }),
  elicitation_accepted: askedBy("test_elicitation", "elicitation/create", "accept", { message: "Who?" }),
  elicitation_declined: askedBy("test_elicitation", "elicitation/create", "decline", { message: "Who?" }),
  elicitation_cancelled: askedBy("test_elicitation", "elicitation/create", "cancel", { message: "Who?" }),
  elicitation_url: askedBy("visit", "elicitation/create", "accept"),
  request_state: askedBy("test_input_required_result_request_state", "elicitation/create", "accept"),
  three_questions: async (peer) => {
    const before = peer.asked.length;
    peer.action = "accept";
    const result = await peer.call("test_input_required_result_multiple_inputs");
    return { result, asked: peer.asked.slice(before).map(([method]) => method).sort() };
  },
  two_rounds: askedBy("test_input_required_result_multi_round", "elicitation/create", "accept"),
};

// How much progress of each of many calls is heard.
const BURSTS = {
  bursts: async (peer) => {
    const heard = [];
    for (let each = 0; each < 20; each++) {
      const before = heard.push(0) - 1;
      await peer.call("count", { upto: 20 }, { onprogress: () => heard[before]++ });
    }
    return heard;
  },
};

export const TABLES = { everything: EVERYTHING, sdk: SDK, reference: REFERENCE, bursts: BURSTS };
