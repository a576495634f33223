// api.js - the server's routes, as promises.  Errors are problem+json; here they become a Problem
// with its sentence.
//
// Paths are relative to the page, so that it also works behind a proxy that puts it under a prefix.
// The token, when there is
// one, lives in sessionStorage: it ends with the tab.

export class Problem extends Error {
  constructor(status, code, detail, title) {
    super(detail);
    Object.assign(this, { status, code, title });
  }
}

const TOKEN = "maph-token";
export const token = {
  get: () => sessionStorage.getItem(TOKEN) || "",
  set: (text) => (text ? sessionStorage.setItem(TOKEN, text) : sessionStorage.removeItem(TOKEN))
};

// Who wants to know: 'reachable' and 'unreachable', and 'unauthorized' when a token is missing or
// wrong.
export const events = new EventTarget();
const tell = (name) => events.dispatchEvent(new Event(name));

// A word gets a capital; a file's name, as in "shop.maph: no room", keeps its own.
const sentence = (text) =>
  text
    ? (/^[^\s.:]+[\s,]/.test(text) ? text[0].toUpperCase() : text[0]) +
      text.slice(1) +
      (/[.!?]$/.test(text) ? "" : ".")
    : "";

// The Problem that a failed answer tells.
export function problemOf(status, text) {
  let told = {};
  try {
    told = JSON.parse(text);
  } catch {
    /* not the server's own: a proxy's page */
  }
  if (status === 401) tell("unauthorized");
  if (told.code === "no_such_path")
    return new Problem(status, told.code, "This server does not offer that; a newer one may.");
  return new Problem(
    status,
    told.code || `http_${status}`,
    sentence(told.detail) || `The server answered ${status}.`,
    told.title
  );
}

export const unreachable = () =>
  new Problem(
    0,
    "unreachable",
    "The server does not answer. It may be restarting.",
    "No connection"
  );

export const authorization = () => (token.get() ? { Authorization: `Bearer ${token.get()}` } : {});

// A Response that went well; else a Problem is thrown.  The caller's `signal` ends it, as an
// AbortError.
export async function request(method, path, { headers = {}, body, signal } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      body,
      signal,
      headers: { ...authorization(), ...headers },
      cache: "no-store"
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    tell("unreachable");
    throw unreachable();
  }
  tell("reachable");
  if (!response.ok) throw problemOf(response.status, await response.text());
  return response;
}

export async function json(method, path, options) {
  return (await request(method, path, options)).json();
}

// What the server says that the token may do there.  A proxy may have taken that away: then all is
// offered, and refused if need be.
export const roleOf = (response) => response.headers.get("Maph-Role") || "admin";

// Send a file and hear how far it is, which fetch does not tell.
export function upload(method, path, file, headers, progress) {
  return new Promise((resolve, reject) => {
    const x = new XMLHttpRequest();
    x.open(method, path);
    for (const [name, value] of Object.entries({ ...authorization(), ...headers }))
      x.setRequestHeader(name, value);
    x.upload.addEventListener("progress", (event) => progress(event.loaded, event.total));
    x.addEventListener("load", () =>
      x.status < 300
        ? resolve(JSON.parse(x.responseText || "{}"))
        : reject(problemOf(x.status, x.responseText))
    );
    x.addEventListener("error", () => reject(unreachable()));
    x.send(file);
  });
}

// Let the browser save what a path answers.  A link cannot carry a token, so with one the bytes
// pass through here.
export async function download(path, name) {
  const a = document.createElement("a");
  a.href = token.get() ? URL.createObjectURL(await (await request("GET", path)).blob()) : path;
  a.download = name;
  a.click();
  if (token.get()) setTimeout(() => URL.revokeObjectURL(a.href), 60000);
}

// One operation of a batch: it takes any key, also those that no URL can name ("..", or very long
// ones), and keeps all that is
// known of a value: type, media type, expiry.
export async function operation(store, one) {
  const answer = await json("POST", `stores/${store}/batch`, {
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ operations: [one] })
  });
  const result = answer.results[0];
  if (result.status >= 400)
    throw new Problem(result.status, result.code, "There is no such key any more.", "Not Found");
  return result;
}

// Call `work` now and again each `ms` while the view lives and the tab is seen.
export function repeat(ms, signal, work) {
  let timer;
  const turn = async () => {
    clearTimeout(timer);
    if (signal.aborted) return;
    if (!document.hidden) await work();
    if (!signal.aborted) timer = setTimeout(turn, ms);
  };
  document.addEventListener("visibilitychange", turn, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  turn();
  return turn;
}
