/* client.test.js - the client in Node against the real server. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import * as maph from "../maph-client/index.js";
import tests, { later } from "./common.js";
import { Server, lacking, room, top } from "./support.js";

const check = (got, wanted) => assert.deepEqual(got, wanted);
check.rejects = async (promise, Kind) => {
  let error;
  await assert.rejects(promise, (caught) => {
    error = caught;
    return caught instanceof Kind;
  });
  return error;
};

describe("common", () => {
  const server = new Server();
  let client,
    number = 0;
  before(async () => {
    client = new maph.MaphClient((await server.start()).url);
  });
  after(() => server.stop());
  for (const [name, run] of Object.entries(tests))
    test(name, () => run(client, `s${number++}`, check));
  for (const [name, [pattern, run]] of Object.entries(later)) {
    test(name, async (t) => {
      const why = await lacking(pattern);
      if (why) t.skip(why);
      else await run(client, `s${number++}`, check);
    });
  }
});

test("the client outlives a restart of the server", async () => {
  const server = await new Server().start();
  try {
    const store = await new maph.MaphClient(server.url).createStore("s");
    await store.set("k", "1");
    await server.halt();
    const error = await check.rejects(store.get("k"), maph.ConnectionLostError);
    check(error.status, undefined);
    await server.start();
    check(await store.get("k"), "1");
  } finally {
    await server.stop();
  }
});

/* A server that takes a second request, but closes instead of answering it. */
async function closer() {
  const asked = [];
  const server = createServer((socket) => {
    socket
      .on("error", () => {})
      .on("data", (piece) => {
        const method = /^(GET|PUT|POST|PATCH|DELETE) /.exec(piece.toString("latin1"))?.[1];
        if (!method) return; // a body that came by itself
        asked.push(method);
        if (asked.length === 2) socket.destroy();
        else socket.write('HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 2\r\n\r\n{}');
      });
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  return {
    asked,
    server,
    client: new maph.MaphClient(`http://127.0.0.1:${server.address().port}`)
  };
}

test("a kept connection that is closed: what can be repeated is, and nothing else", async () => {
  const repeated = [(store) => store.get("k"), (store) => store.has("k")];
  const once = [
    (store) => store.set("k", "v"),
    (store) => store.set("k", "v", { ifPresent: true }),
    (store) => store.delete("k"),
    (store) => store.increment("k"),
    (store) => store.merge("k", {}),
    (store) => store.set("k", "v", { ifAbsent: true }),
    (store) => store.set("k", "v", { ifVersion: 1 }),
    (store) => store.batch().set("k", "v").commit(),
    (store) => store.import([["k", "v"]]),
    (store) => store.start("compact"),
    (store, client) => client.deleteStore("s")
  ];
  for (const call of [...repeated, ...once]) {
    const { asked, server, client } = await closer(),
      store = client.store("s");
    try {
      await store.get("first");
      const result = await call(store, client).catch((error) => error);
      const again = repeated.includes(call);
      check(
        [
          result instanceof maph.ConnectionLostError,
          asked.length,
          /it may have been done or not/.test(result)
        ],
        [!again, again ? 3 : 2, !again]
      );
    } finally {
      server.close();
    }
  }
});

test("errors name the request", async () => {
  const lost = await check.rejects(
    new maph.MaphClient("http://127.0.0.1:1").store("s").get("x".repeat(3000)),
    maph.ConnectionLostError
  );
  assert.match(lost.message, /^GET http:\/\/127\.0\.0\.1:1\/stores\/s\/keys\/x{150,200}\.\.\.: /);
  const server = await new Server().start();
  try {
    const missing = await check.rejects(
      new maph.MaphClient(server.url).getStore("none"),
      maph.StoreNotFoundError
    );
    check(
      missing.message,
      `GET ${server.url}/stores/none/stats: ${missing.detail} (store_not_found)`
    );
    check(missing.request, `GET ${server.url}/stores/none/stats`);
  } finally {
    await server.stop();
  }
});

test("a limit that fetch tells of in its own words, as Node 18 does", async () => {
  const never = (url, { signal }) =>
    new Promise((_, reject) => {
      const stop = () => reject(new DOMException("This operation was aborted", "AbortError"));
      if (signal.aborted) stop();
      signal.addEventListener("abort", stop);
    });
  const client = new maph.MaphClient("http://127.0.0.1:9", { timeout: 20, fetch: never });
  await check.rejects(client.listStores(), maph.TimedOutError);
  await check.rejects(client.store("s").set("k", "v"), maph.TimedOutError);
  await check.rejects(client.store("s").export().next(), maph.TimedOutError);
  await check.rejects(
    (await client.store("s").changes({ since: 0 })).next(),
    maph.TimedOutError
  );
  // A body that stops in the middle.
  const half = async (url, options) => {
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode("[{"));
        options.signal.addEventListener("abort", () =>
          controller.error(new DOMException("This operation was aborted", "AbortError"))
        );
      }
    });
    return new Response(body, { headers: { "Content-Type": "application/json" } });
  };
  const slow = new maph.MaphClient("http://127.0.0.1:9", { timeout: 20, fetch: half });
  await check.rejects(slow.listStores(), maph.TimedOutError);
  // The caller's own signal is no time limit.
  const reason = new Error("enough");
  const own = client.store("s").with({ timeout: Infinity, signal: AbortSignal.abort(reason) });
  check(await own.get("k").catch((error) => error === reason), true);
});

test("localhost is two addresses, and the server listens at one", async () => {
  const refused = (address) =>
    Object.assign(new TypeError("fetch failed"), {
      cause: Object.assign(new Error(`connect ECONNREFUSED ${address}`), {
        code: "ECONNREFUSED",
        address
      })
    });
  for (const [first, other] of [
    ["::1", "127.0.0.1"],
    ["127.0.0.1", "[::1]"]
  ]) {
    const asked = [];
    const fetch = async (url) => {
      asked.push(new URL(url).host);
      if (url.startsWith("http://localhost:")) throw refused(first);
      return Response.json({ stores: [] });
    };
    const client = new maph.MaphClient("http://localhost:8080", { fetch });
    await client.listStores();
    await client.listStores();
    check(asked, ["localhost:8080", `${other}:8080`, `${other}:8080`]);
  }
  const nowhere = async (url) => {
    throw refused(url.includes("127.0.0.1") ? "127.0.0.1" : "::1");
  };
  const lost = new maph.MaphClient("http://localhost:8080", { fetch: nowhere });
  const error = await check.rejects(lost.listStores(), maph.ConnectionLostError);
  check(/is maph-server running there/.test(error.message), true);
  const away = new maph.MaphClient("http://example.invalid:8080", { fetch: nowhere });
  await check.rejects(away.listStores(), maph.ConnectionLostError);
});

test("tokens", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "maph-javascript."));
  await writeFile(
    path.join(folder, "tokens"),
    "reader-0123456789 read *\nadmin-01234567890 admin *\n",
    { mode: 0o600 }
  );
  const server = await new Server("--tokens", path.join(folder, "tokens")).start();
  try {
    await check.rejects(new maph.MaphClient(server.url).listStores(), maph.UnauthorizedError);
    const store = await new maph.MaphClient(server.url, { token: "admin-01234567890" }).createStore(
      "s"
    );
    await store.set("k", "v");
    const reader = await new maph.MaphClient(server.url, { token: "reader-0123456789" }).getStore(
      "s"
    );
    check(await reader.get("k"), "v");
    await check.rejects(reader.set("k", "w"), maph.ForbiddenError);
  } finally {
    await server.stop();
    await rm(folder, { recursive: true });
  }
});

test("limits and read-only", async () => {
  const server = await new Server("--max-body", "1000").start();
  try {
    let store = await new maph.MaphClient(server.url).createStore("s");
    await check.rejects(store.set("k", "x".repeat(1001)), maph.TooLargeError);
    await store.set("k", "x".repeat(1000));
    await server.halt();
    server.args = ["--read-only"];
    await server.start();
    store = await new maph.MaphClient(server.url).getStore("s");
    check((await store.get("k")).length, 1000);
    await check.rejects(store.set("k", "v"), maph.ReadOnlyError);
  } finally {
    await server.stop();
  }
});

test("a server that never answers", async () => {
  const silent = createServer(() => {}).listen(0, "127.0.0.1");
  await new Promise((resolve) => silent.once("listening", resolve));
  try {
    const client = new maph.MaphClient(`http://127.0.0.1:${silent.address().port}`, {
      timeout: 50
    });
    await check.rejects(client.listStores(), maph.TimedOutError);
    await check.rejects(client.store("s").export().next(), maph.TimedOutError);
  } finally {
    silent.close();
    silent.closeAllConnections?.();
  }
});

test("URLs", () => {
  for (const url of ["", "localhost", "http://[::1", "ftp://x", "http://u:p@x", "http://x?y"]) {
    assert.throws(() => new maph.MaphClient(url), {
      name: "TypeError",
      message: `not the URL of a maph server: ${url}; it looks like http://localhost:8080`
    });
  }
  assert.throws(
    () => new maph.MaphClient("http://h", { token: "secret\n" }),
    (error) =>
      error instanceof TypeError && /trim\(\)/.test(error.message) && !/secret/.test(error.message)
  );
  check(new maph.MaphClient("https://h/base/").url, "https://h/base");
});

test("the types fit the module, and a program that uses them", async (t) => {
  if (spawnSync("tsc", ["--version"]).error) {
    t.skip("needs tsc");
    return;
  }
  const folder = await mkdtemp(path.join(tmpdir(), "maph-javascript."));
  try {
    await cp(path.join(room, "maph-client"), path.join(folder, "node_modules", "maph-client"), {
      recursive: true
    });
    const values = Object.keys(maph)
      .map((name) => `void maph.${name};`)
      .join("\n");
    await writeFile(
      path.join(folder, "program.mts"),
      `
import * as maph from "maph-client";
${values}
async function main(): Promise<void> {
  const client = new maph.MaphClient("http://localhost:8080", { token: "t", timeout: 1000 });
  const store: maph.MaphStore = await client.getStore("s");
  const value: string | Uint8Array | undefined = await store.get("k");
  const { version, created }: { version: number; created: boolean } =
    await store.set("k", new Uint8Array(3), { ifAbsent: true, sync: "full" });
  await store.batch().set("a", "1", { ttl: 5 }).delete("b").commit();
  for await (const [key, found] of store) console.log(key, found, value, version, created);
  for await (const change of await store.changes({ since: version }))
    console.log(change.key, change.deleted);
  await store.import([["a", "1"], { key: "b", value: "2" }]);
  try {
    await store.optimize((job) => console.log(job.state));
  } catch (error) {
    if (error instanceof maph.PreconditionFailedError) console.log(error.version);
  }
  // @ts-expect-error: a number is no value
  await store.set("k", 1);
  // @ts-expect-error: an option with a slip of the pen
  await store.set("k", "v", { ifabsent: true });
}
void main;
`
    );
    const done = spawnSync(
      "tsc",
      [
        "--noEmit",
        "--strict",
        "--target",
        "es2022",
        "--module",
        "node16",
        "--moduleResolution",
        "node16",
        "--lib",
        "es2022,dom,dom.iterable",
        "program.mts"
      ],
      { cwd: folder, encoding: "utf8" }
    );
    check(done.stdout + done.stderr, "");
    const declared = await readFile(path.join(room, "maph-client", "index.d.ts"), "utf8");
    const exported = [...declared.matchAll(/^export (?:class|function) (\w+)/gm)].map(
      ([, name]) => name
    );
    check(exported.sort(), Object.keys(maph).sort());
    for (const name of exported) {
      const body =
        new RegExp(`^export class ${name} [^\\n]*\\{\\n(.*?)^\\}`, "ms").exec(declared)?.[1] ?? "";
      const methods = [...body.matchAll(/^  (\w+)\(/gm)]
        .map(([, method]) => method)
        .filter((method) => method !== "constructor");
      const shown = Object.entries(Object.getOwnPropertyDescriptors(maph[name].prototype ?? {}));
      const real = shown
        .filter(
          ([method, { value }]) =>
            typeof value === "function" && method !== "constructor" && !method.startsWith("_")
        )
        .map(([method]) => method);
      if (typeof maph[name] === "function" && body)
        check([name, methods.sort()], [name, real.sort()]);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("one version, no dependency", async () => {
  const { version, dependencies } = JSON.parse(
    await readFile(path.join(room, "maph-client", "package.json"), "utf8")
  );
  check(
    [version, dependencies],
    [(await readFile(path.join(top, "VERSION"), "utf8")).trim(), undefined]
  );
  check(
    [
      ...(await readFile(path.join(room, "maph-client", "index.js"), "utf8")).matchAll(
        /^\s*import\b|await import\(|\brequire\(/gm
      )
    ].length,
    0
  );
});
