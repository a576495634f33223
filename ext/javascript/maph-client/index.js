/*
 * maph-client - stores on a maph-server, from a browser, Node, Bun or Deno, with nothing but fetch.
 *
 *     import { MaphClient } from "maph-client";
 *     const client = new MaphClient("http://localhost:8080");
 *     const cache = await client.getStore("cache");
 *     await cache.set("hot_key", "new_value");
 *     await cache.get("hot_key");                          // "new_value"
 *
 * A store holds bytes.  What was put as a string comes back as a string, what was put as bytes
 * (Uint8Array, ArrayBuffer, any view) as a Uint8Array, because the server keeps each value's type.
 * Keys are strings, or bytes where they are not UTF-8.
 *
 * A URL cannot carry every key: fetch folds the paths "." and "..", however they are escaped, and
 * servers limit a path's length.  Such keys travel in a batch of one operation.
 */

const OPERATIONS_MAX = 10000;
// JSON makes up to six of one, and the server takes 16 MiB
const BATCH_CHARACTERS = 2 * 1024 * 1024;
const IMPORT_CHARACTERS = 1024 * 1024;
const PATH_MAX = 32768;
const PAGE = 1000;
const SILENCE_MS = 60000; // the server's heartbeat comes more often
const PAUSE_MS = 500,
  LONGEST_PAUSE_MS = 30000;
const REQUEST_MAX = 200; // characters of it in a message
const NDJSON = "application/x-ndjson";
const TEXT_TYPES = ["text", "json", "integer", "real"];

// ---------------------------------------------------------------------------------------- errors
/* Any failure: what was asked ("GET http://..."), the server's status, its stable code, its
 * sentence, and the id of the request in its log. */
export class MaphError extends Error {
  constructor(
    detail,
    { request = "", status, code = "", requestId = "", problem = {}, headers, cause } = {}
  ) {
    // a key may have tens of thousands
    const asked = request.length > REQUEST_MAX ? `${request.slice(0, REQUEST_MAX)}...` : request;
    super(
      (asked && `${asked}: `) + detail + (code && ` (${code})`),
      cause === undefined ? undefined : { cause }
    );
    this.name = new.target.name;
    this.detail = detail;
    this.request = request;
    this.status = status;
    this.code = code;
    this.requestId = requestId;
    this.problem = problem;
    this.headers = headers ?? new Headers();
  }
}
// no answer, or half of one: a write may have happened or not
export class ConnectionLostError extends MaphError {}
export class TimedOutError extends ConnectionLostError {}
export class StoreNotFoundError extends MaphError {}
export class StoreExistsError extends MaphError {}
export class KeyNotFoundError extends MaphError {}
export class UnauthorizedError extends MaphError {}
export class ForbiddenError extends MaphError {}
export class ReadOnlyError extends MaphError {}
export class BadRequestError extends MaphError {}
export class TooLargeError extends MaphError {}
export class StoreFullError extends MaphError {}
export class CorruptError extends MaphError {}
// what was asked for was rewritten away: read again from the start
export class CompactedError extends MaphError {}
export class UnsupportedError extends MaphError {} // an older server
export class ServerError extends MaphError {}
/* Of a write: an answer that says that nobody knows whether it was done, as where the server of a
 * replica's bucket fell silent, or a proxy's. Read the key before asking again. */
export class OutcomeUnknownError extends ServerError {
  /* The revision that the key is at in the bucket; undefined: not told. */
  get revision() {
    return this.problem.revision;
  }
}
// a replica takes one key a request: NATS has no transactions
export class NoTransactionsError extends BadRequestError {}
export class JobNotFoundError extends MaphError {}
export class JobFailedError extends MaphError {}
// problem: {imported, failed, errors}; the lines not refused are in
export class ImportFailedError extends MaphError {}
export class BusyError extends MaphError {
  /* Milliseconds that the server asks to wait. */
  get retryAfter() {
    return 1000 * (Number(this.headers.get("Retry-After")) || 1);
  }
}
// a replica's bucket cannot be reached: nothing was written, and reads go on
export class BucketUnavailableError extends BusyError {}
export class PreconditionFailedError extends MaphError {
  /* The version that the key is at; undefined: missing, or not told. */
  get version() {
    const tag = /^"(\d+)(?:-gzip)?"$/.exec(this.headers.get("ETag") ?? "");
    return tag ? Number(tag[1]) : undefined;
  }
  /* Which operation of a batch failed, from 0. */
  get operation() {
    const number =
      this.headers.get("Maph-Failed-Operation") ?? /^operation (\d+):/.exec(this.detail)?.[1];
    return number === undefined ? undefined : Number(number);
  }
}

const CODES = {
  store_not_found: StoreNotFoundError,
  store_exists: StoreExistsError,
  key_not_found: KeyNotFoundError,
  precondition_failed: PreconditionFailedError,
  unauthorized: UnauthorizedError,
  forbidden: ForbiddenError,
  foreign_origin: ForbiddenError,
  read_only: ReadOnlyError,
  replica: ReadOnlyError,
  busy: BusyError,
  job_running: BusyError,
  bucket_unavailable: BucketUnavailableError,
  outcome_unknown: OutcomeUnknownError,
  no_transactions: NoTransactionsError,
  job_not_found: JobNotFoundError,
  backup_exists: StoreExistsError,
  file_truncated: CorruptError,
  full: StoreFullError,
  corrupt: CorruptError,
  compacted: CompactedError,
  no_such_path: UnsupportedError,
  method_not_allowed: UnsupportedError
};
const STATUSES = {
  401: UnauthorizedError,
  403: ForbiddenError,
  404: UnsupportedError,
  405: UnsupportedError,
  410: CompactedError,
  412: PreconditionFailedError,
  413: TooLargeError,
  414: TooLargeError,
  429: BusyError,
  431: TooLargeError,
  503: BusyError,
  507: StoreFullError
};

/* A gateway that waited in vain does not know what became of a write; what only reads is no more
 * than that. */
function isInDoubt(status, request) {
  return status === 504 && !/^(GET|HEAD) /.test(request);
}

function problemError(problem, request, status, headers) {
  const Kind =
    CODES[problem.code] ??
    STATUSES[status] ??
    (isInDoubt(status, request) ? OutcomeUnknownError : undefined) ??
    (status >= 400 && status < 500 ? BadRequestError : ServerError);
  return new Kind(
    problem.detail ??
      problem.title ??
      `HTTP status ${status} without a reason: not an answer of maph-server, look at what stands ` +
        "before it",
    { request, status, code: problem.code, requestId: problem.request_id, problem, headers }
  );
}

async function answerError(response, request) {
  let problem;
  try {
    problem = await response.json();
  } catch {
    problem = undefined;
  }
  return problemError(
    problem !== null && typeof problem === "object" ? problem : {},
    request,
    response.status,
    response.headers
  );
}

/* An answer that is not maph-server's is never a success. */
function strange(request, { status }) {
  return new ServerError(
    `HTTP status ${status}, but not an answer of maph-server: is this its address?`,
    { request, status }
  );
}

// -------------------------------------------------------------------------- bytes, text and JSON
const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function asBytes(data, what = "a value") {
  if (typeof data === "string") {
    if (/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(data))
      throw new TypeError(`${what} has half a surrogate pair: it is no text`);
    return encoder.encode(data);
  }
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data))
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  throw new TypeError(
    `${what} is a string or bytes, not ${data === null ? "null" : typeof data}; JSON.stringify() ` +
      "makes a string of most things"
  );
}

function asText(bytes) {
  try {
    return strictDecoder.decode(bytes);
  } catch {
    return undefined;
  }
}

function keyBytes(key) {
  const bytes = asBytes(key, "a key");
  if (bytes.length === 0) throw new TypeError("a key has at least one byte");
  return bytes;
}

function toBase64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768)
    text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}

function fromBase64(text) {
  const raw = atob(text),
    bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

function percentEncode(bytes) {
  const text = asText(bytes);
  if (text !== undefined) return encodeURIComponent(text);
  return Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
}

function isText(type, mediaType) {
  const media = mediaType.split(";")[0].trim().toLowerCase();
  return (
    TEXT_TYPES.includes(type) ||
    media.startsWith("text/") ||
    media === "application/json" ||
    media.endsWith("+json")
  );
}

/* The bytes as what they were put as. */
function asValue(bytes, type, mediaType) {
  return (isText(type, mediaType) ? asText(bytes) : undefined) ?? bytes;
}

/* What must be said at a put for the value to come back as the kind it is; undefined: the server
 * sees that it is text. */
function contentTypeOf(value) {
  if (typeof value !== "string") return "application/octet-stream";
  return value.includes("\0") ? "text/plain; charset=utf-8" : undefined;
}

function putMember(object, name, encoding, data, what) {
  const bytes = asBytes(data, what);
  if (typeof data === "string") object[name] = data;
  else Object.assign(object, { [name]: toBase64(bytes), [encoding]: "base64" });
}

function memberBytes(object, name, encoding) {
  return object[encoding] === "base64"
    ? fromBase64(object[name])
    : encoder.encode(object[name] ?? "");
}

function memberKey(member) {
  return member.key_encoding === "base64" ? fromBase64(member.key) : member.key;
}

function memberEntry(member) {
  const type = member.type ?? ("encoding" in member ? "" : "text");
  const mediaType =
    member.media_type_encoding === "base64" ? atob(member.media_type) : (member.media_type ?? "");
  const entry = {
    key: memberKey(member),
    value: undefined,
    version: member.version ?? 0,
    type,
    mediaType
  };
  if ("value" in member) {
    const plain = member.encoding !== "base64" && isText(type, mediaType);
    entry.value = plain
      ? member.value
      : asValue(memberBytes(member, "value", "encoding"), type, mediaType);
  }
  if (member.expires_at !== undefined) entry.expiresAt = member.expires_at;
  if (member.key_is_text !== undefined) entry.keyIsText = member.key_is_text;
  return entry;
}

/* One line of an import: an entry, a [key, value] pair, or a line as export has it. */
function importLine(one) {
  if (typeof one === "string") return one.endsWith("\n") ? one : one + "\n";
  const entry = Array.isArray(one) ? { key: one[0], value: one[1] } : one;
  const member = {};
  putMember(member, "key", "key_encoding", entry.key, "a key");
  putMember(member, "value", "encoding", entry.value);
  const mediaType =
    entry.mediaType ||
    (typeof entry.value === "string" && !entry.type ? contentTypeOf(entry.value) : "");
  if (entry.type) member.type = entry.type;
  // What is not ASCII came as bytes read one a character: so it goes back.
  if (mediaType)
    Object.assign(
      member,
      /^[\x00-\x7f]*$/.test(mediaType)
        ? { media_type: mediaType }
        : { media_type: btoa(mediaType), media_type_encoding: "base64" }
    );
  if (entry.expiresAt !== undefined) member.expires_at = entry.expiresAt;
  if (entry.keyIsText !== undefined) member.key_is_text = entry.keyIsText;
  return JSON.stringify(member) + "\n";
}

function operation(op, key, { ifVersion, ifAbsent = false, ifPresent = false } = {}) {
  const member = { op };
  putMember(member, "key", "key_encoding", key, "a key");
  if (member.key === "") throw new TypeError("a key has at least one byte");
  if (ifVersion !== undefined) member.if_version = ifVersion;
  if (ifAbsent) member.if_absent = true;
  if (ifPresent) member.if_present = true;
  return member;
}

function putOperation(key, value, options = {}) {
  const member = operation("put", key, options);
  putMember(member, "value", "encoding", value);
  if (options.ttl !== undefined) member.ttl = options.ttl;
  const mediaType =
    options.contentType ?? (typeof value === "string" ? contentTypeOf(value) : undefined);
  if (mediaType !== undefined) member.media_type = mediaType;
  if (typeof value === "string" && options.contentType?.includes("json")) member.type = "json";
  return member;
}

function batchResult(member, request) {
  if (member.status >= 400 && member.status !== 404)
    throw problemError(member, request, member.status, new Headers());
  return {
    status: member.status,
    found: member.status < 400,
    version: member.version,
    entry: "value" in member ? memberEntry(member) : undefined
  };
}

function conditionHeaders({ ifVersion, ifAbsent = false, ifPresent = false }) {
  if ((ifVersion !== undefined) + ifAbsent + ifPresent > 1)
    throw new TypeError("one of ifVersion, ifAbsent, ifPresent");
  if (ifVersion !== undefined) return { "If-Match": `"${ifVersion}"` };
  return ifAbsent ? { "If-None-Match": "*" } : ifPresent ? { "If-Match": "*" } : {};
}

/* Of the entry that was read or written: the ETag, which says -gzip where the server compressed the
 * answer, and is weak where a proxy did. */
function versionOf(answer) {
  const tag = /^(?:W\/)?"(\d+)(?:-gzip)?"$/.exec(answer.headers.get("ETag") ?? "");
  if (!tag) throw strange(answer.request, answer);
  return Number(tag[1]);
}

async function* piecesOf(items, sizeOf, countMax, sizeMax) {
  let piece = [],
    size = 0;
  for await (const item of items) {
    const needed = sizeOf(item);
    if (piece.length === countMax || (piece.length > 0 && size + needed > sizeMax)) {
      yield piece;
      piece = [];
      size = 0;
    }
    piece.push(item);
    size += needed;
  }
  if (piece.length > 0) yield piece;
}

function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener("abort", done);
  });
}

// -------------------------------------------------------------------------------------- requests
class Transport {
  constructor(url, { token, timeout = 30000, fetch: given } = {}) {
    let parsed;
    try {
      parsed = new URL(url);
    } catch {
      parsed = undefined;
    }
    if (
      !parsed ||
      !/^https?:$/.test(parsed.protocol) ||
      parsed.search ||
      parsed.hash ||
      parsed.username
    )
      throw new TypeError(
        `not the URL of a maph server: ${url}; it looks like http://localhost:8080`
      );
    if (token !== undefined && !/^[\x21-\x7e]+$/.test(token))
      throw new TypeError(
        "a token is printable ASCII without spaces; one read from a file may end in a newline: " +
          "trim() it"
      );
    this.url = parsed.href.replace(/\/+$/, "");
    this.timeout = timeout;
    this.token = token;
    this.signal = undefined;
    // shared by the copies of with(): the address that answered where the name alone did not
    this.loopback = { address: undefined };
    this.fetch = given ?? ((...all) => globalThis.fetch(...all));
  }

  /* The same server, asked under other conditions. */
  with({ timeout = this.timeout, signal = this.signal }) {
    return Object.assign(Object.create(Transport.prototype), this, { timeout, signal });
  }

  target(path, query = {}) {
    const asked = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
    const text = asked
      .map(
        ([name, value]) =>
          `${name}=${percentEncode(asBytes(typeof value === "number" ? String(value) : value))}`
      )
      .join("&");
    const { address } = this.loopback;
    const url = address ? this.url.replace("//localhost", `//${address}`) : this.url;
    return url + path + (text && `?${text}`);
  }

  /* A request as errors call it. */
  name(method, path) {
    return `${method} ${this.url}${path}`;
  }

  /* A function that sends, and hands out the answer before its body; an error status becomes its
   * exception.  What no request can hold, such as a header with a line break, is a TypeError here
   * already.  `repeatable`: it only reads, and a kept connection that the server has just closed is
   * no failure. Anything else is not sent twice, for a put without a condition too would undo what
   * another client put in between. */
  prepare(method, path, { query, headers, body, repeatable }) {
    const all = new Headers({
        ...(this.token && { Authorization: `Bearer ${this.token}` }),
        ...headers
      });
    this.target(path, query);
    return async (signal) => {
      const once = () =>
        this.fetch(this.target(path, query), {
          method,
          headers: all,
          body,
          signal,
          cache: "no-store",
          redirect: "error",
          ...(!repeatable && SENT_ONCE)
        });
      const response = await once().catch((error) => {
        if (repeatable && isClosed(error)) return once();
        this.loopback.address = otherLoopback(this.url, error);
        if (this.loopback.address) return once();
        throw error;
      });
      if (response.status < 300 || response.status === 304) return response;
      throw await answerError(response, this.name(method, path));
    };
  }

  /* The answer that `read` makes of the response, within the time limit. */
  async request(method, path, options = {}, read = (response) => response.arrayBuffer()) {
    const { repeatable = method === "GET" } = options,
      send = this.prepare(method, path, { ...options, repeatable });
    const control = new AbortController(),
      unlink = link(this.signal, control),
      end = limit(this.timeout, control),
      request = this.name(method, path);
    let early = "";
    try {
      const response = await send(control.signal);
      early = "the answer ended early";
      const answer = {
        request,
        status: response.status,
        headers: response.headers,
        body: await read(response)
      };
      if (options.status !== undefined && answer.status !== options.status)
        throw strange(request, answer);
      return answer;
    } catch (error) {
      throw lost(reasonOf(error, control), request, this.signal, early, !early && !repeatable);
    } finally {
      end();
      unlink();
    }
  }

  /* An answer of that media type whose body is read while it comes: the time limit is for its
   * beginning, and after that `control` ends it. */
  async open(method, path, mediaType, options, control) {
    const send = this.prepare(method, path, {
      ...options,
      headers: { Accept: mediaType },
      repeatable: true
    });
    const end = limit(this.timeout, control),
      request = this.name(method, path);
    try {
      const response = await send(control.signal);
      if (response.headers.get("Content-Type")?.split(";")[0].trim() === mediaType) return response;
      control.abort();
      throw strange(request, response);
    } catch (error) {
      throw lost(reasonOf(error, control), request, this.signal);
    } finally {
      end();
    }
  }

  async json(method, path, options) {
    return (await this.request(method, path, options, jsonOf(this.name(method, path)))).body;
  }
}

/* What keeps a write from being sent twice.  Bun and Deno send a request again by themselves when a
 * kept connection ended before the answer, so there each write gets a connection of its own.
 * Browsers do the same and cannot be told otherwise; Node does not. */
const SENT_ONCE = {
  keepalive: false, // the default, which Bun takes for this wish
  ...(globalThis.Deno?.createHttpClient && {
    client: globalThis.Deno.createHttpClient({ poolMaxIdlePerHost: 0 })
  })
};

// Node tells more in the error's cause, Bun in the error itself
const codeOf = (error) => error?.cause?.code ?? error?.code;

/* What fetch in Node says of a connection that ended before any answer; others try again by
 * themselves. */
const CLOSED = ["ECONNRESET", "EPIPE", "UND_ERR_SOCKET"];
function isClosed(error) {
  return CLOSED.includes(codeOf(error));
}

/* Whether nothing can have reached the server.  A browser does not tell. */
const UNREACHED = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"];
function isUnreached(error) {
  return (
    UNREACHED.includes(codeOf(error)) || /client error \(Connect\)/.test(error?.cause?.message)
  );
}

function jsonOf(request) {
  return async (response) => {
    const text = await response.text();
    try {
      return JSON.parse(text);
    } catch {
      throw strange(request, response);
    }
  };
}

/* Let `control` end with the caller's signal, until the answer of this is called. */
function link(signal, control) {
  if (!signal) return () => {};
  const stop = () => control.abort(signal.reason);
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop);
  return () => signal.removeEventListener("abort", stop);
}

function limit(milliseconds, control) {
  if (milliseconds === Infinity) return () => {};
  const timer = setTimeout(
    () => control.abort(new DOMException("no answer", "TimeoutError")),
    milliseconds
  );
  return () => clearTimeout(timer);
}

/* Why a request was ended: Node 18 rejects with an error of its own, whatever the reason. */
function reasonOf(error, { signal }) {
  return error?.name === "AbortError" && signal.aborted ? signal.reason : error;
}

/* localhost is two addresses, of which a server may listen at one and Node 18 tries one: the other,
 * where it was refused, so that nothing was sent. */
function otherLoopback(url, error) {
  if (!/^http:\/\/localhost(:|\/|$)/.test(url)) return undefined;
  if (codeOf(error) !== "ECONNREFUSED") return undefined;
  return { "::1": "127.0.0.1", "127.0.0.1": "[::1]" }[error.cause?.address];
}

/* What the caller is told: his own reason when it was he who ended it.  `writes`: without an answer
 * it is in doubt what was done. */
function lost(error, request, signal, early = "", writes = false) {
  if (error instanceof MaphError) return error;
  if (signal?.aborted) return signal.reason;
  const doubt = writes ? "; it may have been done or not" : "";
  if (error?.name === "TimeoutError")
    return new TimedOutError(
      `no answer in time; the option timeout says how long to wait${doubt}`,
      { request, cause: error }
    );
  const refused = codeOf(error) === "ECONNREFUSED";
  const more = refused ? "; is maph-server running there?" : isUnreached(error) ? "" : doubt;
  return new ConnectionLostError(
    (early && `${early}: `) + (error?.cause?.message || error?.message || error) + more,
    { request, cause: error }
  );
}

/* The lines of a body while it comes, without their newlines.  A body that ends early throws. */
async function* linesOf(response, request, signal, control, onBytes = () => {}) {
  const reader = response.body.getReader(),
    decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let unfinished = [],
    ended = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      onBytes();
      const lines = decoder.decode(value, { stream: true }).split("\n");
      unfinished.push(lines[0]);
      if (lines.length === 1) continue;
      yield unfinished.join("");
      yield* lines.slice(1, -1);
      unfinished = [lines.at(-1)];
    }
    ended = true;
    const last = unfinished.join("") + decoder.decode();
    if (last) yield last;
  } catch (error) {
    throw lost(reasonOf(error, control), request, signal, "the answer ended early");
  } finally {
    if (!ended) await reader.cancel().catch(() => {});
  }
}

// ------------------------------------------------------------------------------------------ jobs
/* Work that outlives its request.  state: running, done, failed or cancelled, when last asked;
 * info: all that the server says. */
export class Job {
  #transport;
  constructor(transport, info) {
    this.#transport = transport;
    this.info = info;
  }
  get id() {
    return this.info.id;
  }
  get state() {
    return this.info.state ?? "done";
  }

  async refresh() {
    this.info = await this.#transport.json("GET", `/jobs/${this.id}`);
    return this;
  }
  /* Ask the server to stop it, which leaves everything as it was, and what a deletion has not come
   * to. */
  async cancel() {
    await this.#transport.request("DELETE", `/jobs/${this.id}`);
  }
  /* Until it ended: what the server says of it.  JobFailedError when it failed or was cancelled. */
  async wait(progress) {
    for (let pause = 5; this.state === "running"; pause = Math.min(2 * pause, 500)) {
      progress?.(this);
      await sleep(pause, this.#transport.signal);
      await this.refresh();
    }
    if (this.state === "done") return this.info;
    throw new JobFailedError(this.info.detail ?? this.state, {
      request: `job ${this.id} at ${this.#transport.url}`,
      code: this.info.code,
      problem: this.info
    });
  }
}

// ----------------------------------------------------------------------------------------- batch
/* Many operations in one request: if any of them writes, all are one transaction. */
export class Batch {
  #store;
  #sync;
  #operations = [];
  constructor(store, sync) {
    this.#store = store;
    this.#sync = sync;
  }
  get size() {
    return this.#operations.length;
  }
  get(key) {
    this.#operations.push(operation("get", key));
    return this;
  }
  set(key, value, options) {
    this.#operations.push(putOperation(key, value, options));
    return this;
  }
  delete(key, { ifVersion, ifPresent } = {}) {
    this.#operations.push(operation("delete", key, { ifVersion, ifPresent }));
    return this;
  }
  /* A result for each, in order.  PreconditionFailedError when a condition did not hold, and then
   * nothing was written.  After a failure the operations are there as before: another commit()
   * tries again. */
  async commit() {
    const operations = this.#operations;
    this.#operations = [];
    try {
      return operations.length ? await this.#store._run(operations, this.#sync) : [];
    } catch (error) {
      this.#operations = operations.concat(this.#operations);
      throw error;
    }
  }
}

// ----------------------------------------------------------------------------------------- store
/* A store on a server: a Map whose methods answer promises, and whose iterators are
 * asynchronous. */
export class MaphStore {
  #transport;
  #path;
  constructor(transport, name) {
    if (/^\.{0,2}$/.test(name))
      // nor can a URL
      throw new BadRequestError(`no store has the name "${name}"`, { code: "bad_store_name" });
    this.#transport = transport;
    this.#path = `/stores/${encodeURIComponent(name)}`;
    this.name = name;
  }

  /* The same store, asked under other conditions: `timeout` in milliseconds, a `signal` that ends
   * its requests, which then reject with the signal's reason. */
  with(options) {
    return new MaphStore(this.#transport.with(options), this.name);
  }

  #request(method, path, options, read) {
    return this.#transport.request(method, this.#path + path, options, read);
  }
  #json(method, path, options) {
    return this.#transport.json(method, this.#path + path, options);
  }

  /* undefined: a key that no URL can carry. */
  #keyPath(key) {
    const encoded = percentEncode(keyBytes(key));
    return encoded === "." || encoded === ".." || encoded.length > PATH_MAX
      ? undefined
      : `/keys/${encoded}`;
  }

  #shortPath(key, call) {
    const path = this.#keyPath(key);
    if (path === undefined)
      throw new RangeError(`no URL can carry this key: ${call} it by modify()`);
    return path;
  }

  async _run(operations, sync) {
    const answer = await this.#json("POST", "/batch", {
      query: { sync },
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ operations }),
      repeatable: operations.every(({ op }) => op === "get")
    });
    return answer.results.map((one) =>
      batchResult(one, this.#transport.name("POST", `${this.#path}/batch`))
    );
  }

  async _create(options) {
    await this.#request("POST", "", { ...options, status: 201 });
  }
  async _delete() {
    await this.#request("DELETE", "", { status: 204 });
  }

  // ------------------------------------------------------------------------------------- one key
  /* The value with its version, type, media type and expiry; undefined: no such key. */
  async getEntry(key) {
    const path = this.#keyPath(key);
    if (path === undefined) return (await this._run([operation("get", key)]))[0].entry;
    try {
      const answer = await this.#request("GET", path),
        { headers, body } = answer;
      const type = headers.get("Maph-Type") ?? "",
        mediaType = headers.get("Content-Type") ?? "",
        expires = headers.get("Maph-Expires-At");
      const entry = {
        key,
        value: asValue(new Uint8Array(body), type, mediaType),
        version: versionOf(answer),
        type,
        mediaType
      };
      if (expires) entry.expiresAt = Number(expires);
      return entry;
    } catch (error) {
      if (error instanceof KeyNotFoundError) return undefined;
      throw error;
    }
  }

  /* The value; undefined: no such key. */
  async get(key) {
    return (await this.getEntry(key))?.value;
  }

  /* The value as bytes, whatever it was put as. */
  async getBytes(key) {
    const value = await this.get(key);
    return value === undefined ? undefined : asBytes(value);
  }

  async has(key) {
    const path = this.#keyPath(key);
    if (path === undefined) return (await this.getEntry(key)) !== undefined;
    try {
      // 304 when it is there, and unlike HEAD it says which is missing, the key or the store
      await this.#request("GET", path, { headers: { "If-None-Match": "*" }, status: 304 });
      return true;
    } catch (error) {
      if (error instanceof KeyNotFoundError) return false;
      throw error;
    }
  }

  /* Store a value: {version, created}.  ttl: seconds to live.  ifVersion, ifAbsent, ifPresent: else
   * PreconditionFailedError.  sync: off, normal or full. */
  async set(key, value, options = {}) {
    const path = this.#keyPath(key),
      body = asBytes(value),
      headers = conditionHeaders(options);
    if (path === undefined) {
      const [one] = await this._run([putOperation(key, value, options)], options.sync);
      return { version: one.version, created: one.status === 201 };
    }
    const contentType = options.contentType ?? contentTypeOf(value);
    if (contentType) headers["Content-Type"] = contentType;
    const answer = await this.#request("PUT", path, {
      query: { ttl: options.ttl, sync: options.sync },
      headers,
      body
    });
    return { version: versionOf(answer), created: answer.status === 201 };
  }

  /* Add to the whole number of 64 bits that the value spells: the sum, as a BigInt where a number
   * cannot be as large.  Of any number of clients that count at once none is lost.  A missing key
   * counts from 0; the expiry stays without a ttl.  It is never sent twice. */
  async increment(key, by = 1, { ttl, sync } = {}) {
    const answer = await this.#request("POST", `${this.#shortPath(key, "increment")}/increment`, {
      query: { by: String(by), ttl, sync }
    });
    const text = new TextDecoder().decode(answer.body).match(/"value":(-?\d+)/)?.[1];
    if (text === undefined) throw new MaphError("the server's answer names no value");
    return Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text);
  }

  /* Change members of a JSON value by a merge patch (RFC 7396), whose null takes a member away:
   * {version, created}.  A missing key is made. */
  async merge(key, patch, { ttl, sync } = {}) {
    const body = JSON.stringify(patch);
    if (body === undefined) throw new TypeError("a patch is what JSON can say");
    const answer = await this.#request("PATCH", this.#shortPath(key, "merge"), {
      query: { ttl, sync },
      headers: { "Content-Type": "application/merge-patch+json" },
      body: asBytes(body)
    });
    return { version: versionOf(answer), created: answer.status === 201 };
  }

  /* Whether there was such a key.  With ifVersion: else PreconditionFailedError. */
  async delete(key, { ifVersion, sync } = {}) {
    const path = this.#keyPath(key);
    if (path === undefined)
      return (await this._run([operation("delete", key, { ifVersion })], sync))[0].found;
    try {
      await this.#request("DELETE", path, {
        query: { sync },
        headers: conditionHeaders({ ifVersion }),
        status: 204
      });
      return true;
    } catch (error) {
      if (error instanceof KeyNotFoundError) return false;
      throw error;
    }
  }

  /* Put what change(value) says (value undefined: no such key), and call it again whenever somebody
   * else wrote in between. */
  async modify(key, change, options = {}) {
    for (;;) {
      const found = await this.getEntry(key);
      const value = await change(found?.value);
      try {
        return await this.set(key, value, {
          ...options,
          ...(found ? { ifVersion: found.version } : { ifAbsent: true })
        });
      } catch (error) {
        if (!(error instanceof PreconditionFailedError)) throw error;
      }
    }
  }

  // ----------------------------------------------------------------------------------- many keys
  /* Operations that are one transaction: await store.batch().set("a", "1").delete("b").commit(). */
  batch({ sync } = {}) {
    return new Batch(this, sync);
  }

  /* A Map of those keys that are there; up to 10,000 keys are of one snapshot. */
  async getMany(keys) {
    const found = new Map();
    for await (const piece of piecesOf(keys, () => 1, OPERATIONS_MAX, Infinity)) {
      const results = await this._run(piece.map((key) => operation("get", key)));
      results.forEach((one, i) => {
        if (one.entry) found.set(piece[i], one.entry.value);
      });
    }
    return found;
  }

  /* Put many [key, value] pairs: a transaction for each few megabytes or 10,000 keys, not one for
   * all (batch is that). */
  async setMany(pairs) {
    const source =
      Symbol.iterator in pairs || Symbol.asyncIterator in pairs ? pairs : Object.entries(pairs);
    const sizeOf = ([key, value]) =>
      64 + (key.length ?? key.byteLength) + (value.length ?? value.byteLength ?? 0);
    for await (const piece of piecesOf(source, sizeOf, OPERATIONS_MAX, BATCH_CHARACTERS)) {
      const [key, value] = piece[0];
      if (piece.length === 1 && sizeOf(piece[0]) > BATCH_CHARACTERS) await this.set(key, value);
      else await this._run(piece.map((pair) => putOperation(...pair)));
    }
  }

  /* Delete every key there is, by transactions of up to a thousand. */
  async clear() {
    for (;;) {
      const { keys } = await this.#page({ limit: PAGE });
      if (keys.length === 0) return;
      await this._run(keys.map((member) => operation("delete", memberKey(member))));
    }
  }

  /* Begin to delete the entries whose keys are bounded as in keys, and do not wait for it: a Job,
   * whose info.deleted is how many are gone.  RangeError without any bound: clear() deletes every
   * key. */
  async startDeleteRange(prefix = "", { from, to, sync } = {}) {
    const isBound = (key) => (key?.length ?? key?.byteLength ?? 0) > 0;
    if (![prefix, from, to].some(isBound))
      throw new RangeError("prefix, from or to says which keys; clear() deletes every key");
    return new Job(
      this.#transport,
      await this.#json("DELETE", "/keys", { query: { prefix, from, to, sync } })
    );
  }
  /* Delete the entries that are there now and whose keys are bounded as in keys, by transactions of
   * a thousand.  How many.  JobFailedError when it was stopped on the way: the same again deletes
   * the rest. */
  async deleteRange(prefix = "", range, progress) {
    return (await (await this.startDeleteRange(prefix, range)).wait(progress)).deleted;
  }

  // ----------------------------------------------------------------------------------- iteration
  #page(query) {
    return this.#json("GET", "/keys", { query });
  }

  async *#members(prefix, values, { from, to, reverse } = {}) {
    const query = { prefix, from, to, limit: PAGE };
    if (values) query.values = 1;
    if (reverse) query.reverse = 1;
    for (let after; ; ) {
      const page = await this.#page({ ...query, after });
      yield* page.keys;
      if (page.next === null) return;
      after = page.next;
    }
  }

  /* Keys that begin with prefix, in the order of their bytes, by pages: every key that stays is
   * seen once. range: {from, to, reverse}: from that key on, before the key `to`, or with reverse
   * the other way round. */
  async *keys(prefix = "", range) {
    for await (const member of this.#members(prefix, false, range)) yield memberKey(member);
  }

  /* Entries {key, value, version, type, mediaType, expiresAt}, as keys does. */
  async *scan(prefix = "", range) {
    for await (const member of this.#members(prefix, true, range)) {
      const entry = member.value_omitted
        ? await this.getEntry(memberKey(member))
        : memberEntry(member);
      if (entry !== undefined) yield entry;
    }
  }

  async *entries(prefix = "", range) {
    for await (const { key, value } of this.scan(prefix, range)) yield [key, value];
  }

  async *values(prefix = "", range) {
    for await (const { value } of this.scan(prefix, range)) yield value;
  }

  [Symbol.asyncIterator]() {
    return this.entries();
  }

  // --------------------------------------------------------------------- export, import, changes
  /* The entries of one snapshot as lines of JSON, streamed. range: {from, to, reverse} as in keys,
   * and sorted; with any of them, or a prefix, they come in the order of the keys' bytes, else as
   * they lie in the file, which is the fastest. */
  async *exportLines(prefix = "", { sorted, from, to, reverse } = {}) {
    const query = { prefix, from, to };
    if (sorted) query.sorted = 1;
    if (reverse) query.reverse = 1;
    const { signal } = this.#transport,
      path = `${this.#path}/export`,
      control = new AbortController(),
      unlink = link(signal, control);
    try {
      yield* linesOf(
        await this.#transport.open("GET", path, NDJSON, { query }, control),
        this.#transport.name("GET", path),
        signal,
        control
      );
    } finally {
      unlink();
    }
  }

  /* The entries of one snapshot, each exactly once, streamed, in the order of exportLines. */
  async *export(prefix = "", range) {
    for await (const line of this.exportLines(prefix, range)) yield memberEntry(JSON.parse(line));
  }

  /* Put entries, [key, value] pairs or lines of an export, from any iterable, by transactions of
   * about a thousand.  How many; ImportFailedError when some were refused.  The pieces are requests
   * of their own: browsers cannot stream a body. */
  async import(source, { sync } = {}) {
    const total = { imported: 0, failed: 0, errors: [] };
    async function* lines() {
      for await (const one of source) yield importLine(one);
    }
    let before = 0;
    for await (const piece of piecesOf(
      lines(),
      (line) => line.length,
      Infinity,
      IMPORT_CHARACTERS
    )) {
      const summary = await this.#json("POST", "/import", {
        query: { sync },
        headers: { "Content-Type": NDJSON },
        body: piece.join("")
      });
      total.imported += summary.imported;
      total.failed += summary.failed;
      for (const error of summary.errors)
        if (total.errors.length < 100) total.errors.push({ ...error, line: before + error.line });
      before += piece.length;
    }
    if (total.failed === 0) return total.imported;
    const [first] = total.errors;
    throw new ImportFailedError(
      `${total.failed} lines refused, ${total.imported} imported; line ${first.line}: ` +
        `${first.detail}`,
      {
        request: this.#transport.name("POST", `${this.#path}/import`),
        code: first.code,
        problem: total
      }
    );
  }

  /* Puts and deletes as they are committed, after version `since`; without it: from now on; 0: from
   * the store's creation.  See Changes. */
  async changes({ since, prefix = "", values = true, reconnect = true, signal } = {}) {
    const from = since ?? (await this.stats()).version;
    return new Changes(
      this.#transport,
      `${this.#path}/changes`,
      from,
      { prefix, values: values ? 1 : undefined },
      reconnect,
      signal
    );
  }

  // ----------------------------------------------------------------------------------- the store
  stats() {
    return this.#json("GET", "/stats");
  }

  /* The number of live keys; expired ones count until something overwrites or sweeps them. */
  async size() {
    return (await this.stats()).size;
  }

  /* Everything written so far is on disk when this is done. */
  async sync() {
    await this.#json("POST", "/sync");
  }

  /* Begin optimize, compact, backup or check, and do not wait for it. */
  async start(what, options = {}) {
    return new Job(this.#transport, await this.#json("POST", `/${what}`, { query: options }));
  }
  async optimize(progress) {
    return (await this.start("optimize")).wait(progress);
  }
  async compact(progress) {
    return (await this.start("compact")).wait(progress);
  }
  /* A compact, verified copy in the server's folder for backups; the answer's `file` is its
   * name. */
  async backup(name, progress) {
    return (await this.start("backup", { name })).wait(progress);
  }
  async check(progress) {
    return (await this.start("check")).wait(progress);
  }
}

// --------------------------------------------------------------------------------------- changes
/* Server-sent events (HTML, section 9.2) of a stream of lines, which may end in CR: {name, data,
 * id}.  An unfinished event is dropped. */
export async function* parseEvents(lines, onRetry = () => {}) {
  let name = "",
    data = [],
    id;
  for await (const raw of lines) {
    const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    if (line === "") {
      if (data.length > 0 || id !== undefined)
        yield { name: name || "message", data: data.join("\n"), id };
      name = "";
      data = [];
      id = undefined;
      continue;
    }
    const colon = line.indexOf(":");
    const label = colon < 0 ? line : line.slice(0, colon);
    const text = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (label === "data") data.push(text);
    else if (label === "event") name = text;
    else if (label === "id" && !text.includes("\0")) id = text;
    else if (label === "retry" && /^\d+$/.test(text)) onRetry(Number(text));
  }
}

/* The feed of a store: an asynchronous iterator of {key, value, version, deleted, last, entry} that
 * waits for the next change, reconnects by itself and ends at close().  Each change comes at least
 * once, in commit order: a connection that ends inside a transaction brings that transaction again.
 * CompactedError: the past that was asked for is gone; read all of the store, then go on from its
 * version. */
export class Changes {
  #transport;
  #path;
  #query;
  #reconnect;
  #stop = new AbortController();
  #pause = PAUSE_MS;
  // since a connection last began; undefined: none began yet, and to fail then is an error
  #failures;
  #iterator;

  constructor(transport, path, since, query, reconnect, signal) {
    this.#transport = transport;
    this.#path = path;
    this.#query = query;
    this.#reconnect = reconnect;
    this.version = since; // resume with this: the last transaction that came whole
    if (signal?.aborted) this.#stop.abort();
    signal?.addEventListener("abort", () => this.close(), {
      once: true,
      signal: this.#stop.signal
    });
    this.#iterator = this.#run();
  }

  next() {
    return this.#iterator.next();
  }
  return() {
    this.#stop.abort();
    return this.#iterator.return();
  }
  [Symbol.asyncIterator]() {
    return this;
  }
  /* End it, whether somebody waits for the next change or nobody asks any more. */
  close() {
    this.return().catch(() => {});
  }

  async *#run() {
    const stopped = this.#stop.signal;
    while (!stopped.aborted) {
      let pause = this.#pause;
      try {
        yield* this.#connection();
      } catch (error) {
        if (stopped.aborted) return;
        if (this.#failures === undefined || !this.#reconnect || !passes(error)) throw error;
        pause =
          error instanceof BusyError
            ? error.retryAfter
            : Math.min(this.#pause * 2 ** this.#failures, LONGEST_PAUSE_MS);
        this.#failures++;
      }
      if (!this.#reconnect) return;
      await sleep(pause, stopped);
    }
  }

  /* The changes of one connection, to its end; after a long silence the connection is taken for
   * dead. */
  async *#connection() {
    const silence = new AbortController(),
      stop = () => silence.abort(),
      { signal } = this.#transport,
      unlink = link(signal, silence);
    let timer;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(
        () => silence.abort(new DOMException("the feed is silent", "TimeoutError")),
        SILENCE_MS
      );
    };
    this.#stop.signal.addEventListener("abort", stop);
    heard();
    try {
      const request = this.#transport.name("GET", this.#path);
      const response = await this.#transport.open(
        "GET",
        this.#path,
        "text/event-stream",
        { query: { since: this.version, ...this.#query } },
        silence
      );
      this.#failures = 0;
      const lines = linesOf(response, request, signal, silence, heard);
      for await (const event of parseEvents(lines, (ms) => {
        this.#pause = Math.min(ms, LONGEST_PAUSE_MS);
      })) {
        const change = changeOf(event, request);
        if (change) yield change;
        if (/^\d+$/.test(event.id ?? "")) this.version = Number(event.id);
      }
    } finally {
      clearTimeout(timer);
      this.#stop.signal.removeEventListener("abort", stop);
      unlink();
      silence.abort();
    }
  }
}

/* Whether it may be well again soon: nobody answers, or a proxy says that nobody does. */
function passes(error) {
  return (
    error instanceof ConnectionLostError ||
    error instanceof BusyError ||
    (error instanceof ServerError && [502, 504].includes(error.status))
  );
}

/* undefined: an event that is not a change, such as one that only says how far the feed is. */
function changeOf({ name, data }, request) {
  if (data === "") return undefined;
  const member = JSON.parse(data);
  if (name === "problem") throw problemError(member, request, member.status ?? 500, new Headers());
  if (name !== "message" || (member.op !== "put" && member.op !== "delete")) return undefined;
  const entry = memberEntry(member);
  return {
    key: entry.key,
    value: entry.value,
    version: entry.version,
    deleted: member.op === "delete",
    last: member.last === true,
    entry
  };
}

// ---------------------------------------------------------------------------------------- client
/* A server's stores.  token: for a server that asks for one.  timeout: milliseconds for a whole
 * answer; streams have none. */
export class MaphClient {
  #transport;
  constructor(url = "http://127.0.0.1:8080", options = {}) {
    this.#transport = new Transport(url, options);
  }
  get url() {
    return this.#transport.url;
  }

  /* Make a store.  StoreExistsError, unless existOk; expectedKeys: an index of that size at
   * once. */
  async createStore(name, { expectedKeys, existOk = false } = {}) {
    const store = this.store(name),
      body =
        expectedKeys === undefined ? undefined : JSON.stringify({ expected_keys: expectedKeys });
    try {
      await store._create({ headers: body ? { "Content-Type": "application/json" } : {}, body });
    } catch (error) {
      if (!existOk || !(error instanceof StoreExistsError)) throw error;
    }
    return store;
  }

  /* A store that is there.  StoreNotFoundError. */
  async getStore(name) {
    const store = this.store(name);
    await store.stats();
    return store;
  }

  /* The same without asking the server: a missing store shows at the first use. */
  store(name) {
    return new MaphStore(this.#transport, name);
  }

  /* Figures of every store that the token may read. */
  listStores() {
    return this.#transport.json("GET", "/stores");
  }

  /* Delete a store, with its file.  StoreNotFoundError. */
  async deleteStore(name) {
    await this.store(name)._delete();
  }

  /* The jobs that run, and the last ones that ended. */
  async jobs() {
    return (await this.#transport.json("GET", "/jobs")).map(
      (info) => new Job(this.#transport, info)
    );
  }

  /* An exception unless the server is there and well. */
  async ping() {
    const answer = await this.#transport.request("GET", "/readyz", {}, (response) =>
      response.text()
    );
    if (answer.body.trim() !== "ready") throw strange(answer.request, answer);
  }
}
