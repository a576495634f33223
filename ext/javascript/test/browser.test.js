/*
 * browser.test.js - the same tests in headless Chromium, from a page of another origin, which the
 * server has to be told to allow.
 *
 * The page is served from here and posts its results back.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import tests, { later } from "./common.js";
import { Server, lacking, room } from "./support.js";

const chromium = ["chromium", "chromium-browser", "google-chrome"].find(
  (name) => !spawnSync(name, ["--version"]).error
);
const TYPES = { ".js": "text/javascript", ".html": "text/html; charset=utf-8" };

/* A server of the room's files; `results` is fulfilled with what a page posts. */
async function pages() {
  let posted;
  const results = new Promise((resolve) => {
    posted = resolve;
  });
  const server = http
    .createServer((request, response) => {
      const file = path.join(room, path.normalize(new URL(request.url, "http://x").pathname));
      if (request.method === "POST") {
        let text = "";
        request
          .setEncoding("utf8")
          .on("data", (piece) => {
            text += piece;
          })
          .on("end", () => {
            response.end();
            posted(JSON.parse(text));
          });
      } else {
        createReadStream(file)
          .on("error", () => {
            response.statusCode = 404;
            response.end();
          })
          .once("open", () =>
            response.setHeader("Content-Type", TYPES[path.extname(file)] ?? "text/plain")
          )
          .pipe(response);
      }
    })
    .listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  return { server, results, url: `http://127.0.0.1:${server.address().port}` };
}

/* What the page says when Chromium shows it. */
async function browse(page, query) {
  const profile = await mkdtemp(path.join(tmpdir(), "maph-chromium."));
  const process = spawn(
    chromium,
    [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--no-first-run",
      "--disable-extensions",
      "--disable-background-networking",
      "--disable-component-update",
      `--user-data-dir=${profile}`,
      `${page.url}/test/page.html?${query}`
    ],
    { stdio: ["ignore", "ignore", "pipe"] }
  );
  let said = "";
  process.stderr.setEncoding("utf8").on("data", (text) => {
    said += text;
  });
  const ended = new Promise((resolve) => process.once("exit", resolve));
  try {
    return await Promise.race([
      page.results,
      ended.then((code) => {
        throw new Error(`chromium ended (${code}): ${said.slice(-2000)}`);
      })
    ]);
  } finally {
    process.kill("SIGTERM");
    await ended;
    page.server.closeAllConnections();
    page.server.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 20 });
  }
}

test("chromium: the common tests from an allowed origin", async (t) => {
  if (!chromium) {
    t.skip("needs chromium");
    return;
  }
  const page = await pages(),
    server = await new Server("--origin", page.url).start();
  try {
    const wanted = Object.keys(tests);
    for (const [name, [pattern]] of Object.entries(later))
      if (!(await lacking(pattern))) wanted.push(name);
    const results = await browse(
      page,
      new URLSearchParams({ server: server.url, names: JSON.stringify(wanted) })
    );
    for (const [name, error] of results) await t.test(name, () => assert.equal(error, null));
    assert.deepEqual(
      results.map(([name]) => name),
      wanted
    );
  } finally {
    await server.stop();
  }
});

test("chromium: an origin that was not named can neither read nor write", async (t) => {
  if (!chromium) {
    t.skip("needs chromium");
    return;
  }
  const page = await pages(),
    server = await new Server().start();
  try {
    const results = await browse(
      page,
      new URLSearchParams({ server: server.url, names: JSON.stringify(["stranger"]) })
    );
    assert.deepEqual(results, [["stranger", null]]);
    assert.deepEqual(await (await fetch(`${server.url}/stores`)).json(), []);
  } finally {
    await server.stop();
  }
});
