// picks.js - keys of a list that were picked, to be deleted at once.
//
// A pick is a box beside the key.  Space on the key picks it too, and Delete asks for all that are
// picked; with Shift, a click picks all from the last one on.  They go in one transaction: all of
// them, or none.

import { ask, button, checkbox, h } from "./dom.js";
import { label, plural, toBase64, decode, unpercent } from "./bytes.js";
import * as api from "./api.js";

const NAMED = 8,
  AT_ONCE = 10000; // operations of a batch

function operation(key, version) {
  const bytes = unpercent(key),
    text = decode(bytes);
  const named = text === null ? { key: toBase64(bytes), key_encoding: "base64" } : { key: text };
  return { op: "delete", ...named, if_version: version };
}

// The picks of `list`, whose items have the box of pickOf; deleted(keys) hears what is gone.
export function picks(store, list, deleted) {
  const boxes = new Map(); // percent-encoded key -> {box, version}
  const [all, allLabel] = checkbox("All shown", {
    onchange: () => {
      for (const { box } of boxes.values()) box.checked = all.checked;
      tell();
    }
  });
  const go = button("", remove, { class: "danger", hidden: true });
  const bar = h("div", { class: "picks writes own", hidden: true }, allLabel, go);
  let last = null;

  const chosen = () => [...boxes].filter(([, { box }]) => box.checked);
  function tell() {
    const n = chosen().length;
    bar.hidden = boxes.size === 0;
    go.hidden = n === 0;
    go.textContent = `Delete ${plural(n, "key")}`;
    all.checked = n > 0 && n === boxes.size;
    all.indeterminate = n > 0 && n < boxes.size;
  }

  function reach(key) {
    const keys = [...list.querySelectorAll(".pick")].map((box) => box.dataset.key),
      [from, to] = [keys.indexOf(last), keys.indexOf(key)].sort((a, b) => a - b);
    const on = boxes.get(key).box.checked;
    if (from >= 0) keys.slice(from, to + 1).forEach((one) => (boxes.get(one).box.checked = on));
  }

  // The box beside a key of the list.
  function boxOf(key, version) {
    const box = h("input", {
      type: "checkbox",
      class: "pick writes own",
      tabindex: -1,
      "data-key": key,
      "aria-label": `Pick ${label(unpercent(key))}`,
      onclick: (event) => {
        if (event.shiftKey) reach(key);
        last = key;
        tell();
      }
    });
    boxes.set(key, { box, version });
    tell();
    return box;
  }

  async function remove() {
    const gone = chosen();
    if (!gone.length) return;
    const body = gone.slice(0, AT_ONCE).map(([key, { version }]) => operation(key, version));
    const done = await ask({
      title: `Delete ${plural(gone.length, "key")}?`,
      action: gone.length > 1 ? "Delete them" : "Delete it",
      danger: true,
      body: [
        h(
          "ul",
          { class: "named" },
          gone
            .slice(0, NAMED)
            .map(([key]) => h("li", { class: "mono cut" }, h("bdi", {}, label(unpercent(key))))),
          gone.length > NAMED && h("li", {}, `and ${plural(gone.length - NAMED, "more", "more")}`)
        ),
        h("p", {}, gone.length > 1 && "All of them go, or none. ", "This cannot be undone.")
      ],
      run: async () => {
        if (gone.length > AT_ONCE) throw new api.Problem(0, "", `At most ${AT_ONCE} at once.`);
        try {
          await api.json("POST", `stores/${store}/batch`, {
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ operations: body })
          });
        } catch (problem) {
          throw problem.status === 412
            ? new api.Problem(
                412,
                problem.code,
                "Somebody changed one of these keys meanwhile. Nothing was deleted: search again."
              )
            : problem;
        }
      }
    });
    if (done) deleted(gone.map(([key]) => key));
  }

  list.addEventListener("keydown", (event) => {
    const item = event.target.closest("li"),
      box = item && item.querySelector(".pick");
    if (!box || !box.getClientRects().length) return;
    if (event.key === " " && event.target !== box) {
      event.preventDefault();
      box.click();
    }
    if (event.key === "Delete") {
      event.preventDefault();
      if (!chosen().length) box.click();
      remove();
    }
  });

  return {
    bar,
    boxOf,
    changed(key, version) {
      if (boxes.has(key)) boxes.get(key).version = version;
    },
    drop(key) {
      boxes.delete(key);
      tell();
    },
    clear() {
      boxes.clear();
      last = null;
      tell();
    }
  };
}
