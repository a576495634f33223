// main.js - which view the address shows, and what surrounds every view: the token, the
// connection's state, the focus.
//
//   #/                          the stores                   stores.js
//   #/stores/NAME               its keys                     store.js keys.js value.js
//   #/stores/NAME/keys/KEY      one of them, percent-encoded
//   #/stores/NAME/by/D/PREFIX   its keys, where D parts them into folders
//   #/stores/NAME/changes       live                         changes.js
//   #/stores/NAME/manage        maintenance, files, delete   manage.js
//   #/jobs                      long work                    jobs.js
//   #/activity                  requests and latency         activity.js
//
// A view is a function (place, route, signal) that fills its place and stops what it began when the
// signal says so.  It may
// return {update(route)}, which is called instead when only the key changed, and {unsaved()}, asked
// before it is left.

import { ask, failure, field, h, say, show } from "./dom.js";
import * as api from "./api.js";
import { storesView } from "./stores.js";
import { keysView } from "./keys.js";
import { changesView } from "./changes.js";
import { manageView } from "./manage.js";
import { jobsView } from "./jobs.js";
import { activityView } from "./activity.js";
import { version } from "./version.js";

const main = document.getElementById("main"),
  state = document.getElementById("state"),
  tokenButton = document.getElementById("token");
let current = {},
  leaving = new AbortController(),
  address = null;

function parse(hash) {
  const words = hash.replace(/^#?\/?/, "").split("/");
  if (words[0] === "jobs") return { view: jobsView, title: "Jobs" };
  if (words[0] === "activity") return { view: activityView, title: "Activity" };
  if (words[0] !== "stores" || !words[1]) return { view: storesView, title: "Stores" };
  const route = { store: words[1], key: null, delimiter: null };
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(route.store))
    return { view: storesView, title: "Stores" };
  if (words[2] === "changes")
    return { ...route, view: changesView, title: `Changes in ${route.store}` };
  if (words[2] === "manage") return { ...route, view: manageView, title: `Manage ${route.store}` };
  if (words[2] === "by" && words[3]) {
    route.delimiter = words[3];
    route.prefix = words[4] || "";
  }
  if (words[2] === "keys" && words[3]) route.key = words.slice(3).join("/");
  return { ...route, view: keysView, title: route.store };
}

function markPlace(hash) {
  const where = /^#\/(jobs|activity)/.exec(hash);
  for (const a of document.querySelectorAll("#nav a")) {
    const here = a.getAttribute("href") === (where ? where[0] : "#/");
    if (here) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
}

// Go where the address says.  A screen reader hears the view's heading, because it gets the focus;
// not at the first load.
function go() {
  if (location.hash === address) return;
  if (unsaved() && !confirm("Leave without saving the value?")) {
    history.replaceState(null, "", address || "#/");
    return;
  }
  const first = address === null,
    route = parse(location.hash);
  address = location.hash;
  dismissed = false;
  markPlace(address);
  document.title = `${route.title} · maph`;
  if (current.update && current.view === route.view && current.store === route.store) {
    current.update(route);
    return;
  }
  leaving.abort();
  leaving = new AbortController();
  show(main);
  current = { ...route, ...route.view(main, route, leaving.signal) };
  if (!first) {
    window.scrollTo(0, 0);
    const heading = main.querySelector("h1");
    if (heading) {
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
    }
  }
}

function again() {
  address = null;
  current = {};
  go();
}

// ------------------------------------------------------------------------------------- the token
let asking = false,
  dismissed = false;
async function askToken(why) {
  if (asking) return;
  asking = true;
  const input = h("input", {
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    value: api.token.get()
  });
  const done = await ask({
    title: "Access token",
    body: [
      h("p", {}, why),
      field("Token", input, "Kept for this tab only. Leave it empty to forget it.")
    ],
    action: "Use it",
    run: async () => {
      const before = api.token.get();
      api.token.set(input.value.trim());
      if (!input.value.trim()) return;
      try {
        await api.json("GET", "stores");
      } catch (problem) {
        api.token.set(before);
        if (problem.status === 401)
          throw new api.Problem(401, problem.code, "The server does not know this token.");
        throw problem;
      }
    }
  });
  asking = false;
  dismissed = !done;
  showToken();
  if (done) {
    say(api.token.get() ? "The token is in use." : "No token is kept.");
    again();
  }
}
function showToken() {
  tokenButton.textContent = api.token.get() ? "Token ✓" : "Token";
}
tokenButton.addEventListener("click", () =>
  askToken("Sent with every request as Authorization: Bearer.")
);
api.events.addEventListener(
  "unauthorized",
  () => dismissed || askToken("This server asks for a token. Enter one that may read here.")
);

// -------------------------------------------------------------------------------- the connection
let reachable = null;
function reached(yes) {
  if (yes === reachable) return;
  reachable = yes;
  state.className = yes ? "state good" : "state bad";
  state.textContent = yes ? "Connected" : "No connection";
}
api.events.addEventListener("reachable", () => reached(true));
api.events.addEventListener("unreachable", () => reached(false));
const unsaved = () => Boolean(current.unsaved && current.unsaved());
setInterval(() => {
  if (document.hidden || reachable !== false) return;
  api.request("GET", "healthz").then(
    () => {
      if (!unsaved()) again();
    },
    () => {}
  );
}, 3000);

// ----------------------------------------------------------------------------------------- start
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", go);
window.addEventListener("beforeunload", (event) => {
  if (unsaved()) event.preventDefault();
});
window.addEventListener("unhandledrejection", (event) => {
  if (event.reason && event.reason.name === "AbortError") event.preventDefault();
  else if (event.reason instanceof api.Problem) {
    main.prepend(failure(event.reason));
    event.preventDefault();
  }
});
document.getElementById("version").textContent = `maph ${version}`;
showToken();
go();
