/* support.js - a maph-server over a fresh folder, on a port that stays its own while it is halted;
 * MAPH_TEST_BUILD is the folder of the products under test. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, mkdir, readFile, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const room = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
export const top = path.dirname(path.dirname(room));
export const build = process.env.MAPH_TEST_BUILD ?? path.join(top, "build");

/* A port that no other process gets: a connection that leaves from it, and does not listen. */
async function holdPort() {
  const peer = net.createServer().listen(0, "127.0.0.1");
  await once(peer, "listening");
  const { port } = peer.address();
  const holder = net.connect({ port, host: "127.0.0.1", localAddress: "127.0.0.1" });
  await once(holder, "connect");
  return {
    port: holder.localPort,
    release() {
      holder.destroy();
      peer.close();
    }
  };
}

export class Server {
  constructor(...args) {
    this.args = args;
  }

  async start() {
    this.folder ??= await mkdtemp(path.join(tmpdir(), "maph-javascript."));
    this.data = path.join(this.folder, "data");
    await mkdir(this.data, { recursive: true });
    this.held ??= await holdPort();
    const all = [
      "--data",
      this.data,
      "--listen",
      `127.0.0.1:${this.held.port}`,
      "--access-log",
      "off",
      ...this.args
    ];
    this.process = spawn(path.join(build, "maph-server"), all, {
      stdio: ["ignore", "ignore", "pipe"]
    });
    this.ended = new Promise((resolve) => this.process.once("exit", resolve));
    await new Promise((resolve, reject) => {
      let said = "";
      this.process.stderr.setEncoding("utf8").on("data", (text) => {
        said += text;
        if (said.includes("http://127.0.0.1:")) resolve();
      });
      this.ended.then(() => reject(new Error(`maph-server does not start: ${said}`)));
    });
    return this;
  }
  get url() {
    return `http://127.0.0.1:${this.held.port}`;
  }
  async halt() {
    this.process.kill("SIGTERM");
    await this.ended;
  }
  async stop() {
    await this.halt();
    this.held.release();
    await rm(this.folder, { recursive: true });
  }
}

/* The reason to skip while the server has no such route in its table. */
export async function lacking(pattern) {
  const table = await readFile(path.join(top, "server", "routes.c"), "utf8");
  return table.includes(`"${pattern}"`) ? false : `needs a server with ${pattern}`;
}
