// stores.js - the stores of the folder, with their sizes, and making a new one.

import {
  ask,
  badge,
  bar,
  button,
  empty,
  failure,
  field,
  h,
  link,
  loading,
  say,
  show
} from "./dom.js";
import { brief, count, plural, size } from "./bytes.js";
import * as api from "./api.js";

const SHOWN = 500,
  FILTER_ABOVE = 8;

// What of the file is live, what a rewrite would free.  The rest is room to write into.
export function spaceBar(s) {
  const whole = Math.max(1, s.bytes);
  return bar(
    `${size(s.live_bytes)} live, ${size(s.dead_bytes)} that compacting frees, ${size(s.bytes)} ` +
      "in all",
    [s.live_bytes / whole, "live"],
    [s.dead_bytes / whole, "dead"]
  );
}

export const flags = (s) => [
  s.replica
    ? badge(`replica, ${s.replica.state}`, s.replica.state === "following" ? null : "bad")
    : s.versions === "given" && badge("replica"),
  s.read_only && !s.forwarded && badge("read-only"),
  s.poisoned && badge("writes refused", "bad")
];

function row(s) {
  const cell = (name, ...content) => h("td", { "data-name": name }, content);
  const name = h("th", { scope: "row" }, link(s.name, `#/stores/${s.name}`), " ", flags(s));
  if (s.error)
    return h(
      "tr",
      {},
      name,
      h("td", { colspan: 4, class: "bad" }, `Cannot be opened: ${s.error.detail}`)
    );
  return h(
    "tr",
    {},
    name,
    cell("Keys", count(s.size)),
    cell("On disk", size(s.bytes)),
    cell("Live and dead", spaceBar(s)),
    cell("Load", `${brief(s.load_factor * 100)} %`)
  );
}

async function create() {
  const name = h("input", {
    required: true,
    pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,63}",
    maxlength: 64,
    autocomplete: "off",
    spellcheck: "false",
    autofocus: true
  });
  const keys = h("input", { inputmode: "numeric", pattern: "[0-9]{0,12}", autocomplete: "off" });
  const done = await ask({
    title: "New store",
    action: "Create",
    body: [
      field("Name", name, "Letters, digits, dots, dashes and underscores; up to 64."),
      field(
        "Keys expected (optional)",
        keys,
        "Room in the index from the start. It grows by itself otherwise."
      )
    ],
    run: () =>
      api.json(
        "POST",
        `stores/${name.value}`,
        keys.value
          ? {
              headers: { "Content-Type": "application/json" },
              body: JSON.stringify({ expected_keys: Number(keys.value) })
            }
          : {}
      )
  });
  if (!done) return;
  say(`The store ${name.value} was created.`);
  location.hash = `#/stores/${name.value}`;
}

export function storesView(place, route, signal) {
  const summary = h("p", { class: "faint" }),
    list = h("div", {}, loading());
  const filter = h("input", {
    type: "search",
    "aria-label": "Filter by name",
    placeholder: "Filter by name",
    oninput: () => draw()
  });
  const make = button("New store", create, { class: "primary" });
  let stores = [],
    maker = false;
  show(
    place,
    h("div", { class: "title" }, h("div", {}, h("h1", {}, "Stores"), summary), make),
    filter,
    list
  );
  filter.hidden = make.hidden = true;

  function draw() {
    const found = stores.filter((s) => s.name.includes(filter.value));
    if (!stores.length) {
      show(
        list,
        empty(
          "No stores yet",
          maker
            ? [
                h(
                  "p",
                  {},
                  "A store is one file of keys and values. Make the first one here, or copy one " +
                    "into the server’s folder."
                ),
                h("p", {}, button("New store", create, { class: "primary" }))
              ]
            : h("p", {}, "There is none here, or none that this token may read.")
        )
      );
      return;
    }
    show(
      list,
      h(
        "table",
        { class: "cards" },
        h("caption", { class: "hidden" }, "Stores"),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["Name", "Keys", "On disk", "Live and dead", "Load"].map((t) =>
              h("th", { scope: "col" }, t)
            )
          )
        ),
        h("tbody", {}, found.slice(0, SHOWN).map(row))
      ),
      found.length > 0 &&
        h(
          "p",
          { class: "faint below" },
          "Load is how much of the index is in use. It grows by itself: a full one costs nothing."
        ),
      !found.length && h("p", { class: "faint" }, "No store has that in its name."),
      found.length > SHOWN &&
        h("p", { class: "faint" }, `${plural(found.length - SHOWN, "more store")}: filter by name.`)
    );
  }

  async function load() {
    try {
      const answer = await api.request("GET", "stores", { signal });
      maker = api.roleOf(answer) === "admin";
      stores = await answer.json();
    } catch (problem) {
      if (problem.name !== "AbortError") show(list, failure(problem, load));
      return;
    }
    const sum = (name) => stores.reduce((n, s) => n + (s[name] || 0), 0);
    summary.textContent = stores.length
      ? `${plural(stores.length, "store")} · ${plural(sum("size"), "key")} · ` +
        `${size(sum("bytes"))} on disk`
      : "";
    filter.hidden = stores.length <= FILTER_ABOVE;
    make.hidden = !maker;
    draw();
  }
  load();
}
