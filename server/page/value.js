// value.js - one value: shown as JSON, text or hex, large ones part by part; and the form that
// changes it.
//
// Reading is a GET with a Range, so that a value of gigabytes costs what is shown of it.  Writing
// is a batch of one operation,
// because that keeps type, media type and expiry, with the version that was read as its condition:
// nobody's write is lost unseen.

import {
  ask,
  badge,
  button,
  checkbox,
  empty,
  failure,
  field,
  h,
  id,
  link,
  loading,
  say,
  show
} from "./dom.js";
import {
  count,
  decode,
  decodePart,
  encode,
  fromHex,
  hex,
  hexDump,
  join,
  label,
  member,
  moment,
  percent,
  size,
  toBase64,
  unpercent
} from "./bytes.js";
import { coloured, foldAll, indent, isJson, jsonMistake } from "./json.js";
import { picture, pictureType } from "./picture.js";
import * as api from "./api.js";

const PART = 64 * 1024,
  EDIT_MAX = 4 * 1024 * 1024,
  WHOLE_MAX = 16 * 1024 * 1024;

// Whether a URL can name the key: browsers take . and .. out of every path, and servers limit its
// length.
export const addressable = (key) => key !== "." && key !== ".." && key.length < 40000;
const pathOf = (store, key) => `stores/${store}/keys/${key}`;

// Bytes as the members of an operation.
function named(name, encoding, bytes) {
  const text = decode(bytes);
  return text === null ? { [name]: toBase64(bytes), [encoding]: "base64" } : { [name]: text };
}
const keyMember = (key) => named("key", "key_encoding", unpercent(key));

// --------------------------------------------------------------------------------------- reading
export async function readAll(store, key) {
  const found = await api.operation(store, { op: "get", ...keyMember(key) });
  const bytes = member(found, "value", "encoding");
  return {
    ...found,
    bytes,
    total: bytes.length,
    media: found.media_type,
    expires: found.expires_at
  };
}

async function readPart(store, key, from, to, version) {
  const headers = { Range: `bytes=${from}-${to - 1}` };
  if (version) headers["If-Match"] = `"${version}"`;
  let answer;
  try {
    answer = await api.request("GET", pathOf(store, key), { headers });
  } catch (problem) {
    if (problem.status !== 416) throw problem;
    answer = await api.request("GET", pathOf(store, key)); // an empty value has no ranges
  }
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const range = /\/(\d+)$/.exec(answer.headers.get("Content-Range") || "");
  return {
    bytes,
    total: range ? Number(range[1]) : bytes.length,
    version: Number(answer.headers.get("ETag").replace(/\D/g, "")),
    type: answer.headers.get("Maph-Type"),
    media: answer.headers.get("Content-Type"),
    expires: Number(answer.headers.get("Maph-Expires-At"))
  };
}

// --------------------------------------------------------------------------------------- showing
// The ways to look at what has been read, the best first: {name: () => nodes}.
function waysOf(entry, width) {
  const whole = entry.bytes.length === entry.total,
    text = whole ? decode(entry.bytes) : decodePart(entry.bytes);
  const ways = {};
  if (whole && entry.picture)
    ways.Picture = (name, signal) => picture(entry.bytes, entry.picture, name, signal);
  if (whole && text !== null && (entry.type === "json" || /^\s*[[{]/.test(text)) && isJson(text))
    ways.JSON = () => coloured(text);
  const asHex = () => hexDump(entry.bytes, width < 600 ? 8 : 16);
  const control = text !== null && /[\u0000-\u0008\u000e-\u001f]/.test(text);
  if (text !== null && !control) ways.Text = () => text;
  ways.Hex = asHex;
  if (control) ways.Text = () => text;
  return ways;
}

// Radio buttons in a row.
function choice(legend, names, chosen, onchange) {
  const group = id();
  return h(
    "fieldset",
    { class: "choice" },
    h("legend", { class: "hidden" }, legend),
    names.map((name) =>
      h(
        "label",
        {},
        h("input", {
          type: "radio",
          name: group,
          checked: name === chosen,
          onchange: () => onchange(name)
        }),
        h("span", {}, name)
      )
    )
  );
}

export function valuePane(place, store, key, changed, cancelled) {
  let entry = null,
    way = null,
    form = null,
    isRead = false,
    drawn = new AbortController();
  const title = h(
    "h2",
    { class: key === null ? "" : "mono", tabindex: "-1" },
    key === null ? "New key" : h("bdi", {}, label(unpercent(key)))
  );
  const facts = h("dl", { class: "facts" }),
    trouble = h("div"),
    body = h("div");
  show(
    place,
    h("p", { class: "back" }, link("← All keys", `#/stores/${store}`)),
    title,
    facts,
    trouble,
    body
  );

  function draw() {
    const ways = waysOf(entry, place.clientWidth),
      rest = entry.total - entry.bytes.length;
    if (!ways[way]) way = Object.keys(ways)[0];
    drawn.abort();
    drawn = new AbortController();
    const content = ways[way](label(unpercent(key)), drawn.signal);
    const pre =
      way === "Picture"
        ? content
        : h(
            "pre",
            {
              tabindex: "0",
              role: "region",
              "aria-label": `Value as ${way}`,
              class: way.toLowerCase()
            },
            content
          );
    show(
      body,
      h(
        "div",
        { class: "row" },
        Object.keys(ways).length > 1
          ? choice("Show as", Object.keys(ways), way, (name) => {
              way = name;
              draw();
              body.querySelector("input:checked").focus();
            })
          : h("span", { class: "faint" }, "Hex"),
        h(
          "span",
          { class: "buttons" },
          way === "JSON" && pre.querySelectorAll(".fold").length > 1 && foldAll(pre),
          entry.total <= EDIT_MAX && button("Edit", edit, { class: "writes" }),
          navigator.clipboard && !rest && decode(entry.bytes) !== null && button("Copy", copy),
          button("Download", save),
          button("Delete", remove, { class: "danger quiet writes" })
        )
      ),
      entry.total
        ? pre
        : h("p", { class: "box faint" }, entry.type === "null" ? "NULL" : "An empty value."),
      rest > 0 &&
        h(
          "p",
          { class: "row" },
          h(
            "span",
            { class: "faint" },
            `The first ${size(entry.bytes.length)} of ${size(entry.total)}.`
          ),
          h(
            "span",
            { class: "buttons" },
            button(`Next ${size(Math.min(PART, rest))}`, () => more(PART)),
            entry.total <= WHOLE_MAX && button("All of it", () => more(rest))
          )
        )
    );
  }

  function drawFacts() {
    const fact = (term, text) => h("div", {}, h("dt", {}, term), h("dd", {}, text));
    show(
      facts,
      fact("Type", badge(entry.type)),
      fact("Size", size(entry.total)),
      fact("Version", count(entry.version)),
      entry.media && fact("Media type", h("bdi", {}, entry.media)),
      entry.expires > 0 && fact("Expires", moment(entry.expires))
    );
  }

  // The store has another version: is the value still the one that is shown?
  async function look() {
    if (!isRead || !addressable(key)) return;
    const seen = entry.version;
    let now = null;
    try {
      const answer = await api.request("HEAD", pathOf(store, key));
      now = Number(answer.headers.get("ETag").replace(/\D/g, ""));
    } catch (problem) {
      if (problem.status !== 404) return;
    }
    if (!isRead || form || entry.version !== seen || now === seen) return;
    show(
      trouble,
      h(
        "div",
        { class: "box row", role: "status" },
        now === null ? "The key was deleted meanwhile." : `There is version ${count(now)} by now.`,
        now !== null && button("Show it", reopen)
      )
    );
  }

  async function open() {
    form = null;
    isRead = false;
    show(facts);
    show(trouble);
    show(body, loading());
    try {
      entry = addressable(key) ? await readPart(store, key, 0, PART) : await readAll(store, key);
      entry.picture = pictureType(entry.bytes, entry.media);
      if (entry.picture && entry.bytes.length < entry.total && entry.total <= WHOLE_MAX)
        entry.bytes = join(
          entry.bytes,
          (await readPart(store, key, entry.bytes.length, entry.total, entry.version)).bytes
        );
    } catch (problem) {
      show(body);
      show(
        trouble,
        problem.code === "key_not_found"
          ? empty(
              "There is no such key",
              h("p", {}, "Or no longer."),
              h(
                "p",
                {},
                button(
                  "Make it",
                  () => {
                    entry = null;
                    edit();
                  },
                  { class: "writes" }
                )
              )
            )
          : failure(problem, open)
      );
      return;
    }
    isRead = true;
    drawFacts();
    draw();
  }

  async function more(n) {
    try {
      const part = await readPart(
        store,
        key,
        entry.bytes.length,
        entry.bytes.length + n,
        entry.version
      );
      entry.bytes = join(entry.bytes, part.bytes);
      draw();
      (body.querySelector("pre") || title).focus();
    } catch (problem) {
      show(
        trouble,
        problem.status === 412
          ? failure(new api.Problem(412, problem.code, "The value changed meanwhile."), open)
          : failure(problem)
      );
    }
  }

  async function copy() {
    try {
      await navigator.clipboard.writeText(decode(entry.bytes));
      say("Copied.");
    } catch {
      say("The browser does not allow it.");
    }
  }

  const fileName = () =>
    label(unpercent(key))
      .replace(/[^\w.-]+/g, "_")
      .slice(-80) || "value";
  async function save() {
    if (addressable(key)) return api.download(pathOf(store, key), fileName());
    const a = h("a", { href: URL.createObjectURL(new Blob([entry.bytes])), download: fileName() });
    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 60000);
  }

  async function remove() {
    const done = await ask({
      title: "Delete this key?",
      action: "Delete",
      danger: true,
      body: h("p", { class: "mono cut" }, h("bdi", {}, label(unpercent(key)))),
      run: () =>
        api
          .operation(store, { op: "delete", ...keyMember(key), if_version: entry.version })
          .catch((problem) => {
            throw problem.status === 412
              ? new api.Problem(
                  412,
                  problem.code,
                  "Somebody changed this key meanwhile. Nothing was deleted."
                )
              : problem;
          })
    });
    if (done) {
      say("The key was deleted.");
      changed.deleted(key);
    }
  }

  const reopen = () => {
    title.focus();
    open();
  };
  async function edit() {
    let found = null;
    show(trouble);
    try {
      if (entry) found = await readAll(store, key);
    } catch (problem) {
      show(trouble, failure(problem, edit));
      return;
    }
    form = editor(store, key, found, {
      saved: (at, put) => {
        form = null;
        changed.saved(at, put);
        if (at === key) reopen();
      },
      cancel: () => {
        form = null;
        if (key === null) cancelled();
        else reopen();
      },
      reload: reopen
    });
    show(facts);
    show(body, form.node);
    form.focus();
  }

  if (key === null) edit();
  else open();
  return { look, unsaved: () => Boolean(form && form.dirty()) };
}

// -------------------------------------------------------------------------------------- changing
// Local time as <input type="datetime-local"> wants it.
const localTime = (ms) =>
  new Date(ms - new Date(ms).getTimezoneOffset() * 60000).toISOString().slice(0, 19);

// A text field makes every line end \n.  All \r\n come back at saving; other carriage returns can
// only be kept as hex.
function lineEnds(text) {
  if (!text.includes("\r")) return "lf";
  return /(^|[^\r])\n|\r(?!\n)/.test(text) ? "mixed" : "crlf";
}

function typeOf(bytes) {
  const text = decode(bytes);
  if (text === null || text.includes("\0")) return "blob";
  return /^\s*[[{]/.test(text) && isJson(text) ? "json" : "text";
}

function mistakeIn(type, bytes) {
  const text = decode(bytes);
  if (text === null && type !== "blob")
    return `These bytes are not text, so the type cannot be ${type}.`;
  if (type === "json") return jsonMistake(text) && `Not JSON: ${jsonMistake(text)}`;
  if (type === "integer" && !/^[+-]?\d{1,19}$/.test(text)) return "Not a whole number.";
  if (type === "real" && !(text.trim() && isFinite(Number(text)))) return "Not a number.";
  return type === "null" && bytes.length ? "NULL has no bytes." : null;
}

// The form for a value: `found` is what is there, null for a new one; key null: it is asked for
// too.
function editor(store, key, found, on) {
  const start = found ? found.bytes : new Uint8Array(),
    text = decode(start),
    ends = text === null ? "mixed" : lineEnds(text);
  const asText = text !== null && ends !== "mixed" && !/[\u0000-\u0008]/.test(text);
  let way = asText ? "Text" : "Hex",
    touched = false;

  const keyInput = h("input", {
      class: "mono",
      required: true,
      autocomplete: "off",
      spellcheck: "false"
    }),
    [keyHex, keyHexLabel] = checkbox("The key is hex");
  const area = h("textarea", {
    class: "mono",
    rows: 14,
    spellcheck: "false",
    value: asText ? text : hex(start),
    id: id()
  });
  const types = h(
    "select",
    {},
    (found ? [] : ["automatic"])
      .concat(["text", "json", "blob", "integer", "real", "null"])
      .map((t) => h("option", { value: t }, t))
  );
  if (found) types.value = found.type;
  const media = h("input", {
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 255,
    value: found?.media || "",
    placeholder: "none"
  });
  const until = h("input", {
    type: "datetime-local",
    step: 1,
    value: found?.expires ? localTime(found.expires) : ""
  });
  const untilBefore = until.value;
  const file = h("input", {
    type: "file",
    onchange: () => {
      area.disabled = types.disabled = media.disabled = file.files.length > 0;
    }
  });
  const trouble = h("div"),
    ways = h("div");

  // What the field holds, as bytes; throws what is wrong with it.
  function bytes() {
    if (way === "Text")
      return encode(ends === "crlf" ? area.value.replace(/\n/g, "\r\n") : area.value);
    const read = fromHex(area.value);
    if (!read)
      throw new api.Problem(
        0,
        "",
        "Hex is pairs of the digits 0-9 and a-f, with any white space between."
      );
    return read;
  }
  function drawWays() {
    show(ways, choice("Edit as", ["Text", "Hex"], way, turn));
  }
  function turn(to) {
    try {
      const read = bytes(),
        readText = decode(read);
      if (to === "Text" && (readText === null || /[\u0000-\u0008\r]/.test(readText)))
        throw new api.Problem(
          0,
          "",
          "A text field would change these bytes: they can only be edited as hex."
        );
      area.value = to === "Text" ? readText : hex(read);
      way = to;
      show(trouble);
    } catch (problem) {
      show(trouble, failure(problem));
    }
    drawWays();
    ways.querySelector("input:checked").focus();
  }
  function format() {
    const mistake = jsonMistake(area.value);
    if (mistake) {
      show(trouble, failure(new api.Problem(0, "", `Not JSON: ${mistake}`)));
      return;
    }
    area.value = indent(area.value);
    touched = true;
  }

  function keyOf() {
    if (key !== null) return key;
    const read = keyHex.checked ? fromHex(keyInput.value) : encode(keyInput.value);
    if (!read) throw new api.Problem(0, "", "The key is not hex: pairs of the digits 0-9 and a-f.");
    if (read.length > 65535) throw new api.Problem(0, "", "A key has at most 65,535 bytes.");
    return percent(read);
  }
  const expiry = () =>
    !until.value
      ? null
      : until.value === untilBefore
        ? found.expires
        : new Date(until.value).getTime();

  async function sendFile(at, over) {
    if (!addressable(at))
      throw new api.Problem(0, "", "A file cannot be sent to this key: no URL can name it.");
    const headers = { "Content-Type": file.files[0].type || "application/octet-stream" };
    if (!over) headers[found ? "If-Match" : "If-None-Match"] = found ? `"${found.version}"` : "*";
    const meter = h("progress", { max: 1, "aria-label": "Sent" }),
      ttl = expiry() ? Math.max(1, Math.round((expiry() - Date.now()) / 1000)) : 0;
    show(trouble, meter);
    const answer = await api.upload(
      "PUT",
      pathOf(store, at) + (ttl ? `?ttl=${ttl}` : ""),
      file.files[0],
      headers,
      (sent, all) => {
        meter.value = sent / all;
      }
    );
    return { type: "blob", size: file.files[0].size, version: answer.version };
  }

  async function sendField(at, over) {
    const read = types.value === "null" ? new Uint8Array() : bytes(),
      type = types.value === "automatic" ? typeOf(read) : types.value,
      mistake = mistakeIn(type, read);
    if (mistake) throw new api.Problem(0, "", mistake);
    const one = { op: "put", ...keyMember(at), ...named("value", "encoding", read), type };
    if (media.value) one.media_type = media.value;
    if (expiry()) one.expires_at = expiry();
    if (found && found.key_is_text !== undefined) one.key_is_text = found.key_is_text;
    if (!over) Object.assign(one, found ? { if_version: found.version } : { if_absent: true });
    const { version } = await api.operation(store, one);
    return { type, size: read.length, version };
  }

  async function save(over) {
    let at;
    submit.disabled = true;
    show(trouble);
    try {
      at = keyOf();
      const put = await (file.files.length ? sendFile : sendField)(at, over);
      say("Saved.");
      on.saved(at, put);
    } catch (problem) {
      if (problem.status !== 412) show(trouble, failure(problem));
      else if (found) {
        show(
          trouble,
          failure({
            title: "Somebody changed this key meanwhile",
            message: "Nothing was written."
          }),
          h(
            "p",
            { class: "actions" },
            button("See theirs, drop mine", on.reload),
            button("Save mine over it", () => save(true), { class: "danger" })
          )
        );
      } else {
        show(
          trouble,
          failure({ title: "This key exists", message: "Nothing was written." }),
          h(
            "p",
            { class: "actions" },
            button("Replace its value", () => save(true), { class: "danger" })
          )
        );
      }
    }
    submit.disabled = false;
  }

  const submit = h("button", { type: "submit", class: "primary" }, "Save");
  const cancel = () => {
    if (!touched || confirm("Leave without saving the value?")) on.cancel();
  };
  const node = h(
    "form",
    {
      class: "editor",
      oninput: () => {
        touched = true;
      },
      onsubmit: (event) => {
        event.preventDefault();
        save(false);
      },
      onkeydown: (event) => {
        if ((event.ctrlKey || event.metaKey) && (event.key === "s" || event.key === "Enter")) {
          event.preventDefault();
          node.requestSubmit();
        }
        if (event.key === "Escape") {
          event.preventDefault();
          cancel();
        }
      }
    },
    key === null && [field("Key", keyInput), keyHexLabel],
    h(
      "div",
      { class: "field" },
      h(
        "div",
        { class: "row" },
        h("label", { for: area.id }, "Value"),
        h("span", { class: "buttons" }, button("Format JSON", format, { class: "quiet" }), ways)
      ),
      area,
      ends === "mixed" &&
        text !== null &&
        h(
          "small",
          {},
          "It has carriage returns that a text field would change, so it is edited as hex."
        )
    ),
    h(
      "div",
      { class: "fields" },
      field("Type", types),
      field("Media type", media),
      field("Expires", until, "Empty: never."),
      field("Or a file", file, "Replaces the value, whatever its size.")
    ),
    trouble,
    h(
      "p",
      { class: "actions" },
      h("small", { class: "faint" }, "Ctrl+S saves, Esc leaves"),
      button("Cancel", cancel),
      submit
    )
  );
  drawWays();
  return {
    node,
    dirty: () => touched,
    focus: () => {
      (key === null ? keyInput : area).focus();
      area.setSelectionRange(0, 0);
      area.scrollTop = 0;
    }
  };
}
