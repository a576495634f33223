// picture.js - a value that is a picture, shown as one.
//
// Only forms of dots are: PNG, JPEG, GIF, WebP, BMP, AVIF.  The first bytes must say so, and the
// media type the same, or nothing in particular.  So no value is shown in a way that whoever stored
// it did not mean, and none that could hold a script: an SVG is text.  The browser gets a copy,
// whose type is the one that was found, at an address that only this page knows.

import { h } from "./dom.js";
import { count } from "./bytes.js";

const ANY = new Set(["", "application/octet-stream", "application/x-www-form-urlencoded"]);
const FORMS = [
  ["image/png", 0, "\x89PNG\r\n\x1a\n"],
  ["image/jpeg", 0, "\xff\xd8\xff"],
  ["image/gif", 0, "GIF87a"],
  ["image/gif", 0, "GIF89a"],
  ["image/webp", 8, "WEBPVP8"],
  ["image/bmp", 0, "BM"],
  ["image/avif", 4, "ftypavif"]
];

const isAt = (bytes, at, text) =>
  [...text].every((character, i) => bytes[at + i] === character.charCodeAt(0));

// The type of the picture that these bytes begin, or null.
export function pictureType(bytes, media) {
  const found = FORMS.find(([, at, text]) => isAt(bytes, at, text)),
    said = (media || "").split(";")[0].trim().toLowerCase();
  if (!found || !(ANY.has(said) || said === found[0])) return null;
  if (found[0] === "image/bmp" && said !== found[0]) return null; // two letters are no proof
  return found[0];
}

// What shows it, and its size in dots once that is known.  The address ends with the signal.
export function picture(bytes, type, name, signal) {
  const address = URL.createObjectURL(new Blob([bytes], { type })),
    words = h("figcaption", { class: "faint" }, type),
    figure = h("figure", { class: "picture" }),
    img = h("img", {
      src: address,
      alt: `The picture ${name}`,
      onload: () => {
        words.textContent = `${type} · ${count(img.naturalWidth)} × ${count(img.naturalHeight)}`;
      },
      onerror: () => {
        img.remove();
        words.textContent = `It begins like ${type}, and the browser cannot show it.`;
      }
    });
  figure.append(img, words);
  signal.addEventListener("abort", () => URL.revokeObjectURL(address));
  return figure;
}
