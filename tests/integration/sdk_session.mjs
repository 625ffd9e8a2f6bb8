// A script: the official TypeScript SDK goes through the features of servers, over several ways at once, and prints what
// it saw.
//
// Run as `node sdk_session.mjs REQUEST`, where REQUEST is JSON as sdk_session.py takes it, and says which SDK:
// {"sdk": {"generation": 1, "folder": ".../sdk"}, "ways": {"direct": {"table": "everything", "kind": "stdio", ...}, ...}}.
// What is printed is {"direct": {"initialize": OUTCOME, ...}, ...}; the caller compares. A way may say what to leave out
// ("without": [...]), and that the SDK is to be as it is ("unmodified": true). It knows nothing of mcpbridge.

import { Peer, generation } from "./sdk_peer.mjs";
import { TABLES } from "./sdk_scenarios.mjs";

// Milliseconds for process start and handshake, and for one feature: one that is lost shows as this long a wait.
const CONNECT_DEADLINE = 30000;
const SCENARIO_DEADLINE = 10000;
const CLOSE_DEADLINE = 3000;

const NO_END = { error: "no end in sight" };

async function within(milliseconds, promise) {
  let timer;
  const end = new Promise((resolve) => {
    timer = setTimeout(resolve, milliseconds, NO_END);
  });
  try {
    return await Promise.race([promise, end]);
  } finally {
    clearTimeout(timer);
  }
}

// What came of a scenario; an error is an outcome too.
async function outcome(scenario, peer) {
  try {
    return (await within(SCENARIO_DEADLINE, scenario(peer))) ?? null;
  } catch (error) {
    return failure(error);
  }
}

// An error that came with an HTTP status is shown by the SDK as the text of the answer.
const WITH_STATUS = "Error POSTing to endpoint: ";

function failure(error) {
  if (error.message?.startsWith(`${WITH_STATUS}{`)) {
    return failure(JSON.parse(error.message.slice(WITH_STATUS.length)).error);
  }
  if (typeof error.code === "number") {
    return { error: { code: error.code, message: error.message, data: error.data ?? null } };
  }
  return { error: `${error.name}: ${error.message}` };
}

// All scenarios over one connection.
async function travel(sdk, way) {
  const peer = new Peer(sdk, way);
  const seen = {};
  try {
    const connected = await within(CONNECT_DEADLINE, peer.connect({ timeout: CONNECT_DEADLINE }));
    if (connected === NO_END) {
      return { connection: NO_END };
    }
  } catch (error) {
    return { connection: failure(error) };
  }
  for (const [name, scenario] of Object.entries(TABLES[way.table])) {
    if (!way.without?.includes(name)) {
      seen[name] = await outcome(scenario, peer);
    }
  }
  await within(CLOSE_DEADLINE, peer.client.close());
  return seen;
}

const request = JSON.parse(process.argv[2]);
const sdk = await generation(request.sdk.generation, request.sdk.folder);
const found = await Promise.all(
  Object.entries(request.ways).map(async ([name, way]) => [name, await travel(sdk, way)]),
);
// A scenario without an end may still hold a connection open.
process.stdout.write(JSON.stringify(Object.fromEntries(found)), () => process.exit(0));
