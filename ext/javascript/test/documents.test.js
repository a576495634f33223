/* documents.test.js - README.md is run: its statements in order, and an expression with a comment
 * behind it has to be what the comment says. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cp, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { Server, lacking, room } from "./support.js";

async function snippets() {
  const text = await readFile(path.join(room, "maph-client", "README.md"), "utf8");
  return [...text.matchAll(/^```js\n(.*?)^```$/gms)].map(([, source]) => source);
}

/* expression;   // value   becomes a check, when the comment is a value and not a remark. */
function checked(source) {
  return source.replace(
    /^( *)((?:await |error ).*);\s+\/\/ (.+)$/gm,
    (line, indent, expression, comment) => {
      try {
        new Function(`return (${comment})`)();
      } catch {
        return line;
      }
      return `${indent}$check(${expression}, ${comment});`;
    }
  );
}

async function run(server, source) {
  await cp(
    path.join(room, "maph-client"),
    path.join(server.folder, "node_modules", "maph-client"),
    { recursive: true }
  );
  // Deno takes a name from node_modules where a package depends on it
  await writeFile(
    path.join(server.folder, "package.json"),
    '{"private": true, "dependencies": {"maph-client": "*"}}'
  );
  const file = path.join(server.folder, "readme.mjs"),
    before = globalThis.Deno ? ["run", "--allow-all", "--node-modules-dir=manual"] : [];
  await writeFile(
    file,
    `import $assert from "node:assert/strict";\nlet $checks = 0;\n` +
    `const $check = (got, wanted) => { $assert.deepEqual(got, wanted); $checks++; };\n` +
      checked(source).replaceAll("http://localhost:8080", server.url) +
      "\nprocess.stdout.write(`${$checks} checks\\n`);\n"
  );
  const { stdout, stderr } = spawnSync(process.execPath, [...before, file], {
    encoding: "utf8",
    timeout: 60000
  });
  return stdout + stderr;
}

test("README.md", async () => {
  const server = await new Server().start();
  try {
    assert.equal(
      await run(server, (await snippets()).join("\n")),
      "a 1\nb 2\nhot_key new_value\n10 checks\n"
    );
  } finally {
    await server.stop();
  }
});

test("README.md: the feed", async (t) => {
  const why = await lacking("stores/NAME/changes");
  if (why) {
    t.skip(why);
    return;
  }
  const server = await new Server().start();
  try {
    const said = await run(
      server,
      `${(await snippets()).join("\n")}
const shown = new Promise((resolve) => {
  const log = console.log;
  console.log = (...all) => { log("feed", ...all); resolve(); };
});
await Promise.race([follow(copy, 0), shown]);
process.exitCode = 0;
setImmediate(() => process.exit());`
    );
    assert.match(said, /^feed hot_key new_value$/m);
  } finally {
    await server.stop();
  }
});
