// manage.js - a store's maintenance, its way in and out as a file, and its end.

import { ask, button, failure, field, h, say, show } from "./dom.js";
import { plural, size } from "./bytes.js";
import { storeHead } from "./store.js";
import { jobList } from "./jobs.js";
import * as api from "./api.js";

// What the server does, why, and what it needs: an admin's token, a store that may be written.
const WORK = [
  [
    "check",
    "Check",
    "Reads the whole file and verifies every record and index entry. Reading and writing go on.",
    "admins"
  ],
  [
    "compact",
    "Compact",
    "Gives the room of replaced and deleted records back. Reading and writing go on.",
    "admins writes own"
  ],
  [
    "optimize",
    "Optimize",
    "Compacts, and freezes a perfect hash over all keys: faster reads, a smaller index. Reading " +
      "and writing go on.",
    "admins writes own"
  ],
  [
    "backup",
    "Backup",
    "Writes a compact, verified copy into the server’s folder of backups. Reading and writing " +
      "go on.",
    "admins"
  ],
  ["sync", "Sync", "Sees that everything written is on the disk now.", "writes own"]
];

export function manageView(place, route, signal) {
  const name = route.store,
    path = `stores/${name}`,
    head = h("div"),
    jobs = h("div"),
    trouble = h("div"),
    unsent = h("div"),
    result = h("div", { "aria-live": "polite" });
  const top = storeHead(head, name, "Manage", signal);
  let refreshJobs;

  async function start(kind, text, control) {
    control.disabled = true;
    show(trouble);
    try {
      await api.json("POST", `${path}/${kind}`);
      say(kind === "sync" ? "Everything is on the disk." : `${text} has begun.`);
      refreshJobs();
      top.refresh();
    } catch (problem) {
      show(
        trouble,
        failure({ ...problem, title: `${text} did not start`, message: problem.message })
      );
    }
    control.disabled = false;
  }

  function summary(answer) {
    show(
      result,
      h(
        "p",
        {},
        `${plural(answer.imported, "entry", "entries")} imported` +
          (answer.failed ? `, ${plural(answer.failed, "line")} refused.` : ".")
      ),
      answer.errors.length > 0 &&
        h(
          "ul",
          {},
          answer.errors.map((e) => h("li", {}, `Line ${e.line}: ${e.detail} (${e.code})`))
        ),
      answer.failed > answer.errors.length &&
        h(
          "p",
          { class: "faint" },
          `and ${plural(answer.failed - answer.errors.length, "further line")}`
        )
    );
  }

  const file = h("input", {
    type: "file",
    required: true,
    accept: ".ndjson,.jsonl,application/x-ndjson"
  });
  const send = h("button", { type: "submit" }, "Import");
  async function importFile(event) {
    event.preventDefault();
    const chosen = file.files[0],
      meter = h("progress", { max: 1, value: 0, "aria-label": `Sending ${chosen.name}` }),
      words = h("span", { class: "faint" });
    send.disabled = true;
    show(result, meter, words);
    try {
      summary(
        await api.upload(
          "POST",
          `${path}/import`,
          chosen,
          { "Content-Type": "application/x-ndjson" },
          (sent, all) => {
            meter.value = sent / all;
            words.textContent = ` ${size(sent)} of ${size(all)}`;
          }
        )
      );
      form.reset();
      top.refresh();
    } catch (problem) {
      show(result, failure(problem));
    }
    send.disabled = false;
  }
  const form = h(
    "form",
    { onsubmit: importFile },
    field("NDJSON file", file, "One entry a line, as an export writes it."),
    h("p", {}, send)
  );

  async function remove() {
    const typed = h("input", { required: true, autocomplete: "off", spellcheck: "false" });
    const done = await ask({
      title: `Delete ${name}?`,
      action: "Delete the store",
      danger: true,
      body: [
        h("p", {}, "The file is removed with every key in it. This cannot be undone."),
        field("Type the store’s name", typed)
      ],
      run: async () => {
        if (typed.value !== name) throw new api.Problem(0, "", `That is not “${name}”.`);
        await api.request("DELETE", path);
      }
    });
    if (done) {
      say(`The store ${name} was deleted.`);
      location.hash = "#/";
    }
  }

  const card = (title, ...rest) => h("section", { class: "card" }, h("h2", {}, title), rest);
  show(
    place,
    head,
    h(
      "div",
      { class: "grid" },
      h(
        "div",
        {},
        h(
          "div",
          { class: "works" },
          card(
            "Maintenance",
            trouble,
            h(
              "ul",
              { class: "work" },
              WORK.map(([kind, text, why, needs]) => {
                const control = button(text, () => start(kind, text, control));
                return h(
                  "li",
                  { class: needs },
                  h("p", {}, h("strong", {}, text), h("br"), h("span", { class: "faint" }, why)),
                  control
                );
              })
            )
          )
        ),
        h("div", { class: "admins" }, card("Jobs of this store", jobs))
      ),
      h(
        "div",
        {},
        card(
          "Export",
          h(
            "p",
            { class: "faint" },
            "Every entry of one moment, as NDJSON: one JSON object a line, bytes that are not " +
              "text in base64."
          ),
          h(
            "p",
            {},
            button("Export", async () => {
              try {
                await api.download(`${path}/export`, `${name}.ndjson`);
              } catch (problem) {
                show(unsent, failure(problem));
              }
            })
          ),
          unsent
        ),
        h("div", { class: "writes own" }, card("Import", form, result)),
        h(
          "div",
          { class: "writes admins own" },
          card(
            "Delete",
            h("p", { class: "faint" }, "Removes the store and its file."),
            h("p", {}, button("Delete the store…", remove, { class: "danger" }))
          )
        )
      )
    )
  );
  refreshJobs = jobList(jobs, name, signal);
}
