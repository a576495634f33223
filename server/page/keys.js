// keys.js - the keys of a store, by prefix and page by page, beside the value of the chosen one.

import { button, checkbox, empty, failure, h, id, link, loading, show } from "./dom.js";
import { encode, fromHex, label, member, percent, plural, size, unpercent } from "./bytes.js";
import { storeHead } from "./store.js";
import { addressable, readAll, valuePane } from "./value.js";
import * as api from "./api.js";

const PAGE = 100;

export function keysView(place, route, signal) {
  const name = route.store,
    head = h("div"),
    list = h("ul", { class: "list", "aria-label": "Keys" }),
    foot = h("div", { class: "foot" });
  const found = h("p", { class: "faint", role: "status" });
  const detail = h("section", { class: "pane", "aria-label": "Value" });
  const shown = new Map(); // percent-encoded key -> its item
  let prefix = new Uint8Array(),
    next = null,
    search = new AbortController(),
    pane = null;

  const input = h("input", {
    type: "search",
    id: id(),
    autocomplete: "off",
    spellcheck: "false",
    class: "mono",
    placeholder: "all keys",
    enterkeyhint: "search"
  });
  const [asHex, hexLabel] = checkbox("hex");
  const wrong = h("p", { class: "bad", role: "alert" });
  const form = h(
    "form",
    { role: "search", class: "search", onsubmit: begin },
    h("label", { for: input.id }, "Prefix"),
    input,
    hexLabel,
    h("button", { type: "submit" }, "Search")
  );

  const browser = h(
    "div",
    { class: "browser" },
    h(
      "section",
      { class: "side", "aria-label": "Browse" },
      form,
      wrong,
      h("div", { class: "row" }, found, button("New key", create, { class: "writes" })),
      list,
      foot
    ),
    detail
  );
  const top = storeHead(head, name, "Keys", signal);
  show(place, head, browser);

  // ------------------------------------------------------------------------------------ the list
  const chosen = () => route.key;
  const hrefOf = (key) => `#/stores/${name}/keys/${key}`;

  function put(key, facts) {
    const a = link("", hrefOf(key));
    if (key === chosen()) a.setAttribute("aria-current", "true");
    a.append(
      h("bdi", { class: "mono" }, label(unpercent(key))),
      h("span", { class: "faint" }, facts)
    );
    const node = h("li", {}, a);
    if (shown.has(key)) shown.get(key).remove(); // it was put again while we paged
    shown.set(key, node);
    list.append(node);
  }

  async function begin(event) {
    if (event) event.preventDefault();
    const bytes = asHex.checked ? fromHex(input.value) : encode(input.value);
    wrong.textContent = bytes ? "" : "Hex is pairs of the digits 0-9 and a-f.";
    input.setAttribute("aria-invalid", bytes ? "false" : "true");
    if (!bytes) return;
    search.abort();
    search = new AbortController();
    prefix = bytes;
    next = null;
    shown.clear();
    show(list);
    const until = AbortSignal.any([signal, search.signal]);
    await exact(until);
    await more(until);
  }

  // The key that is the prefix itself stands first: a key can be opened without paging to it.
  async function exact(until) {
    if (!prefix.length) return;
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
        `stores/${name}/keys?limit=${PAGE}&prefix=${percent(prefix)}` +
          (next ? `&after=${next}` : ""),
        { signal: until }
      );
    } catch (problem) {
      if (problem.name === "AbortError") return;
      show(foot, failure(problem, () => more(until)));
      return;
    }
    for (const entry of page.keys)
      put(percent(member(entry, "key", "key_encoding")), `${entry.type} · ${size(entry.size)}`);
    next = page.next;
    if (next && !page.keys.length) return more(until); // a page of a long search may be empty
    tell(until);
  }

  // Show the next page; the keyboard goes on at its first key.
  async function onward(until) {
    const last = list.lastElementChild;
    await more(until);
    last.nextElementSibling?.firstChild.focus();
  }

  function tell(until) {
    const n = shown.size;
    found.textContent = n ? `${plural(n, "key")}${next ? " so far" : ""}` : "";
    if (n) show(foot, next && button("Show more", () => onward(until)));
    else if (prefix.length) show(foot, empty("No key begins with that"));
    else
      show(
        foot,
        empty("No keys yet", h("p", {}, "Add one here, import a file, or write with any client."))
      );
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
      if (!shown.has(key)) put(key, "");
      shown.get(key).querySelector(".faint").textContent = `${entry.type} · ${size(entry.size)}`;
      tell(AbortSignal.any([signal, search.signal]));
      top.refresh();
      location.hash = hrefOf(key);
    },
    deleted(key) {
      const gone = shown.get(key);
      if (gone) {
        gone.remove();
        shown.delete(key);
      }
      tell(AbortSignal.any([signal, search.signal]));
      top.refresh();
      location.hash = `#/stores/${name}`;
    }
  };

  function open() {
    for (const [key, node] of shown) {
      if (key === chosen()) node.firstChild.setAttribute("aria-current", "true");
      else node.firstChild.removeAttribute("aria-current");
    }
    browser.classList.toggle("open", chosen() !== null);
    if (chosen() === null) {
      pane = null;
      show(
        detail,
        empty(
          "Choose a key",
          h("p", {}, "Its value is shown here. Press / to search, arrows to walk the list.")
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

  open();
  begin();
  return {
    update(to) {
      const before = route.key;
      route = to;
      open();
      const target =
        to.key === null ? shown.get(before)?.firstChild || input : detail.querySelector("h2");
      if (target) target.focus({ preventScroll: to.key === null });
    },
    unsaved: () => Boolean(pane && pane.unsaved())
  };
}
