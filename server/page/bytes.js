// bytes.js - keys and values are bytes; here they become text, hex, base64 and URLs, and come back.

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const encode = (text) => new TextEncoder().encode(text);

// The text that these bytes are, or null when they are not UTF-8.
export function decode(bytes) {
  try {
    return strict.decode(bytes);
  } catch {
    return null;
  }
}

// The same for the beginning of something longer: a character that is cut at the end is left out.
export function decodePart(bytes) {
  for (let cut = 0; cut < 4 && cut <= bytes.length; cut++) {
    const text = decode(bytes.subarray(0, bytes.length - cut));
    if (text !== null) return text;
  }
  return null;
}

export function join(a, b) {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

// One segment of a path, or the value of a query parameter: any byte survives.
export function percent(bytes) {
  let out = "";
  for (const b of bytes) {
    const c = String.fromCharCode(b);
    out += /[A-Za-z0-9._~-]/.test(c) ? c : "%" + b.toString(16).toUpperCase().padStart(2, "0");
  }
  return out;
}

export function unpercent(text) {
  const out = [];
  for (let i = 0; i < text.length; i++) {
    const hex = text.slice(i + 1, i + 3);
    if (text[i] === "%" && /^[0-9a-fA-F]{2}$/.test(hex)) {
      out.push(parseInt(hex, 16));
      i += 2;
    } else out.push(...encode(text[i]));
  }
  return new Uint8Array(out);
}

export function fromBase64(text) {
  const binary = atob(text);
  return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}

export function toBase64(bytes) {
  let binary = "";
  for (let i = 0; i < bytes.length; i += 8192)
    binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(binary);
}

export const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

// Digits with any white space between them; null when it is not hex.
export function fromHex(text) {
  const digits = text.replace(/\s+/g, "");
  if (digits.length % 2 || /[^0-9a-fA-F]/.test(digits)) return null;
  const out = new Uint8Array(digits.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return out;
}

// Offset, bytes, and the characters among them: `width` bytes a line.
export function hexDump(bytes, width) {
  const lines = [],
    offset = Math.max(4, bytes.length.toString(16).length);
  for (let at = 0; at < bytes.length; at += width) {
    const row = bytes.subarray(at, at + width);
    let digits = "",
      text = "";
    row.forEach((b, i) => {
      digits += b.toString(16).padStart(2, "0") + (i % 8 === 7 && i < width - 1 ? "  " : " ");
      text += b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : "·";
    });
    const full = width * 3 + Math.floor((width - 1) / 8);
    lines.push(at.toString(16).padStart(offset, "0") + "  " + digits.padEnd(full) + " " + text);
  }
  return lines.join("\n");
}

// A member of the server's JSON that may be marked base64, as bytes.
export const member = (object, name, encoding) =>
  object[encoding] === "base64" ? fromBase64(object[name]) : encode(object[name]);

// What a person sees of a key.  Characters that would not show, as blanks at its ends would not, or
// would reorder what stands around them, become visible.
export function label(bytes) {
  const text = decode(bytes);
  if (text === null) return "0x" + hex(bytes);
  return text
    .replace(/^ +| +$/g, (blanks) => "\u2420".repeat(blanks.length))
    .replace(/[\u0000-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(
      /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
      (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0")
    );
}

// Numbers as people read them.
const whole = new Intl.NumberFormat("en"),
  short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
export const count = (n) => whole.format(n);
export const brief = (n) => short.format(n);
export function size(n) {
  let unit = 0;
  while (n >= 999.5 && unit < 4) {
    n /= 1000;
    unit++;
  }
  return `${unit ? short.format(n) : n} ${["B", "KB", "MB", "GB", "TB"][unit]}`;
}
export const plural = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;
export function seconds(s) {
  if (s === null || !isFinite(s)) return "–";
  if (s < 0.001) return `${brief(s * 1e6)} µs`;
  if (s < 1) return `${brief(s * 1000)} ms`;
  if (s < 60) return `${brief(s)} s`;
  s = Math.round(s);
  return s < 3600
    ? `${Math.floor(s / 60)} min ${s % 60} s`
    : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}
export const moment = (ms) =>
  new Date(ms).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
