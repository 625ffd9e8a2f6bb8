// A script: holds messages against the official schemas of the tasks extension.
//
// Run as `node task_shapes.mjs FOLDER`, with FOLDER that of the package @modelcontextprotocol/ext-tasks, and
// [[SCHEMA, VALUE], ...] on stdin, SCHEMA as the package calls it. What is wrong is printed as JSON, a text for each.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const schemas = await import(pathToFileURL(join(process.argv[2], "dist", "core", "v2", "schemas.js")));
const wrong = [];
for (const [name, value] of JSON.parse(readFileSync(0, "utf8"))) {
  const { success, error } = schemas[name].safeParse(value);
  if (!success) {
    wrong.push(`${name}: ${error.message} in ${JSON.stringify(value)}`);
  }
}
process.stdout.write(JSON.stringify(wrong));
