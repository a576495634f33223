// dom.js - building the page.  Whatever comes from a store becomes a text node here; nothing
// anywhere takes HTML.

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(
    ...children
      .flat(Infinity)
      .filter((child) => child !== null && child !== undefined && child !== false)
  );
  return node;
}

// h('p', {class: 'note'}, 'text', otherNode): attributes by name, listeners as onclick.
export const h = (tag, props = {}, ...children) =>
  fill(document.createElement(tag), props, children);
export const svg = (tag, props = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
export const show = (node, ...children) => {
  node.replaceChildren();
  return fill(node, {}, children);
};

let lastId = 0;
export const id = () => `id${++lastId}`;

export const button = (text, onclick, props = {}) =>
  h("button", { type: "button", ...props, onclick }, text);
export const link = (text, href, props = {}) => h("a", { ...props, href }, text);
export const badge = (text, kind) => h("span", { class: `badge ${kind || ""}` }, text);

// A labelled input; `input` may be a node, hint a sentence below it.
export function field(text, input, hint) {
  input.id ||= id();
  const below = hint && h("small", { id: id() }, hint);
  if (below) input.setAttribute("aria-describedby", below.id);
  return h("div", { class: "field" }, h("label", { for: input.id }, text), input, below);
}

export const checkbox = (text, props = {}) => {
  const input = h("input", { type: "checkbox", ...props });
  return [input, h("label", { class: "check" }, input, text)];
};

// How much of a whole: parts are [share, class] pairs, drawn in one bar with words for who cannot
// see it.
export function bar(words, ...parts) {
  const node = h("span", { class: "bar", role: "img", "aria-label": words, title: words });
  for (const [share, kind] of parts) {
    const part = h("i", { class: kind });
    part.style.width = `${Math.min(100, Math.max(0, share * 100))}%`;
    node.append(part);
  }
  return node;
}

// ------------------------------------------------------------------------ what went well, or not
// A notice goes by itself, and takes no click.  It lies at the bottom, or higher up where it would
// cover something to be used.
let saidTimer;
const USED = "button, a, input, select, textarea, summary, label";
const meets = (a, b) =>
  a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

function placeSaid() {
  const place = document.getElementById("said"),
    height = document.documentElement.clientHeight;
  if (!place.firstChild) return;
  const used = [...document.querySelectorAll(USED)].map((node) => node.getBoundingClientRect()),
    own = place.firstChild.getBoundingClientRect();
  const bottoms = [];
  for (let bottom = 24; bottom + own.height < height; bottom += 16) bottoms.push(bottom);
  const free = (bottom) => {
    const box = { left: own.left, right: own.right, bottom: height - bottom };
    box.top = box.bottom - own.height;
    return !used.some((one) => one.width > 0 && meets(one, box));
  };
  place.style.bottom = `${bottoms.find(free) ?? 24}px`;
}
for (const event of ["scroll", "resize"])
  window.addEventListener(event, placeSaid, { passive: true });

export function say(text) {
  const place = document.getElementById("said");
  show(place, h("p", {}, text));
  placeSaid();
  new ResizeObserver((_, observer) => {
    if (place.firstChild) placeSaid();
    else observer.disconnect();
  }).observe(document.body);
  clearTimeout(saidTimer);
  saidTimer = setTimeout(() => show(place), 6000);
}

export const loading = (text) => h("p", { class: "loading", role: "status" }, text || "Loading…");

export const empty = (title, ...rest) => h("div", { class: "box empty" }, h("h2", {}, title), rest);

// An error in its place: what happened, what can be done.
export function failure(problem, again) {
  return h(
    "div",
    { class: "box error", role: "alert" },
    h("p", {}, h("strong", {}, problem.title || "That did not work"), h("br"), problem.message),
    problem.code && h("p", { class: "faint" }, `${problem.status || ""} ${problem.code}`),
    again && h("p", {}, button("Try again", again))
  );
}

// --------------------------------------------------------------------------------------- dialogs
// Ask for something; `run` does it and may throw, which is shown inside.  Resolves to whether it
// was done.  The browser keeps
// the focus inside and gives it back.
export function ask({ title, body, action, danger, run }) {
  return new Promise((resolve) => {
    const heading = h("h2", { id: id() }, title),
      trouble = h("div");
    const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
    let done = false;
    const form = h(
      "form",
      {},
      heading,
      body,
      trouble,
      h(
        "p",
        { class: "actions" },
        button("Cancel", () => dialog.close()),
        go
      )
    );
    const dialog = h("dialog", { "aria-labelledby": heading.id }, form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      show(trouble);
      try {
        await run();
        done = true;
        dialog.close();
      } catch (problem) {
        show(trouble, failure(problem));
      }
      go.disabled = false;
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
