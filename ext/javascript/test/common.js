/*
 * common.js - the tests that Node and a browser both run: [name, async (client, name, check) =>
 * ...] against a real server.
 *
 * check(got, wanted) compares deeply; check.rejects(promise, Kind) answers the error.
 */
import * as maph from "../maph-client/index.js";

const bytes = (...all) => new Uint8Array(all);
const collect = async (iterable) => {
  const all = [];
  for await (const one of iterable) all.push(one);
  return all;
};
const shown = (key) => (typeof key === "string" ? key : `bytes ${Array.from(key)}`);

// Every kind of key that a URL, a path or JSON could spoil.
export const KEYS = [
  "k",
  "a/b",
  "a//b",
  "/",
  "a?b",
  "a#b",
  "100%",
  "%2F",
  "%2e",
  "%",
  "a b",
  "a+b",
  ".",
  "..",
  "...",
  "a.",
  "./a",
  "../../etc",
  "é",
  "日本",
  "\u{1f600}",
  "\ufeffbom",
  '"',
  "'",
  "\\",
  "\n",
  "\t",
  "\0",
  "\x7f",
  "a&b=c",
  ":",
  "@",
  "~",
  "<b>",
  bytes(255, 254),
  bytes(0, 255),
  bytes(128)
];

const tests = {
  async "a value comes back as what it was put as"(client, name, check) {
    const store = await client.createStore(name);
    for (const value of [
      "new_value",
      "",
      'é\n"',
      "\ufeffbom",
      "with\0nul",
      bytes(),
      bytes(97),
      bytes(255, 0),
      JSON.stringify({ price: 29.99 }),
      "x".repeat(3000000),
      new Uint8Array(3000000).fill(254)
    ]) {
      await store.set("k", value);
      check(await store.get("k"), value);
      check(await collect(store.values()), [value]);
      check(await store.getMany(["k"]), new Map([["k", value]]));
    }
    await store.set("k", new Uint16Array([1, 2]));
    check(await store.get("k"), bytes(1, 0, 2, 0));
    await store.set("k", new Uint16Array([1, 2]).buffer);
    check(await store.getBytes("k"), bytes(1, 0, 2, 0));
    await store.set("k", "text");
    check(await store.getBytes("k"), bytes(116, 101, 120, 116));
    check(await store.get("none"), undefined);
    check(await store.getBytes("none"), undefined);
    check(await store.getEntry("none"), undefined);
  },

  async "every key stays itself"(client, name, check) {
    const store = await client.createStore(name);
    const wanted = new Map(KEYS.map((key, n) => [shown(key), String(n)]));
    for (const [n, key] of KEYS.entries()) check((await store.set(key, String(n))).created, true);
    for (const [n, key] of KEYS.entries()) {
      check(await store.get(key), String(n));
      check(await store.has(key), true);
    }
    check(
      (await collect(store)).map(([key, value]) => [shown(key), value]).sort(),
      [...wanted].sort()
    );
    check((await collect(store.keys())).map(shown).sort(), KEYS.map(shown).sort());
    check(
      new Map((await collect(store.export())).map(({ key, value }) => [shown(key), value])),
      wanted
    );
    check([...(await store.getMany(KEYS)).keys()].length, KEYS.length);
    for (const key of KEYS) {
      check(await store.delete(key), true);
      check(await store.delete(key), false);
      check(await store.has(key), false);
    }
    check(await store.size(), 0);
  },

  async "keys of every byte"(client, name, check) {
    const store = await client.createStore(name);
    const keys = [
      ...Array.from({ length: 256 }, (_, n) => bytes(n)),
      Uint8Array.from({ length: 256 }, (_, n) => n)
    ];
    await store.setMany(keys.map((key, n) => [key, String(n)]));
    for (const [n, key] of keys.entries()) check(await store.get(key), String(n));
    const seen = (await collect(store.keys())).map((key) =>
      typeof key === "string" ? new TextEncoder().encode(key) : key
    );
    check(
      seen,
      [...keys].sort((a, b) => a[0] - b[0] || a.length - b.length)
    );
    check(
      [...(await store.getMany(keys)).values()],
      keys.map((_, n) => String(n))
    );
  },

  async "a signal ends requests and streams with its reason"(client, name, check) {
    const store = await client.createStore(name),
      control = new AbortController(),
      mine = store.with({ signal: control.signal }),
      reason = new Error("enough");
    await mine.setMany(Array.from({ length: 5000 }, (_, n) => [`k${n}`, "v".repeat(1000)]));
    const entries = mine.export(),
      feed = await mine.changes();
    check((await entries.next()).done, false);
    const waiting = feed.next().catch((error) => error);
    control.abort(reason);
    const all = [
      waiting,
      collect(entries),
      mine.get("k"),
      mine.has("k"),
      mine.set("k", "v"),
      mine.delete("k"),
      mine.clear(),
      collect(mine),
      mine.import([["a", "b"]]),
      mine.optimize()
    ].map((one) => one.catch((error) => error));
    for (const error of await Promise.all(all)) check(error === reason, true);
    check(await store.size(), 5000);
  },

  async "keys too long for a URL"(client, name, check) {
    const store = await client.createStore(name);
    for (const key of ["x".repeat(40000), "é".repeat(32767), new Uint8Array(65535).fill(255)]) {
      const { version, created } = await store.set(key, "v", { ifAbsent: true });
      check(created, true);
      check((await store.getEntry(key)).version, version);
      await check.rejects(
        store.set(key, "w", { ifVersion: version + 1 }),
        maph.PreconditionFailedError
      );
      await store.set(key, bytes(1), { ifVersion: version });
      check(await store.get(key), bytes(1));
      check(await store.delete(key), true);
      check(await store.has(key), false);
    }
  },

  async "what is no key, value or store name"(client, name, check) {
    const store = await client.createStore(name);
    for (const key of ["", bytes(), 1, null, undefined, {}, "\ud800"]) {
      await check.rejects(store.set(key, "v"), TypeError);
      await check.rejects(store.get(key), TypeError);
      await check.rejects((async () => store.batch().get(key))(), TypeError);
    }
    for (const value of [1, null, undefined, { a: 1 }, ["a"], true, "\udc00"])
      await check.rejects(store.set("k", value), TypeError);
    check(await store.size(), 0);
    for (const wrong of ["", ".", "..", "../etc", ".hidden", "a b"]) {
      await check.rejects(client.createStore(wrong), maph.BadRequestError);
      await check.rejects(client.deleteStore(wrong), maph.BadRequestError);
    }
  },

  async versions(client, name, check) {
    const store = await client.createStore(name);
    const first = await store.set("k", "1");
    check(first.created, true);
    const second = await store.set("k", "2", { ifVersion: first.version });
    check([second.created, second.version > first.version], [false, true]);
    const error = await check.rejects(
      store.set("k", "3", { ifVersion: first.version }),
      maph.PreconditionFailedError
    );
    check(
      [error.version, error.status, error.code, error.operation],
      [second.version, 412, "precondition_failed", undefined]
    );
    check(typeof error.requestId, "string");
    await check.rejects(
      store.delete("k", { ifVersion: first.version }),
      maph.PreconditionFailedError
    );
    await check.rejects(store.set("k", "3", { ifAbsent: true }), maph.PreconditionFailedError);
    await check.rejects(store.set("none", "3", { ifPresent: true }), maph.PreconditionFailedError);
    await check.rejects(store.set("k", "3", { ifPresent: true, ifAbsent: true }), TypeError);
    check((await store.set("k", "3", { ifPresent: true })).created, false);
    check(await store.get("k"), "3");
  },

  async "counters that many change at once"(client, name, check) {
    const store = await client.createStore(name);
    await Promise.all(
      Array.from({ length: 5 }, async () => {
        for (let i = 0; i < 10; i++)
          await store.modify("n", (value = "0") => String(Number(value) + 1));
      })
    );
    check(await store.get("n"), "50");
  },

  async "increment and merge"(client, name, check) {
    const store = await client.createStore(name);
    await Promise.all(
      Array.from({ length: 5 }, async () => {
        for (let i = 0; i < 10; i++) await store.increment("n", 2);
      })
    );
    check(await store.get("n"), "100");
    check(await store.increment("n", -101), -1);
    const least = await store.increment("n", -(2n ** 63n) + 1n);
    check([typeof least, String(least)], ["bigint", "-9223372036854775808"]);
    check((await store.increment("new", 1, { ttl: 1000 })) === 1, true);
    check((await store.getEntry("new")).expiresAt > Date.now(), true);
    await check.rejects(store.increment("n", -1), maph.BadRequestError);
    await check.rejects(store.increment("n", 1.5), maph.BadRequestError);
    await check.rejects(store.increment(".."), RangeError);
    await store.set("j", '{"a": 1, "b": {"c": 29.990}}', { contentType: "application/json" });
    const merged = await store.merge("j", { a: null, b: { d: [1, "ü"] } });
    check([merged.created, merged.version], [false, (await store.getEntry("j")).version]);
    check(await store.get("j"), '{"b":{"c":29.990,"d":[1,"ü"]}}');
    check((await store.merge("fresh", { x: 1 })).created, true);
    await store.set("text", "x");
    await check.rejects(store.merge("text", {}), maph.BadRequestError);
    await check.rejects(store.merge("text"), TypeError);
  },

  async "expiry and type"(client, name, check) {
    const store = await client.createStore(name),
      before = Date.now();
    await store.set("k", '{"a":1}', { ttl: 1000, contentType: "application/json", sync: "full" });
    const entry = await store.getEntry("k");
    check([entry.value, entry.mediaType], ['{"a":1}', "application/json"]);
    check(entry.expiresAt >= before + 999000 && entry.expiresAt < before + 1100000, true);
    check(
      (await collect(store.scan())).map(({ value, type, mediaType }) => [value, type, mediaType]),
      [['{"a":1}', "json", "application/json"]]
    );
  },

  async "a batch is all or nothing"(client, name, check) {
    const store = await client.createStore(name);
    await store.set("b", "old");
    const batch = store
      .batch()
      .set("a", "1", { ifAbsent: true })
      .set("b", bytes(255))
      .get("b")
      .delete("none")
      .get("none");
    check(batch.size, 5);
    const results = await batch.commit();
    check(
      results.map(({ status, found }) => [status, found]),
      [
        [201, true],
        [200, true],
        [200, true],
        [404, false],
        [404, false]
      ]
    );
    check(results[2].entry.value, bytes(255));
    check(results[0].version, (await store.getEntry("a")).version);
    const error = await check.rejects(
      store.batch({ sync: "full" }).set("c", "1").set("a", "2", { ifAbsent: true }).commit(),
      maph.PreconditionFailedError
    );
    check(error.operation, 1);
    check(await store.has("c"), false);
    check(await store.batch().commit(), []);
    check(await store.getMany([]), new Map());
  },

  async "a batch that failed is still there"(client, name, check) {
    const store = await client.createStore(name),
      batch = store.batch().set("a", "1").set("b", "2", { ifPresent: true });
    for (let i = 0; i < 2; i++) {
      await check.rejects(batch.commit(), maph.PreconditionFailedError);
      check([batch.size, await store.size()], [2, 0]);
    }
    await store.set("b", "1");
    check(
      (await batch.commit()).map(({ status }) => status),
      [201, 200]
    );
    check(
      [batch.size, await batch.commit(), await store.get("a"), await store.get("b")],
      [0, [], "1", "2"]
    );
  },

  async "what no request can hold is a TypeError"(client, name, check) {
    const store = await client.createStore(name);
    for (const contentType of ["a\r\nb", "text/\u2603"])
      await check.rejects(store.set("k", "v", { contentType }), TypeError);
    for (const prefix of [null, {}]) await check.rejects(collect(store.keys(prefix)), TypeError);
    await check.rejects(collect(store.export({})), TypeError);
    await check.rejects((async () => (await store.changes({ prefix: {} })).next())(), TypeError);
    check(await store.size(), 0);
  },

  async pages(client, name, check) {
    const store = await client.createStore(name);
    const pairs = Array.from({ length: 2500 }, (_, n) => [
      `${n % 2 ? "odd" : "even"}${n}`,
      String(n)
    ]);
    await store.setMany(pairs);
    const sorted = pairs.map(([key]) => key).sort();
    check(new Map(await collect(store)), new Map(pairs.sort()));
    check(await collect(store.keys()), sorted);
    check(
      await collect(store.keys("odd")),
      sorted.filter((key) => key.startsWith("odd"))
    );
    check(
      await collect(store.keys("", { from: "even2", to: "odd11", reverse: true })),
      sorted.filter((key) => key >= "even2" && key < "odd11").reverse()
    );
    check((await collect(store.scan("even"))).length, 1250);
    check(await collect(store.values("none")), []);
    await store.setMany([
      [bytes(255, 0, 97), "1"],
      [bytes(255, 1), "2"],
      ["a b&c=d", "3"],
      ["a+b", "4"]
    ]);
    check(await collect(store.keys(bytes(255, 0))), [bytes(255, 0, 97)]);
    check(
      (await collect(store.export(bytes(255)))).map(({ value }) => value),
      ["1", "2"]
    );
    check(
      [
        await collect(store.keys("a ")),
        await collect(store.keys("a+")),
        await collect(store.keys("a b&c="))
      ],
      [["a b&c=d"], ["a+b"], ["a b&c=d"]]
    );
    for await (const key of store.keys()) {
      check(key, "a b&c=d");
      break;
    }
    await store.clear();
    check(await store.size(), 0);
    await store.setMany({ a: "1", b: "2" });
    check(await collect(store), [
      ["a", "1"],
      ["b", "2"]
    ]);
    await store.setMany([
      ["big", new Uint8Array(5000000)],
      ["small", "s"]
    ]);
    check((await store.get("big")).length, 5000000);
  },

  async "export is import"(client, name, check) {
    const store = await client.createStore(name),
      copy = await client.createStore(`${name}-copy`),
      again = await client.createStore(`${name}-again`);
    await store.setMany(KEYS.map((key, n) => [key, String(n)]));
    await store.set("typed", bytes(1, 2), { contentType: "image/png", ttl: 5000 });
    await store.set("text", "é\0");
    await store.set("large", "y".repeat(2000000));
    check(await copy.import(store.exportLines()), KEYS.length + 3);
    check(await again.import(store.export()), KEYS.length + 3);
    const shape = async (of) => (await collect(of.export())).map(({ version, ...rest }) => rest);
    check(await shape(copy), await shape(store));
    check(await shape(again), await shape(store));
  },

  async "an import in pieces names the lines it refuses"(client, name, check) {
    const store = await client.createStore(name);
    check(
      await store.import(
        (function* () {
          for (let n = 0; n < 20000; n++) yield [`k${n}`, "v".repeat(100)];
        })()
      ),
      20000
    );
    check(await store.size(), 20000);
    const lines = [
      '{"key":"a","value":"1"}',
      "nonsense",
      ...Array.from({ length: 15000 }, () => ["z", "v".repeat(100)]),
      '{"key":"b"}'
    ];
    const error = await check.rejects(store.import(lines), maph.ImportFailedError);
    check(
      [error.problem.imported, error.problem.failed, error.problem.errors.map(({ line }) => line)],
      [15001, 2, [2, 15003]]
    );
  },

  async "a range is deleted"(client, name, check) {
    const store = await client.createStore(name);
    await store.setMany(
      Array.from({ length: 1200 }, (_, n) => [`k${String(n).padStart(4, "0")}`, "v"])
    );
    await store.setMany([
      [bytes(255, 1), "1"],
      [bytes(255, 2), "2"],
      ["user/1", "1"]
    ]);
    check(await store.deleteRange("", { from: "k1000", to: "k1003" }), 3);
    check(await store.deleteRange("k"), 1197);
    check(await store.deleteRange("k", { sync: "full" }), 0);
    check(await store.deleteRange(bytes(255), { from: bytes(255, 2) }), 1);
    check(await collect(store.keys()), ["user/1", bytes(255, 1)]);
    const info = await (await store.startDeleteRange("", { to: "v" })).wait();
    check([info.deleted, info.last_key], [1, "user/1"]);
    for (const nothing of [[], [""], ["", { from: "", to: new Uint8Array() }]])
      await check.rejects(store.deleteRange(...nothing), RangeError);
    check(await store.size(), 1);
  },

  async "an export in key order"(client, name, check) {
    const store = await client.createStore(name),
      names = Array.from({ length: 50 }, (_, n) => `k${(n * 7) % 50}`),
      keys = async (...what) => (await collect(store.export(...what))).map(({ key }) => key);
    for (const key of names) await store.set(key, "v");
    const sorted = [...names].sort();
    check(await keys(), names);
    check(await keys("", { sorted: true }), sorted);
    check(await keys("", { reverse: true }), [...sorted].reverse());
    check(await keys("k4"), sorted.filter((key) => key.startsWith("k4")));
    check(await keys("", { from: "k2", to: "k22" }), ["k2", "k20", "k21"]);
    check(await keys("k2", { from: "k28", reverse: true }), ["k29", "k28"]);
    check((await collect(store.exportLines("", { to: "k1" }))).length, 1);
  },

  async "an export left early leaves the client well"(client, name, check) {
    const store = await client.createStore(name);
    await store.setMany(Array.from({ length: 5000 }, (_, n) => [`k${n}`, "v".repeat(1000)]));
    for (let i = 0; i < 3; i++) {
      for await (const { key } of store.export()) {
        check(await store.has(key), true);
        break;
      }
    }
  },

  async stores(client, name, check) {
    const store = await client.createStore(name, { expectedKeys: 1000 });
    const error = await check.rejects(client.createStore(name), maph.StoreExistsError);
    check([error.status, error.code, error.name], [409, "store_exists", "StoreExistsError"]);
    check((await client.createStore(name, { existOk: true })).name, name);
    check((await client.getStore(name)).name, name);
    await store.set("k", "v");
    check((await client.listStores()).find((one) => one.name === name).size, 1);
    check((await store.stats()).generation, 1);
    await store.sync();
    const checked = await store.check();
    check([checked.success, checked.problems], [true, 0]);
    check(
      (await client.jobs()).some((job) => job.info.store === name && job.state === "done"),
      true
    );
    await client.ping();
    await client.deleteStore(name);
    for (const fails of [
      () => client.getStore(name),
      () => client.deleteStore(name),
      () => store.get("k"),
      () => store.has("k"),
      () => store.set("k", "v"),
      () => store.delete("k"),
      () => store.size(),
      () => collect(store)
    ]) {
      await check.rejects(fails(), maph.StoreNotFoundError);
    }
  }
};

// Those that need routes of the server which it may not have yet.
export const later = {
  optimize: [
    "stores/NAME/optimize",
    async (client, name, check) => {
      const store = await client.createStore(name);
      await store.setMany(Array.from({ length: 1000 }, (_, n) => [String(n), "v"]));
      check((await store.optimize()).state, "done");
      check((await store.compact()).state, "done");
      check((await store.backup(name)).file, `${name}.maph`);
      await check.rejects(store.backup(name), maph.StoreExistsError);
      check((await collect(store)).length, 1000);
    }
  ],
  changes: [
    "stores/NAME/changes",
    async (client, name, check) => {
      const store = await client.createStore(name);
      await store.set("a", "1");
      await store.batch().set("b", "2").set("c", bytes(255)).delete("a").commit();
      const changes = await store.changes({ since: 0 }),
        got = [];
      for await (const { key, value, deleted, last } of changes)
        if (got.push([key, value, deleted, last]) === 4) break;
      check(got, [
        ["a", "1", false, true],
        ["b", "2", false, false],
        ["c", bytes(255), false, false],
        ["a", undefined, true, true]
      ]);
      const from = await store.changes();
      await store.set("d", "4");
      check((await from.next()).value.key, "d");
      from.close();
      check((await from.next()).done, true);
    }
  ]
};

export default tests;
