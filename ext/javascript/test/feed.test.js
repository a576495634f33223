/* feed.test.js - the change feed and jobs against a server that says exactly what a test wants. */
import assert from "node:assert/strict";
import http from "node:http";
import { once } from "node:events";
import { after, describe, test } from "node:test";
import * as maph from "../maph-client/index.js";

const check = (got, wanted) => assert.deepEqual(got, wanted);
const servers = [];
after(() =>
  servers.forEach((server) => {
    server.closeAllConnections();
    server.close();
  })
);

/* answer(number) gives [status, headers, pieces]; the end of an endless answer is null, a
 * connection that breaks undefined. */
async function fake(answer) {
  const asked = [],
    open = new Set();
  const server = http
    .createServer((request, response) => {
      asked.push(request.method === "GET" ? request.url : `${request.method} ${request.url}`);
      const [status, headers, pieces] = answer(asked.length);
      response.writeHead(status, headers);
      response.flushHeaders();
      open.add(response);
      response.once("close", () => open.delete(response));
      for (const piece of pieces) {
        if (piece === null) return;
        if (piece === undefined) {
          setImmediate(() => response.destroy());
          return;
        }
        response.write(piece);
      }
      response.end();
    })
    .listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  const url = `http://127.0.0.1:${server.address().port}`,
    client = new maph.MaphClient(url);
  return { asked, open, url, client, store: client.store("s") };
}

const SSE = { "Content-Type": "text/event-stream" },
  FAST = "retry: 1\n\n";

/* As the server writes it: a delete when there is no value. */
function event(version, key, value, last = true) {
  const op = value === undefined ? "delete" : "put";
  const data = JSON.stringify({ op, key, version, value, last: last || undefined });
  return `${last ? `id: ${version}` : ":"}\ndata: ${data}\n\n`;
}
const problem = (status, code) => [
  status,
  { "Content-Type": "application/problem+json" },
  [JSON.stringify({ status, code, detail: "because" })]
];

async function take(changes, n) {
  const all = [];
  while (all.length < n) all.push((await changes.next()).value);
  return all;
}

test("events are parsed as the standard says", async () => {
  const parse = async (text) => {
    const got = [],
      retries = [],
      lines = text.split("\n");
    if (lines.at(-1) === "") lines.pop();
    for await (const { name, data, id } of maph.parseEvents(lines, (ms) => retries.push(ms)))
      got.push([name, data, id]);
    return [got, retries];
  };
  check(await parse("data: YHOO\ndata: +2\ndata: 10\n\n"), [
    [["message", "YHOO\n+2\n10", undefined]],
    []
  ]);
  check(
    (
      await parse(
        ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third " +
          "event\n\n"
      )
    )[0],
    [
      ["message", "first event", "1"],
      ["message", "second event", ""],
      ["message", " third event", undefined]
    ]
  );
  check((await parse("data\n\ndata\ndata\n\ndata:"))[0], [
    ["message", "", undefined],
    ["message", "\n", undefined]
  ]);
  check(await parse("event: x\r\ndata:a\r\n\r\nretry: 10\nretry: x\n\nid: 1\0\ndata: b\n\n"), [
    [
      ["x", "a", undefined],
      ["message", "b", undefined]
    ],
    [10]
  ]);
  check((await parse("data: a\n\ndata: b\nid: 2\n"))[0], [["message", "a", undefined]]);
});

describe("feed", () => {
  test("puts and deletes", async () => {
    const { asked, store } = await fake(() => [
      200,
      SSE,
      [
        FAST,
        ": heartbeat\n\n",
        event(1, "a", "1", false),
        event(1, "b", "2"),
        event(2, "a"),
        'event: later\ndata: {"op":"put","key":"x"}\n\n',
        "id: 3\ndata: " +
          '{"op":"delete","key":"/w==","key_encoding":"base64","version":3,"last":true}\n\n',
        event(4, "é", "", false).slice(0, 20),
        event(4, "é", "", false).slice(20),
        "id: 4\ndata: " +
          '{"op":"put","key":"d","version":4,"type":"blob","value_omitted":true,"last":true}\n\n',
        "id: 9\n\n",
        event(10, "e"),
        null
      ]
    ]);
    const changes = await store.changes({ since: 0 });
    check(
      (await take(changes, 6)).map(({ key, value, version, deleted, last }) => [
        key,
        value,
        version,
        deleted,
        last
      ]),
      [
        ["a", "1", 1, false, false],
        ["b", "2", 1, false, true],
        ["a", undefined, 2, true, true],
        [new Uint8Array([255]), undefined, 3, true, true],
        ["é", "", 4, false, false],
        ["d", undefined, 4, false, true]
      ]
    );
    check(changes.version, 3); // the one just given may still be in work
    check([(await changes.next()).value.key, changes.version], ["e", 9]);
    check(asked, ["/stores/s/changes?since=0&values=1"]);
    changes.close();
    check((await changes.next()).done, true);
  });

  test("prefix without values", async () => {
    const { asked, store } = await fake(() => [200, SSE, [event(1, "a b", "1"), null]]);
    const changes = await store.changes({ since: 7, prefix: "a b", values: false });
    await changes.next();
    await changes.return();
    check(asked, ["/stores/s/changes?since=7&prefix=a%20b"]);
  });

  test("a feed that breaks is taken up after the last whole transaction", async () => {
    const { asked, store } = await fake((number) =>
      number === 1
        ? [200, SSE, [FAST, event(5, "a", "1"), event(6, "b", "1", false), undefined]]
        : number === 2
          ? problem(503, "busy")
          : number === 3
            ? [
                200,
                SSE,
                [event(6, "b", "1", false), event(6, "c", "1"), event(7, "d", "1").slice(0, -9)]
              ]
            : [200, SSE, [event(7, "d", "1"), null]]
    );
    const changes = await store.changes({ since: 4 });
    check(
      (await take(changes, 5)).map(({ key }) => key),
      ["a", "b", "b", "c", "d"]
    );
    check(
      asked.map((path) => /since=(\d+)/.exec(path)[1]),
      ["4", "5", "5", "6"]
    );
    changes.close();
  });

  test("a quiet feed is taken up too", async () => {
    const { asked, store } = await fake((number) =>
      number === 1
        ? [200, SSE, [FAST, ": nothing yet\n\n", undefined]]
        : number === 2
          ? [502, { "Content-Type": "text/html" }, ["<html>the server behind me is away"]]
          : [200, SSE, [event(1, "a", "1"), null]]
    );
    const changes = await store.changes({ since: 0 });
    check([(await changes.next()).value.key, asked.length], ["a", 3]);
    changes.close();
  });

  test("what is no feed is not waited on", async () => {
    const { store } = await fake(() => [200, { "Content-Type": "text/html" }, ["<html>welcome"]]);
    await assert.rejects((await store.changes({ since: 0 })).next(), maph.ServerError);
  });

  test("a past that is gone", async () => {
    const { asked, store } = await fake(() => problem(410, "compacted"));
    await assert.rejects((await store.changes({ since: 1 })).next(), maph.CompactedError);
    check(asked.length, 1);
    const away = await fake((number) =>
      number === 1 ? [200, SSE, [FAST, event(1, "a", "1")]] : problem(410, "compacted")
    );
    const changes = await away.store.changes({ since: 0 });
    check((await changes.next()).value.key, "a");
    await assert.rejects(changes.next(), maph.CompactedError);
    const inside = await fake(() => [
      200,
      SSE,
      ['event: problem\ndata: {"op":"problem","status":410,"code":"compacted","detail":"gone"}\n\n']
    ]);
    await assert.rejects((await inside.store.changes({ since: 0 })).next(), {
      name: "CompactedError",
      detail: "gone"
    });
  });

  test("without reconnecting the end is the end", async () => {
    const { store } = await fake(() => [200, SSE, [event(1, "a", "1")]]);
    const all = [];
    for await (const { key } of await store.changes({ since: 0, reconnect: false })) all.push(key);
    check(all, ["a"]);
    const broken = await fake(() => [200, SSE, [event(1, "a", "1"), undefined]]);
    const changes = await broken.store.changes({ since: 0, reconnect: false });
    check((await changes.next()).value.key, "a");
    await assert.rejects(changes.next(), maph.ConnectionLostError);
  });

  test("no server at the start is an error", async () => {
    await assert.rejects(
      (await new maph.MaphClient("http://127.0.0.1:1").store("s").changes({ since: 0 })).next(),
      maph.ConnectionLostError
    );
  });

  test("close and an abort wake the one that waits", async () => {
    const { store } = await fake(() => [200, SSE, [event(1, "a", "1"), null]]);
    const control = new AbortController();
    for (const [options, end] of [
      [{}, (changes) => changes.close()],
      [{ signal: control.signal }, () => control.abort()],
      [{}, (changes) => changes.return()]
    ]) {
      const changes = await store.changes({ since: 0, ...options });
      check((await changes.next()).value.key, "a");
      const waiting = changes.next();
      const ended = end(changes);
      check((await waiting).done, true);
      await ended;
    }
    check((await (await store.changes({ since: 0, signal: control.signal })).next()).done, true);
  });
});

/* Until nobody is connected any more. */
async function freed(open) {
  while (open.size > 0) await new Promise(setImmediate);
}

test("who leaves an iteration frees its connection", { timeout: 60000 }, async () => {
  const line = `${JSON.stringify({ key: "a", value: "1" })}\n`,
    endless = { "Content-Type": "application/x-ndjson" };
  const { open, store } = await fake(() => [200, endless, [line, line, null]]);
  for await (const { key } of store.export()) {
    check([key, open.size], ["a", 1]);
    break;
  }
  await freed(open);
  const lines = store.exportLines();
  await lines.next();
  await lines.return();
  await freed(open);
  const feeds = await fake(() => [200, SSE, [event(1, "a", "1"), null]]);
  for await (const { key } of await feeds.store.changes({ since: 0 })) {
    check([key, feeds.open.size], ["a", 1]);
    break;
  }
  await freed(feeds.open);
});

test("a signal frees the connection that waits", { timeout: 60000 }, async () => {
  const silent = await fake(() => [200, { "Content-Type": "application/json" }, [null]]),
    control = new AbortController();
  const waiting = silent.store
    .with({ signal: control.signal })
    .get("k")
    .catch((error) => error);
  while (silent.open.size === 0) await new Promise(setImmediate);
  control.abort();
  check((await waiting).name, "AbortError");
  await freed(silent.open);
  const late = silent.store.with({ timeout: 50 }).get("k");
  await assert.rejects(late, maph.TimedOutError);
  await freed(silent.open);
});

describe("answers that are not of a maph-server: no call takes one for success", () => {
  const collect = async (iterable) => {
    for await (const one of iterable) void one;
  };
  const calls = ({ client, store }) => [
    () => client.listStores(),
    () => client.jobs(),
    () => client.ping(),
    () => client.createStore("s"),
    () => client.getStore("s"),
    () => client.deleteStore("s"),
    () => store.get("k"),
    () => store.has("k"),
    () => store.set("k", "v"),
    () => store.delete("k"),
    () => store.getMany(["k"]),
    () => store.setMany([["k", "v"]]),
    () => store.batch().set("k", "v").commit(),
    () => store.clear(),
    () => collect(store),
    () => collect(store.export()),
    () => store.import([["k", "v"]]),
    () => store.stats(),
    () => store.sync(),
    () => store.optimize(),
    () => store.changes(),
    async () => (await store.changes({ since: 0 })).next()
  ];
  const HTML = { "Content-Type": "text/html" };
  for (const [name, answer, Kind, sentence] of [
    [
      "another web server",
      [200, HTML, ["<html>welcome"]],
      maph.ServerError,
      /not an answer of maph-server/
    ],
    [
      "a proxy that redirects",
      [301, { Location: "https://elsewhere/" }, ["moved"]],
      maph.ConnectionLostError,
      /redirect/i
    ],
    [
      "a proxy without its server",
      [502, HTML, ["<html>bad gateway"]],
      maph.ServerError,
      /502 without a reason: not an answer of maph-server/
    ]
  ]) {
    test(name, async () => {
      const from = await fake(() => answer);
      for (const call of calls(from)) {
        const error = await call().then(
          () => assert.fail(`${call} succeeded`),
          (caught) => caught
        );
        assert.ok(error instanceof Kind, `${call}: ${error}`);
        assert.match(error.message, sentence);
        assert.match(error.request, new RegExp(`^(GET|PUT|POST|DELETE) ${from.url}/`));
      }
    });
  }

  test("the ETag of a proxy that compresses", async () => {
    const { store } = await fake(() => [200, { ETag: 'W/"7"', "Maph-Type": "text" }, ["v"]]);
    check([(await store.getEntry("k")).version, (await store.set("k", "v")).version], [7, 7]);
  });
});

describe("writes that a replica's server sends to its bucket", () => {
  const answer =
    (status, code, more = {}) =>
    () => [
      status,
      { "Content-Type": "application/problem+json", "Retry-After": "3" },
      [JSON.stringify({ status, code, detail: "because", ...more })]
    ];
  const calls = (store) => [
    () => store.set("k", "v"),
    () => store.set("k", "v", { ifVersion: 1 }),
    () => store.delete("k"),
    () => store.increment("k"),
    () => store.merge("k", {}),
    () => store.batch().set("k", "v").commit()
  ];
  const fails = async (call) => {
    try {
      await call();
    } catch (error) {
      return error;
    }
    return assert.fail(`${call} succeeded`);
  };

  for (const [status, code, Kind, Also, wanted] of [
    [504, "outcome_unknown", maph.OutcomeUnknownError, maph.ServerError, [7, undefined]],
    [503, "bucket_unavailable", maph.BucketUnavailableError, maph.BusyError, [undefined, 3000]],
    [409, "no_transactions", maph.NoTransactionsError, maph.BadRequestError, [undefined, undefined]]
  ]) {
    test(`${status} ${code}`, async () => {
      const { asked, store } = await fake(answer(status, code, { revision: 7 }));
      for (const [number, call] of calls(store).entries()) {
        const error = await fails(call);
        check(
          [error.constructor, error.name, error.status, error.code, error instanceof Also],
          [Kind, Kind.name, status, code, true]
        );
        check(error instanceof maph.ConnectionLostError, false);
        check([error.revision, error.retryAfter], wanted);
        check(asked.length, number + 1); // it was asked for once
      }
    });
  }

  test("what is not told is undefined", async () => {
    const { store } = await fake(answer(504, "outcome_unknown"));
    check((await fails(() => store.set("k", "v"))).revision, undefined);
  });

  test("modify does not go on over one", async () => {
    const { asked, store } = await fake((number) =>
      number === 1
        ? [200, { ETag: '"1"', "Maph-Type": "text" }, ["1"]]
        : answer(504, "outcome_unknown")()
    );
    const error = await fails(() => store.modify("k", (value) => value + 1));
    check([error.constructor, asked.length], [maph.OutcomeUnknownError, 2]);
  });

  test("a gateway's own 504: of a write it is in doubt, of a read it is not", async () => {
    const { store } = await fake(() => [504, { "Content-Type": "text/html" }, ["<h1>"]]);
    check((await fails(() => store.set("k", "v"))).constructor, maph.OutcomeUnknownError);
    check((await fails(() => store.delete("k"))).constructor, maph.OutcomeUnknownError);
    check((await fails(() => store.get("k"))).constructor, maph.ServerError);
  });
});

describe("jobs", () => {
  const job = (states) =>
    fake((number) => [
      number === 1 ? 202 : 200,
      { "Content-Type": "application/json" },
      [JSON.stringify(states[number - 1])]
    ]);

  test("progress until done", async () => {
    const { asked, store } = await job(
      [0, 1, 2]
        .map((done) => ({ id: "7", state: "running", done }))
        .concat({ id: "7", state: "done", done: 3 })
    );
    const seen = [];
    check((await store.optimize(({ info }) => seen.push(info.done))).done, 3);
    check(
      [seen, asked],
      [
        [0, 1, 2],
        ["POST /stores/s/optimize", "/jobs/7", "/jobs/7", "/jobs/7"]
      ]
    );
  });

  test("failure and cancelling", async () => {
    const { store } = await job([
      { id: "7", state: "running" },
      { id: "7", state: "failed", code: "full", detail: "the disk is full" }
    ]);
    await assert.rejects(store.compact(), {
      name: "JobFailedError",
      code: "full",
      detail: "the disk is full"
    });
    const other = await job([
      { id: "7", state: "running" },
      {},
      { id: "7", state: "cancelled", code: "cancelled" }
    ]);
    const started = await other.store.start("backup", { name: "b" });
    await started.cancel();
    await assert.rejects(started.wait(), maph.JobFailedError);
    check(other.asked, ["POST /stores/s/backup?name=b", "DELETE /jobs/7", "/jobs/7"]);
  });
});
