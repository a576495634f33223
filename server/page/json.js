// json.js - JSON for people: indented and coloured without parsing it into numbers and objects, so
// that no digit of a long
// number and no repeated name is lost.

import { h } from "./dom.js";

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.eE+-]*|true|false|null|[{}[\],]/g;
const COLOURED_MAX = 6000;

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

// The pieces of a valid JSON text, indented: [kind, text].
function pieces(text) {
  const out = [],
    line = (depth) => out.push(["", "\n" + "  ".repeat(depth)]);
  let depth = 0,
    opened = false;
  for (const [token, string, colon] of text.matchAll(TOKEN)) {
    const closes = token === "}" || token === "]";
    if (closes) depth--;
    if (opened !== closes) line(depth); // not inside an empty pair
    opened = false;
    if (string) out.push([colon ? "name" : "string", string], ["", colon ? ": " : ""]);
    else if (token === ",") {
      out.push(["", ","]);
      line(depth);
    } else if (token === "{" || token === "[") {
      out.push(["", token]);
      depth++;
      opened = true;
    } else if (closes) out.push(["", token]);
    else out.push([/\d/.test(token) ? "number" : "word", token]);
  }
  return out;
}

export const indent = (text) =>
  pieces(text)
    .map((piece) => piece[1])
    .join("");

export function coloured(text) {
  const all = pieces(text);
  if (all.length > COLOURED_MAX) return [all.map((piece) => piece[1]).join("")];
  return all.map(([kind, part]) => (kind ? h("span", { class: `j-${kind}` }, part) : part));
}
