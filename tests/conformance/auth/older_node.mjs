// For "node --import": lets the conformance suite, which is made for Node 22, start under Node 20 as well. It imports
// fs.globSync, which is younger than that, for a command that we do not use.

import fs from "node:fs";
import { register } from "node:module";

if (fs.globSync === undefined) {
  const younger = "data:text/javascript," + encodeURIComponent(
    'export * from "node:fs"; export { default } from "node:fs";' +
      'export function globSync() { throw new Error("this version of Node has no globSync"); }',
  );
  const hooks =
    "export async function resolve(specifier, context, next) {" +
    '  if (specifier !== "fs" || !String(context.parentURL).includes("/@modelcontextprotocol/conformance/")) {' +
    "    return next(specifier, context);" +
    "  }" +
    `  return { url: ${JSON.stringify(younger)}, shortCircuit: true };` +
    "}";
  register("data:text/javascript," + encodeURIComponent(hooks));
}
