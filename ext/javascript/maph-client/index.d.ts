/* Stores on a maph-server, from a browser or Node.  README.md shows the uses. */

/** Bytes as they may be given; bytes come back as Uint8Array. */
export type Bytes = Uint8Array | ArrayBuffer | ArrayBufferView;
/** What may be put: a string comes back as a string, bytes as a Uint8Array. */
export type Input = string | Bytes;
/** What comes back. */
export type Value = string | Uint8Array;
export type Key = string | Uint8Array;
/* From that key on, before the key `to`; reverse: from the last key to the first. */
export interface KeyRange {
  from?: Key;
  to?: Key;
  reverse?: boolean;
}
export interface ExportRange extends KeyRange {
  sorted?: boolean;
}
export interface DeleteRange {
  from?: Key;
  to?: Key;
  sync?: Durability;
}
export type Durability = "off" | "normal" | "full";

export interface Entry {
  key: Key;
  value: Value;
  /** Of the transaction that put it. */
  version: number;
  /** blob, text, json, integer, real or null. */
  type: string;
  /** The Content-Type it was put with. */
  mediaType: string;
  /** Milliseconds since 1970; absent: never. */
  expiresAt?: number;
  /** What SQL said of the key. */
  keyIsText?: boolean;
}

export interface Conditions {
  /** Else PreconditionFailedError, and nothing is written. */
  ifVersion?: number;
  ifAbsent?: boolean;
  ifPresent?: boolean;
}

export interface PutOptions extends Conditions {
  /** Seconds to live. */
  ttl?: number;
  contentType?: string;
}

export interface SetOptions extends PutOptions {
  /** off, normal, or full: on disk before the promise is fulfilled. */
  sync?: Durability;
}

export interface SetResult {
  version: number;
  /** false: replaced. */
  created: boolean;
}

export interface BatchResult {
  /** 200 found or replaced, 201 created, 204 deleted, 404 no such key. */
  status: number;
  found: boolean;
  version?: number;
  /** Of a get that found something. */
  entry?: Entry;
}

export interface StoreStats {
  name: string;
  /** Live keys. */
  size: number;
  load_factor: number;
  /** Of the file. */
  bytes: number;
  used_bytes: number;
  live_bytes: number;
  dead_bytes: number;
  index_bytes: number;
  version: number;
  generation: number;
  read_only: boolean;
  uuid: string;
  /** In listStores: why the server cannot open it; then the figures are absent. */
  error?: { code: string; detail: string };
  [more: string]: unknown;
}

export interface Change {
  key: Key;
  /** undefined: a delete, a value too large for the feed, or none were asked for. */
  value: Value | undefined;
  version: number;
  deleted: boolean;
  /** The last of its transaction. */
  last: boolean;
  entry: Omit<Entry, "value"> & { value: Value | undefined };
}

export interface ChangesOptions {
  /** After this version; absent: from now on; 0: from the store's creation. */
  since?: number;
  prefix?: Key;
  values?: boolean;
  reconnect?: boolean;
  signal?: AbortSignal;
}

export interface ClientOptions {
  token?: string;
  /** Milliseconds for a whole answer, 30000 by default; Infinity: none. */
  timeout?: number;
  /** In place of the global fetch. */
  fetch?: typeof fetch;
}

export interface RequestOptions {
  /** Ends requests and streams, which then reject with its reason. */
  signal?: AbortSignal;
  /** Milliseconds for a whole answer. */
  timeout?: number;
}

export interface JobInfo {
  id: string;
  kind?: string;
  store?: string;
  state: "running" | "done" | "failed" | "cancelled";
  success?: boolean;
  code?: string;
  detail?: string;
  problems?: number;
  deleted?: number;
  last_key?: string;
  phase?: string;
  file?: string;
  done?: number;
  total?: number;
  [more: string]: unknown;
}

export type Progress = (job: Job) => void;
export type Importable =
  string | [Key, Input] | (Partial<Omit<Entry, "value">> & { key: Key; value: Input });
export type AnyIterable<T> = Iterable<T> | AsyncIterable<T>;

export class MaphClient {
  constructor(url?: string, options?: ClientOptions);
  readonly url: string;
  createStore(
    name: string,
    options?: { expectedKeys?: number; existOk?: boolean }
  ): Promise<MaphStore>;
  getStore(name: string): Promise<MaphStore>;
  store(name: string): MaphStore;
  listStores(): Promise<StoreStats[]>;
  deleteStore(name: string): Promise<void>;
  jobs(): Promise<Job[]>;
  ping(): Promise<void>;
}

export class MaphStore implements AsyncIterable<[Key, Value]> {
  private constructor();
  readonly name: string;
  with(options: RequestOptions): MaphStore;
  get(key: Key): Promise<Value | undefined>;
  getBytes(key: Key): Promise<Uint8Array | undefined>;
  getEntry(key: Key): Promise<Entry | undefined>;
  has(key: Key): Promise<boolean>;
  set(key: Key, value: Input, options?: SetOptions): Promise<SetResult>;
  increment(
    key: Key,
    by?: number | bigint,
    options?: { ttl?: number; sync?: Durability }
  ): Promise<number | bigint>;
  merge(
    key: Key,
    patch: unknown,
    options?: { ttl?: number; sync?: Durability }
  ): Promise<SetResult>;
  delete(key: Key, options?: { ifVersion?: number; sync?: Durability }): Promise<boolean>;
  modify(
    key: Key,
    change: (value: Value | undefined) => Input | Promise<Input>,
    options?: { ttl?: number; contentType?: string; sync?: Durability }
  ): Promise<SetResult>;
  batch(options?: { sync?: Durability }): Batch;
  getMany(keys: AnyIterable<Key>): Promise<Map<Key, Value>>;
  setMany(pairs: AnyIterable<[Key, Input]> | Record<string, Input>): Promise<void>;
  clear(): Promise<void>;
  startDeleteRange(prefix?: Key, range?: DeleteRange): Promise<Job>;
  deleteRange(prefix?: Key, range?: DeleteRange, progress?: Progress): Promise<number>;
  keys(prefix?: Key, range?: KeyRange): AsyncGenerator<Key, void, undefined>;
  values(prefix?: Key, range?: KeyRange): AsyncGenerator<Value, void, undefined>;
  entries(prefix?: Key, range?: KeyRange): AsyncGenerator<[Key, Value], void, undefined>;
  scan(prefix?: Key, range?: KeyRange): AsyncGenerator<Entry, void, undefined>;
  [Symbol.asyncIterator](): AsyncGenerator<[Key, Value], void, undefined>;
  export(prefix?: Key, range?: ExportRange): AsyncGenerator<Entry, void, undefined>;
  exportLines(prefix?: Key, range?: ExportRange): AsyncGenerator<string, void, undefined>;
  import(source: AnyIterable<Importable>, options?: { sync?: Durability }): Promise<number>;
  changes(options?: ChangesOptions): Promise<Changes>;
  stats(): Promise<StoreStats>;
  size(): Promise<number>;
  sync(): Promise<void>;
  start(
    what: "optimize" | "compact" | "backup" | "check",
    options?: { name?: string }
  ): Promise<Job>;
  optimize(progress?: Progress): Promise<JobInfo>;
  compact(progress?: Progress): Promise<JobInfo>;
  backup(name?: string, progress?: Progress): Promise<JobInfo>;
  check(progress?: Progress): Promise<JobInfo>;
}

export class Batch {
  private constructor();
  readonly size: number;
  get(key: Key): this;
  set(key: Key, value: Input, options?: PutOptions): this;
  delete(key: Key, options?: { ifVersion?: number; ifPresent?: boolean }): this;
  commit(): Promise<BatchResult[]>;
}

export class Changes implements AsyncIterableIterator<Change> {
  private constructor();
  /** Resume with this: the last transaction that came whole. */
  readonly version: number;
  next(): Promise<IteratorResult<Change, undefined>>;
  return(): Promise<IteratorResult<Change, undefined>>;
  [Symbol.asyncIterator](): this;
  close(): void;
}

export class Job {
  private constructor();
  info: JobInfo;
  readonly id: string;
  readonly state: JobInfo["state"];
  refresh(): Promise<this>;
  cancel(): Promise<void>;
  wait(progress?: Progress): Promise<JobInfo>;
}

export interface ServerSentEvent {
  name: string;
  data: string;
  id: string | undefined;
}
export function parseEvents(
  lines: AnyIterable<string>,
  onRetry?: (milliseconds: number) => void
): AsyncGenerator<ServerSentEvent, void, undefined>;

export class MaphError extends Error {
  readonly detail: string;
  /** What was asked: "GET http://...". */
  readonly request: string;
  /** undefined: there was no answer. */
  readonly status: number | undefined;
  readonly code: string;
  readonly requestId: string;
  readonly problem: Record<string, unknown>;
  readonly headers: Headers;
}
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
export class CompactedError extends MaphError {}
export class UnsupportedError extends MaphError {}
export class ServerError extends MaphError {}
/** Of a write: nobody knows whether it was done. Read the key before asking again. */
export class OutcomeUnknownError extends ServerError {
  /** That the key is at in the replica's bucket; undefined: not told. */
  readonly revision: number | undefined;
}
/** A replica takes one key a request. */
export class NoTransactionsError extends BadRequestError {}
export class JobNotFoundError extends MaphError {}
export class JobFailedError extends MaphError {}
export class ImportFailedError extends MaphError {}
export class BusyError extends MaphError {
  /** Milliseconds that the server asks to wait. */
  readonly retryAfter: number;
}
/** A replica's bucket cannot be reached: nothing was written, and reads go on. */
export class BucketUnavailableError extends BusyError {}
export class PreconditionFailedError extends MaphError {
  /** The version that the key is at; undefined: missing, or not told. */
  readonly version: number | undefined;
  /** Which operation of a batch failed, from 0. */
  readonly operation: number | undefined;
}
