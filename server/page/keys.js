// keys.js - the keys of a store in their order: by prefix, from a key on, by folders and page by
// page, beside the value of the chosen one.

import { ask, button, checkbox, empty, failure, h, id, link, loading, say, show } from "./dom.js";
import {
  decode,
  encode,
  fromHex,
  hex,
  label,
  member,
  percent,
  plural,
  size,
  unpercent
} from "./bytes.js";
import { hrefOfFolder, inOrder, wayTo } from "./folders.js";
import { picks } from "./picks.js";
import { storeHead } from "./store.js";
import { addressable, readAll, valuePane } from "./value.js";
import * as api from "./api.js";

const PAGE = 100;

export function keysView(place, route, signal) {
  const name = route.store,
    head = h("div"),
    list = h("ul", { class: "list", "aria-label": "Keys" }),
    way = h("div"),
    foot = h("div", { class: "foot" });
  const found = h("p", { class: "faint", role: "status" });
  const detail = h("section", { class: "pane", "aria-label": "Value" });
  const shown = new Map(); // percent-encoded key -> its item; a folder's begins with a slash
  let prefix = new Uint8Array(),
    from = new Uint8Array(),
    delimiter = new Uint8Array(),
    next = null,
    search = new AbortController(),
    pane = null;

  const text = (props) =>
    h("input", {
      id: id(),
      autocomplete: "off",
      spellcheck: "false",
      class: "mono",
      enterkeyhint: "search",
      ...props
    });
  const input = text({ type: "search", placeholder: "all keys" });
  const jump = text({ type: "search", placeholder: "the first" });
  const parts = text({ type: "text", placeholder: "none", maxlength: 16 });
  const [asHex, hexLabel] = checkbox("hex");
  const wrong = h("p", { class: "bad", role: "alert" });
  const form = h(
    "form",
    { role: "search", class: "search", onsubmit: begin },
    h("div", { class: "field" }, h("label", { for: input.id }, "Prefix"), input),
    hexLabel,
    h("div", { class: "field" }, h("label", { for: jump.id }, "From key"), jump),
    h("div", { class: "field" }, h("label", { for: parts.id }, "Folders by"), parts),
    h("button", { type: "submit" }, "Search")
  );

  const picked = picks(name, list, (keys) => {
    say(`${plural(keys.length, "key")} deleted.`);
    leave(keys);
  });
  const browser = h(
    "div",
    { class: "browser" },
    h(
      "section",
      { class: "side", "aria-label": "Browse" },
      form,
      wrong,
      h(
        "div",
        { class: "row" },
        found,
        button("Delete these", sweep, { class: "writes own sweep", hidden: true }),
        button("New key", create, { class: "writes" })
      ),
      picked.bar,
      way,
      list,
      foot
    ),
    detail
  );
  const top = storeHead(head, name, "Keys", signal, () => pane?.look());
  show(place, head, browser);

  // ------------------------------------------------------------------------------------ the list
  const chosen = () => route.key;
  const hrefOf = (key) => `#/stores/${name}/keys/${key}`;

  function put(key, facts, version) {
    const a = link("", hrefOf(key));
    if (key === chosen()) a.setAttribute("aria-current", "true");
    a.append(
      h("bdi", { class: "mono" }, label(unpercent(key))),
      h("span", { class: "faint" }, facts)
    );
    if (shown.has(key)) shown.get(key).remove(); // it was put again while we paged
    const node = h("li", {}, version && picked.boxOf(key, version), a);
    shown.set(key, node);
    list.append(node);
  }

  function putFolder(bytes) {
    const a = link("", hrefOfFolder(name, delimiter, bytes));
    a.append(
      h("bdi", { class: "mono" }, label(bytes.slice(prefix.length))),
      h("span", { class: "faint" }, "folder")
    );
    const node = h("li", { class: "folder" }, a);
    shown.set(`/${percent(bytes)}`, node);
    list.append(node);
  }

  // What a field says, as bytes; null: it says none.
  function bytesOf(field) {
    const bytes = asHex.checked ? fromHex(field.value) : encode(field.value);
    field.setAttribute("aria-invalid", bytes ? "false" : "true");
    return bytes;
  }

  async function begin(event) {
    if (event) event.preventDefault();
    const asked = [bytesOf(input), bytesOf(jump)];
    wrong.textContent = asked.every(Boolean) ? "" : "Hex is pairs of the digits 0-9 and a-f.";
    if (!asked.every(Boolean)) return;
    search.abort();
    search = new AbortController();
    [prefix, from] = asked;
    delimiter = encode(parts.value);
    next = null;
    shown.clear();
    picked.clear();
    show(list);
    show(way, delimiter.length > 0 && wayTo(name, delimiter, prefix));
    browser.querySelector(".sweep").hidden = !prefix.length && !from.length;
    const until = AbortSignal.any([signal, search.signal]);
    await exact(until);
    await more(until);
  }

  // The key that is the prefix itself stands first: a key can be opened without paging to it.
  async function exact(until) {
    if (!prefix.length || from.length) return;
    const key = percent(prefix);
    try {
      if (addressable(key))
        await api.request("HEAD", `stores/${name}/keys/${key}`, { signal: until });
      else await readAll(name, key);
    } catch {
      return;
    } // no such key: the list says what there is
    if (!until.aborted) put(key, "this key");
  }

  async function more(until) {
    if (until.aborted) return; // another search has begun
    show(foot, loading());
    let page;
    try {
      page = await api.json(
        "GET",
        `stores/${name}/keys?limit=${PAGE}${bounds()}` +
          (delimiter.length ? `&delimiter=${percent(delimiter)}` : "") +
          (next ? `&after=${next}` : ""),
        { signal: until }
      );
    } catch (problem) {
      if (problem.name === "AbortError") return;
      show(foot, failure(problem, () => more(until)));
      return;
    }
    const folders = (page.prefixes || []).map((one) => ({
      bytes: member(one, "prefix", "prefix_encoding"),
      folder: true
    }));
    const keys = page.keys.map((entry) => ({ bytes: member(entry, "key", "key_encoding"), entry }));
    for (const { bytes, folder, entry } of inOrder([...folders, ...keys]))
      if (folder) putFolder(bytes);
      else put(percent(bytes), `${entry.type} · ${size(entry.size)}`, entry.version);
    next = page.next;
    tell(until);
  }

  const bounds = () =>
    (prefix.length ? `&prefix=${percent(prefix)}` : "") +
    (from.length ? `&from=${percent(from)}` : "");

  // Show the next page; the keyboard goes on at its first key.
  async function onward(until) {
    const last = list.lastElementChild;
    await more(until);
    last.nextElementSibling?.querySelector("a").focus();
  }

  function tell(until) {
    const n = shown.size,
      folders = list.querySelectorAll(".folder").length;
    found.textContent = n
      ? [
          folders > 0 && plural(folders, "folder"),
          n > folders && plural(n - folders, "key")
        ]
          .filter(Boolean)
          .join(" and ") + (next ? " so far" : "")
      : "";
    if (n) show(foot, next && button("Show more", () => onward(until)));
    else if (from.length) show(foot, empty("No key is there, or behind it"));
    else if (prefix.length) show(foot, empty("No key begins with that"));
    else
      show(
        foot,
        empty("No keys yet", h("p", {}, "Add one here, import a file, or write with any client."))
      );
  }

  // Delete what the search finds, as a job of the server's, and wait for it.
  async function sweep() {
    const where = bounds().slice(1),
      until = AbortSignal.any([signal, search.signal]);
    let job;
    const done = await ask({
      title: "Delete these keys",
      body: h(
        "p",
        {},
        "Every key goes that ",
        prefix.length > 0 && ["begins with ", h("bdi", { class: "mono" }, label(prefix))],
        prefix.length > 0 && from.length > 0 && " and ",
        from.length > 0 && ["is ", h("bdi", { class: "mono" }, label(from)), " or behind it"],
        ", in folders too, and is there now. This cannot be undone."
      ),
      action: "Delete them",
      danger: true,
      run: async () => {
        job = await api.json("DELETE", `stores/${name}/keys?${where}`);
      }
    });
    if (!done) return;
    try {
      while (job.state === "running") {
        found.textContent = `${plural(job.deleted, "key")} deleted so far`;
        await new Promise((resolve) => setTimeout(resolve, 200));
        job = await api.json("GET", `jobs/${job.id}`, { signal });
      }
    } catch (problem) {
      if (problem.name === "AbortError") return;
      show(foot, failure(problem));
      return;
    }
    say(`${plural(job.deleted, "key")} deleted.${job.detail ? ` ${job.detail}` : ""}`);
    top.refresh();
    if (!until.aborted) begin();
  }

  // Arrows walk through the list; / goes to the search.
  list.addEventListener("keydown", (event) => {
    const items = [...list.querySelectorAll("a")],
      at = items.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to === undefined || !items[to]) return;
    event.preventDefault();
    items[to].focus();
  });
  document.addEventListener(
    "keydown",
    (event) => {
      if (
        event.key !== "/" ||
        event.ctrlKey ||
        event.metaKey ||
        event.target.closest("input, textarea, select, dialog")
      )
        return;
      event.preventDefault();
      input.focus();
    },
    { signal }
  );

  // ----------------------------------------------------------------------------------- the value
  const changed = {
    saved(key, entry) {
      if (!shown.has(key)) put(key, "", entry.version);
      picked.changed(key, entry.version);
      const facts = `${entry.type} · ${size(entry.size)}`;
      shown.get(key).querySelector(".faint").textContent = facts;
      tell(AbortSignal.any([signal, search.signal]));
      top.refresh();
      location.hash = hrefOf(key);
    },
    deleted(key) {
      leave([key]);
      location.hash = `#/stores/${name}`;
    }
  };

  // These keys are gone.
  function leave(keys) {
    const next = shown.get(keys.at(-1))?.nextElementSibling;
    for (const key of keys) {
      shown.get(key)?.remove();
      shown.delete(key);
      picked.drop(key);
    }
    tell(AbortSignal.any([signal, search.signal]));
    top.refresh();
    if (keys.includes(chosen())) location.hash = `#/stores/${name}`;
    else (next?.isConnected ? next.querySelector("a") : input).focus();
  }

  function open() {
    for (const [key, node] of shown) {
      const a = node.querySelector("a");
      if (key === chosen()) a.setAttribute("aria-current", "true");
      else a.removeAttribute("aria-current");
    }
    browser.classList.toggle("open", chosen() !== null);
    if (chosen() === null) {
      pane = null;
      show(
        detail,
        empty(
          "Choose a key",
          h(
            "p",
            {},
            "Its value is shown here. Press / to search, arrows to walk the list, Space to pick " +
              "a key, Delete to delete what is picked."
          )
        )
      );
    } else {
      pane = valuePane(detail, name, chosen(), changed);
    }
  }

  function create() {
    browser.classList.add("open");
    const saved = (key, entry) => {
      changed.saved(key, entry);
      if (key === chosen()) open();
    };
    pane = valuePane(detail, name, null, { ...changed, saved }, open);
  }

  // The folder that the address names; false: it is shown already.
  function enter(to) {
    if (to.delimiter === null) return false;
    const bytes = unpercent(to.prefix),
      isText = !asHex.checked && decode(bytes) === input.value;
    if (isText && percent(encode(parts.value)) === to.delimiter && !from.length && shown.size)
      return false;
    parts.value = new TextDecoder().decode(unpercent(to.delimiter));
    jump.value = "";
    asHex.checked = decode(bytes) === null;
    input.value = asHex.checked ? hex(bytes) : decode(bytes);
    return true;
  }

  enter(route);
  open();
  begin();
  return {
    update(to) {
      if (to.key === null && enter(to)) {
        route = to;
        open();
        begin().then(() => list.querySelector("a")?.focus({ preventScroll: true }));
        return;
      }
      const before = route.key;
      route = to;
      open();
      const target =
        to.key === null
          ? shown.get(before)?.querySelector("a") || input
          : detail.querySelector("h2");
      if (target) target.focus({ preventScroll: to.key === null });
    },
    unsaved: () => Boolean(pane && pane.unsaved())
  };
}
