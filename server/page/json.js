// json.js - JSON for people: indented, coloured and folded without parsing it into numbers and
// objects, so that no digit of a long number and no repeated name is lost.
//
// Each object and array but the empty ones can be folded, by the button before its line.  One of
// these buttons is in the order of the tab key; arrows go to the others, and left and right fold
// and unfold.  What is folded is hidden and still there.

import { button, h } from "./dom.js";
import { plural } from "./bytes.js";

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.eE+-]*|true|false|null|[{}[\],]/g;
const COLOURED_MAX = 6000,
  LINES_OPEN = 300; // of more, what lies deeper than the second level is folded at first

export function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

// Why it is none, in the browser's words.
export function jsonMistake(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return error.message;
  }
}

// The pieces of a valid JSON text, indented: [kind, text].  "open" and "close" are of what has
// members.
function pieces(text) {
  const out = [],
    line = (depth) => out.push(["", "\n" + "  ".repeat(depth)]);
  let depth = 0,
    opened = false;
  for (const [token, string, colon] of text.matchAll(TOKEN)) {
    const closes = token === "}" || token === "]";
    if (closes) depth--;
    if (opened !== closes) line(depth); // not inside an empty pair
    if (opened && closes) out.at(-1)[0] = "";
    const isEmpty = opened && closes;
    opened = false;
    if (string) out.push([colon ? "name" : "string", string], ["", colon ? ": " : ""]);
    else if (token === ",") {
      out.push(["", ","]);
      line(depth);
    } else if (token === "{" || token === "[") {
      out.push(["open", token]);
      depth++;
      opened = true;
    } else if (closes) out.push([isEmpty ? "" : "close", token]);
    else out.push([/\d/.test(token) ? "number" : "word", token]);
  }
  return out;
}

export const indent = (text) =>
  pieces(text)
    .map((piece) => piece[1])
    .join("");

function fold(control, closed) {
  control.setAttribute("aria-expanded", String(!closed));
  control.nextSibling.nextSibling.hidden = closed;
}
const isFolded = (control) => control.getAttribute("aria-expanded") === "false";

// What stands between two brackets, and the button before them.
function foldable(bracket, inside, members, closed) {
  const words = plural(members, bracket === "[" ? "element" : "member");
  const control = h("button", {
    type: "button",
    class: "fold",
    tabindex: -1,
    "aria-label": `Fold ${words}`,
    onclick: () => fold(control, !isFolded(control))
  });
  const content = h("span", { class: "inside" }, inside);
  const nodes = [control, bracket, content, h("span", { class: "rest", "data-words": words })];
  content.hidden = closed;
  control.setAttribute("aria-expanded", String(!closed));
  return nodes;
}

export function coloured(text) {
  const all = pieces(text);
  if (all.length > COLOURED_MAX) return [all.map((piece) => piece[1]).join("")];
  const long = all.filter((piece) => piece[1].startsWith("\n")).length > LINES_OPEN,
    levels = [{ nodes: [], members: 1 }];
  for (const [kind, part] of all) {
    const level = levels.at(-1);
    if (kind === "open") levels.push({ nodes: [], members: 1, bracket: part });
    else if (kind === "close") {
      levels.pop();
      const closed = long && levels.length > 2;
      levels
        .at(-1)
        .nodes.push(...foldable(level.bracket, level.nodes, level.members, closed), part);
    } else {
      if (part === ",") level.members++;
      level.nodes.push(kind ? h("span", { class: `j-${kind}` }, part) : part);
    }
  }
  return levels[0].nodes;
}

// The button that folds or unfolds all in `pre`, and the keys that walk its folds.
export function foldAll(pre) {
  const controls = [...pre.querySelectorAll(".fold")];
  const seen = () => controls.filter((control) => control.getClientRects().length);
  function enter(control) {
    for (const one of controls) one.tabIndex = one === control ? 0 : -1;
    control.focus();
  }
  controls[0].tabIndex = 0;
  pre.addEventListener("keydown", (event) => {
    const at = seen().indexOf(document.activeElement);
    if (at < 0) return;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 }[event.key];
    if (to !== undefined && seen()[to]) enter(seen()[to]);
    else if (event.key === "ArrowLeft") fold(seen()[at], true);
    else if (event.key === "ArrowRight") fold(seen()[at], false);
    else if (to === undefined) return;
    event.preventDefault();
  });
  const inner = controls.slice(1);
  const all = button(inner.some(isFolded) ? "Unfold all" : "Fold all", () => {
    const closed = all.textContent === "Fold all";
    for (const control of inner) fold(control, closed);
    fold(controls[0], false);
    all.textContent = closed ? "Unfold all" : "Fold all";
  });
  return all;
}
