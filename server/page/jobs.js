// jobs.js - work that outlives its request: check, compact, optimize, backup and the deletion of a
// range; with its progress.

import { badge, button, empty, failure, h, link, loading, say, show } from "./dom.js";
import { count, moment, plural, seconds, size } from "./bytes.js";
import * as api from "./api.js";

const STATES = {
  running: ["running", "live"],
  done: ["done", "good"],
  failed: ["failed", "bad"],
  cancelled: ["stopped", ""]
};

// What came of it, in a sentence.
function outcome(job) {
  if (job.kind === "delete") return `${plural(job.deleted, "key")} deleted`;
  const r = job.result;
  if (!r) return job.file || "";
  return [
    `${plural(r.records, "key")}, ${size(r.bytes_before)} became ${size(r.bytes_after)}`,
    job.file && `in ${job.file}`,
    r.frozen_keys > 0 &&
      `${count(r.frozen_keys)} keys in a perfect hash of ${r.perfect_bits.toFixed(2)} bits each`,
    r.note
  ]
    .filter(Boolean)
    .join("; ");
}

// One job's item, and update(job), which changes what is there: whoever has the focus in it keeps
// it.
function jobItem(job, stop) {
  const state = h("span"),
    meter = h("progress", { "aria-label": `${job.kind} of ${job.store}`, max: 1 }),
    facts = h("p", { class: "faint" }),
    rest = h("div");
  const going = h(
    "div",
    { class: "row meter" },
    meter,
    button("Stop", () => stop(job.id), { "aria-label": `Stop the ${job.kind} of ${job.store}` })
  );
  const node = h(
    "li",
    { class: "job" },
    h(
      "div",
      { class: "row" },
      h(
        "span",
        {},
        h("strong", {}, job.kind),
        " of ",
        link(job.store, `#/stores/${job.store}/manage`, { class: "mono" })
      ),
      state
    ),
    going,
    facts,
    rest
  );

  function update(now) {
    const running = now.state === "running",
      share = now.total > 0 ? now.done / now.total : null;
    const taken = ((now.finished_at || Date.now()) - now.started_at) / 1000;
    show(
      state,
      badge(
        ...(now.state === "done" && now.success === false
          ? ["problems found", "bad"]
          : STATES[now.state] || [now.state, ""])
      )
    );
    going.hidden = !running;
    if (share === null) meter.removeAttribute("value");
    else meter.value = share;
    facts.textContent = [
      moment(now.started_at),
      taken < 1 ? "under a second" : seconds(taken),
      running && share !== null && `${now.phase || ""} ${Math.floor(share * 100)} %`
    ]
      .filter(Boolean)
      .join(" · ");
    if (running || rest.hasChildNodes()) return;
    show(
      rest,
      outcome(now) && h("p", { class: "faint" }, outcome(now)),
      now.detail && h("p", {}, now.detail),
      now.report?.length > 0 &&
        h(
          "details",
          {},
          h("summary", {}, plural(now.problems, "problem")),
          h(
            "ul",
            {},
            now.report.map((one) => h("li", {}, `at ${one.offset}: ${one.sentence}`))
          )
        )
    );
  }
  return { node, update };
}

// A list of jobs that keeps itself current, the newest first.  Returns a function that asks again
// now.
export function jobList(place, store, signal) {
  const list = h("ul", { class: "jobs" }),
    items = new Map(),
    state = h("div", {}, loading());
  let running = false,
    failed = null,
    ticks = 0;
  show(place, list, state);

  async function refresh() {
    let jobs;
    try {
      jobs = await api.json("GET", "jobs", { signal });
    } catch (problem) {
      running = false;
      if (problem.name === "AbortError" || failed === problem.code) return; // said once
      failed = problem.code;
      show(
        state,
        failure(problem, () => {
          failed = null;
          refresh();
        })
      );
      return;
    }
    failed = null;
    jobs = jobs.filter((job) => !store || job.store === store);
    running = jobs.some((job) => job.state === "running");
    for (const [id, item] of items)
      if (!jobs.some((job) => job.id === id)) {
        item.node.remove();
        items.delete(id);
      }
    for (const job of jobs) {
      if (!items.has(job.id)) {
        items.set(job.id, jobItem(job, stop));
        list.prepend(items.get(job.id).node);
      }
      items.get(job.id).update(job);
    }
    show(
      state,
      !jobs.length &&
        empty(
          "No jobs",
          h(
            "p",
            {},
            store
              ? "Long work on this store is listed here, with its progress."
              : "Checks, compactions, optimizations and backups are listed here, with their " +
                  "progress. Start one on a store’s Manage page."
          )
        )
    );
  }
  async function stop(id) {
    try {
      await api.request("DELETE", `jobs/${id}`);
    } catch (problem) {
      say(problem.message);
    }
    refresh();
  }
  // Each second while something runs, else now and then.
  api.repeat(1000, signal, async () => {
    if (running || ticks++ % 5 === 0) await refresh();
  });
  return refresh;
}

export function jobsView(place, route, signal) {
  const list = h("div");
  show(place, h("h1", {}, "Jobs"), list);
  jobList(list, null, signal);
}
