// store.js - the head of a store's views: its name, its figures, and the way between its keys,
// changes and maintenance.

import { empty, failure, h, link, show } from "./dom.js";
import { brief, count, size } from "./bytes.js";
import { flags, spaceBar } from "./stores.js";
import * as api from "./api.js";

const EVERY_MS = 3000;
const TABS = [
  ["Keys", ""],
  ["Changes", "/changes"],
  ["Manage", "/manage"]
];

// How far a replica is behind what it follows.
const behind = ({ lag_seconds: seconds, lag_messages: messages }) =>
  seconds === null
    ? "not known"
    : `${brief(seconds)} s${messages ? `, ${count(messages)} messages` : ""}`;

// Put the head into `place`.  refresh() reads the figures again and returns them, null when it
// failed; `first` is the first time.
// The figures are read again as time goes by, while the tab is seen; moved(stats) hears of another
// version.
// What follows the head is hidden while there is no store, what has the class `writes` where the
// store is read-only or the token may only read it, what has the class `admins` where the token is
// not its admin, and what has the class `own` in a replica, which its follower keeps: single keys
// of it may be written where the server sends them on.
export function storeHead(place, name, tab, signal, moved = () => {}) {
  const figures = h("dl", { class: "figures" }),
    trouble = h("div"),
    marks = h("span");
  show(
    place,
    h("nav", { "aria-label": "Breadcrumb", class: "crumbs" }, link("Stores", "#/"), " / ", name),
    h("h1", { class: "mono" }, name, " ", marks),
    trouble,
    figures,
    h(
      "nav",
      { class: "tabs", "aria-label": `Of ${name}` },
      TABS.map(([text, path]) =>
        link(text, `#/stores/${name}${path}`, { "aria-current": text === tab ? "page" : null })
      )
    )
  );

  let version = null;
  async function refresh(byItself) {
    let stats, role;
    try {
      const answer = await api.request("GET", `stores/${name}/stats`, { signal });
      role = api.roleOf(answer);
      stats = await answer.json();
    } catch (problem) {
      if (problem.name === "AbortError" || byItself) return null;
      place.classList.add("broken");
      show(
        trouble,
        problem.code === "store_not_found"
          ? empty(
              "There is no such store",
              h("p", {}, "It may have been deleted. ", link("See all stores", "#/"))
            )
          : failure(problem, () => refresh())
      );
      return null;
    }
    const replica = stats.versions === "given",
      fixed = !stats.forwarded && (stats.read_only || replica);
    place.className = `role-${role}${fixed ? " read-only" : ""}${replica ? " replica" : ""}`;
    show(
      trouble,
      stats.poisoned &&
        failure({
          message:
            "A write to the disk failed, so this store refuses further writes. Recover the file, " +
            "then open it again.",
          title: "Writes are refused"
        })
    );
    show(marks, flags(stats));
    const figure = (term, ...value) => h("div", {}, h("dt", {}, term), h("dd", {}, value));
    show(
      figures,
      figure("Keys", count(stats.size)),
      figure("On disk", size(stats.bytes)),
      figure(
        "Live and dead",
        `${size(stats.live_bytes)} + ${size(stats.dead_bytes)}`,
        spaceBar(stats)
      ),
      figure("Load", `${brief(stats.load_factor * 100)} %`, h("small", {}, " of the index")),
      figure("Version", count(stats.version)),
      stats.replica && figure("Replica of", h("span", { class: "mono" }, stats.replica.bucket)),
      stats.replica && figure("Behind the bucket", behind(stats.replica)),
      replica && figure("Writes", stats.forwarded ? "of one key, to the bucket" : "none here")
    );
    if (version !== null && stats.version !== version) moved(stats);
    version = stats.version;
    return stats;
  }
  const first = refresh();
  setTimeout(() => signal.aborted || api.repeat(EVERY_MS, signal, () => refresh(true)), EVERY_MS);
  return { refresh: () => refresh(false), first };
}
