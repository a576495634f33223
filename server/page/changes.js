// changes.js - what is written to a store, as it happens.
//
// The route sends server-sent events.  They are read with fetch, not with EventSource, which can
// neither carry a token nor
// tell why it was refused.  After a broken connection the feed goes on after the last id it saw.

import { badge, button, empty, failure, h, link, show } from "./dom.js";
import { label, member, percent, plural, size } from "./bytes.js";
import { storeHead } from "./store.js";
import * as api from "./api.js";

const KEPT = 200,
  AGAIN_MS = 2000;

// The events of a stream: {type, id, data}.
export async function* eventsOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "",
    event = { type: "message", id: null, data: [] };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const lines = text.split(/\r\n|\n|\r(?!$)/);
    text = lines.pop();
    for (const line of lines) {
      const [, name, rest] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (name === "data") event.data.push(rest);
      else if (name === "event") event.type = rest;
      else if (name === "id") event.id = rest;
      else if (line === "") {
        if (event.data.length || event.id !== null) yield { ...event, data: event.data.join("\n") };
        event = { type: "message", id: null, data: [] };
      }
    }
  }
}

export function changesView(place, route, signal) {
  const name = route.store,
    head = h("div"),
    note = h("div"),
    status = h("p", { class: "state", role: "status" });
  const rows = h("tbody"),
    toggle = button("Pause", () => (running ? pause() : follow()));
  const table = h(
    "table",
    { class: "cards", hidden: true },
    h("caption", { class: "hidden" }, "Changes, the newest first"),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ["Key", "What", "Size", "Version", "Seen"].map((t) => h("th", { scope: "col" }, t))
      )
    ),
    rows
  );
  const top = storeHead(head, name, "Changes", signal);
  let running = null,
    last = null,
    seen = 0;

  show(place, head, h("div", { class: "row" }, status, toggle), note, table);
  signal.addEventListener("abort", () => pause());
  // A tab that nobody sees holds no connection: browsers allow a server six, and the server has its
  // own number of watchers.
  let asleep = false;
  document.addEventListener(
    "visibilitychange",
    () => {
      if (document.hidden && running) {
        pause();
        asleep = true;
      } else if (!document.hidden && asleep) {
        asleep = false;
        follow();
      }
    },
    { signal }
  );

  function tell(kind, text) {
    status.className = `state ${kind}`;
    status.textContent = text;
    toggle.textContent = running ? "Pause" : "Go on";
  }
  function pause() {
    if (running) running.abort();
    running = null;
    tell("", "Paused");
  }
  function waiting() {
    if (!seen)
      show(
        note,
        empty(
          "Waiting for changes",
          h(
            "p",
            {},
            "Every put and delete shows here the moment it is committed, whoever makes it: HTTP, " +
              "SQL or C."
          )
        )
      );
  }

  function add(change) {
    const key = percent(member(change, "key", "key_encoding")),
      deleted = change.op === "delete";
    if (!seen++) {
      show(note);
      table.hidden = false;
    }
    rows.prepend(
      h(
        "tr",
        {},
        h("th", { scope: "row" }, link("", `#/stores/${name}/keys/${key}`, { class: "mono cut" })),
        h(
          "td",
          { "data-name": "What" },
          badge(deleted ? "delete" : "put", deleted ? "bad" : "good")
        ),
        h(
          "td",
          { "data-name": "Size" },
          deleted || change.size === undefined ? "–" : size(change.size)
        ),
        h("td", { "data-name": "Version" }, String(change.version)),
        h("td", { "data-name": "Seen" }, new Date().toLocaleTimeString("en-GB"))
      )
    );
    rows.firstChild
      .querySelector("a")
      .append(h("bdi", {}, label(member(change, "key", "key_encoding"))));
    while (rows.childElementCount > KEPT) rows.lastChild.remove();
    tell("good", `Live · ${plural(seen, "change")} seen`);
  }

  // Read one connection's events.  True: it ended and may be taken up again.
  async function read(own) {
    const response = await api.request("GET", `stores/${name}/changes?since=${last}`, {
      signal: own.signal,
      headers: { Accept: "text/event-stream", "Last-Event-ID": String(last) }
    });
    tell("good", seen ? `Live · ${plural(seen, "change")} seen` : "Live");
    waiting();
    for await (const event of eventsOf(response.body)) {
      if (event.data) {
        const change = JSON.parse(event.data);
        if (change.op === "problem")
          throw new api.Problem(change.status, change.code, change.detail);
        if (change.op !== "reached") add(change);
      }
      if (event.id) last = event.id;
    }
  }

  // Follow until paused, or until an answer says that there is no point.
  async function follow() {
    // one follower at a time: an older one sees that it is not `running`
    const own = (running = new AbortController());
    show(note);
    tell("", "Connecting…");
    if (last === null) last = (await top.first)?.version ?? null;
    if (last === null) {
      pause();
      return;
    }
    while (running === own && !signal.aborted) {
      let why = "Connection lost; trying again";
      try {
        await read(own);
      } catch (problem) {
        if (problem.name === "AbortError" || running !== own) return;
        if (problem.status && problem.status !== 503) {
          refused(problem);
          return;
        }
        if (problem.status) why = `${problem.message} Trying again.`;
      }
      if (running !== own) return;
      tell("bad", why);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  function refused(problem) {
    running = null;
    tell("", "Not following");
    if (problem.code === "no_such_path")
      show(
        note,
        empty(
          "No change feed",
          h("p", {}, "This server does not offer changes of a store; a newer one does.")
        )
      );
    else if (problem.status === 410) {
      show(
        note,
        empty(
          "The changes since are not there",
          h("p", {}, problem.message),
          h(
            "p",
            {},
            button("Follow from now", async () => {
              last = (await top.refresh())?.version ?? null;
              follow();
            })
          )
        )
      );
    } else show(note, failure(problem, follow));
  }

  follow();
}
