// folders.js - keys by folders: a delimiter parts a key, and what is before its last one is shown
// as the folder that the key is in.
//
// #/stores/NAME/by/DELIMITER/PREFIX is the address of one; the way up leads through its parts.

import { h, link } from "./dom.js";
import { label, percent } from "./bytes.js";

export const hrefOfFolder = (store, delimiter, prefix) =>
  `#/stores/${store}/by/${percent(delimiter)}/${percent(prefix)}`;

// Where the bytes of `part` begin in `all`, from `at` on; -1: nowhere.
function find(all, part, at) {
  for (let i = at; i + part.length <= all.length; i++)
    if (part.every((byte, k) => all[i + k] === byte)) return i;
  return -1;
}

// The ends of the folders that a prefix names: of "a/b/c" those after "a/" and "a/b/".
function endsOf(prefix, delimiter) {
  const ends = [];
  for (let at = 0; (at = find(prefix, delimiter, at)) >= 0; ends.push(at)) at += delimiter.length;
  return ends;
}

// The way from all keys to this folder, each part a link but for the last.
export function wayTo(store, delimiter, prefix) {
  let from = 0;
  const ends = endsOf(prefix, delimiter);
  if (ends.at(-1) !== prefix.length) ends.push(prefix.length);
  return h(
    "nav",
    { "aria-label": "Folder", class: "crumbs way" },
    link("All keys", hrefOfFolder(store, delimiter, new Uint8Array())),
    ends.map((end) => {
      const text = h("bdi", { class: "mono" }, label(prefix.slice(from, end)));
      from = end;
      return [
        " ",
        end === prefix.length
          ? h("span", { "aria-current": "true" }, text)
          : h("a", { href: hrefOfFolder(store, delimiter, prefix.slice(0, end)) }, text)
      ];
    })
  );
}

// Keys and folders of a page in the order of their bytes.
export function inOrder(items) {
  const before = (a, b) => {
    const n = Math.min(a.length, b.length);
    for (let i = 0; i < n; i++) if (a[i] !== b[i]) return a[i] - b[i];
    return a.length - b.length;
  };
  return items.sort((a, b) => before(a.bytes, b.bytes));
}
