/* support.js - a maph-server on a free port over a fresh folder; MAPH_TEST_BUILD is the folder of
 * the products under test. */
import { spawn } from "node:child_process";
import { mkdtemp, mkdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const room = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
export const top = path.dirname(path.dirname(room));
export const build = process.env.MAPH_TEST_BUILD ?? path.join(top, "build");

export class Server {
  port = 0;
  constructor(...args) {
    this.args = args;
  }

  async start() {
    this.folder ??= await mkdtemp(path.join(tmpdir(), "maph-javascript."));
    this.data = path.join(this.folder, "data");
    await mkdir(this.data, { recursive: true });
    const all = [
      "--data",
      this.data,
      "--listen",
      `127.0.0.1:${this.port}`,
      "--access-log",
      "off",
      ...this.args
    ];
    this.process = spawn(path.join(build, "maph-server"), all, {
      stdio: ["ignore", "ignore", "pipe"]
    });
    this.ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.port = await new Promise((resolve, reject) => {
      let said = "";
      this.process.stderr.setEncoding("utf8").on("data", (text) => {
        said += text;
        const found = /127\.0\.0\.1:(\d+)/.exec(said);
        if (found) resolve(Number(found[1]));
      });
      this.ended.then(() => reject(new Error(`maph-server does not start: ${said}`)));
    });
    return this;
  }
  get url() {
    return `http://127.0.0.1:${this.port}`;
  }
  async halt() {
    this.process.kill("SIGTERM");
    await this.ended;
  }
  async stop() {
    await this.halt();
    await rm(this.folder, { recursive: true });
  }
}

/* The reason to skip while the server has no such route in its table. */
export async function lacking(pattern) {
  const table = await readFile(path.join(top, "server", "routes.c"), "utf8");
  return table.includes(`"${pattern}"`) ? false : `needs a server with ${pattern}`;
}
