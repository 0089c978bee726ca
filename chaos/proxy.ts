// A TCP proxy between the processes and their server. It keeps the order of bytes in each direction, whatever it does to them.
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** `refusing`: no connection is taken; `half open`: the server hears all and is not heard; `black hole`: nobody is heard. */
export type Mode = "passing" | "refusing" | "slow" | "half open" | "black hole";

const SLOW_MS = 200;
/** Shorter answers are no loss in the middle of one. */
const BREAKABLE = 8;

export class TcpProxy {
  readonly #target: number;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  #mode: Mode = "passing";
  #spoil: (() => Spoiling | undefined) | undefined;

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  static async start(target: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    await once(proxy.#server.listen(0, "127.0.0.1"), "listening");
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("a TCP server has no port");
    return address.port;
  }

  set mode(mode: Mode) {
    this.#mode = mode;
  }

  /** From now on each of the server's answers may be spoiled; until it is called with nothing. */
  spoil(choose?: () => Spoiling | undefined): void {
    this.#spoil = choose;
  }

  /** Breaks all connections. */
  cut(): void {
    for (const connection of [...this.#connections]) connection.end();
  }

  close(): void {
    this.#server.close();
    this.cut();
  }

  #accept(client: Socket): void {
    if (this.#mode === "refusing") {
      client.on("error", () => {});
      client.destroy();
      return;
    }
    const silent = this.#mode === "half open" || this.#mode === "black hole";
    const connection = new Connection(client, silent ? undefined : connect(this.#target, "127.0.0.1"), {
      mode: () => this.#mode,
      spoiling: () => this.#spoil?.(),
      ended: () => this.#connections.delete(connection),
    });
    this.#connections.add(connection);
  }
}

/** An answer is lost with its connection, or the connection is reset in the middle of it. */
export type Spoiling = "lost" | "reset";

interface Circumstances {
  mode(): Mode;
  spoiling(): Spoiling | undefined;
  ended(): void;
}

class Connection {
  readonly #client: Socket;
  readonly #server: Socket | undefined;
  readonly #around: Circumstances;
  /** What the other side has not had can no longer be told: nothing more is passed on. */
  #broken: boolean;

  constructor(client: Socket, server: Socket | undefined, around: Circumstances) {
    this.#client = client;
    this.#server = server;
    this.#around = around;
    this.#broken = server === undefined;
    for (const socket of [client, server]) {
      socket?.setNoDelay(true).on("error", () => {});
      socket?.on("close", () => this.end());
    }
    this.#forward(client, server, () => around.mode() === "black hole");
    if (server !== undefined) this.#forward(server, client, () => this.#swallows());
  }

  end(): void {
    this.#client.destroy();
    this.#server?.destroy();
    this.#around.ended();
  }

  #forward(from: Socket, to: Socket | undefined, swallows: () => boolean): void {
    const lane = new Lane((bytes) => to?.writable && to.write(bytes));
    from.on("data", (bytes) => {
      if (this.#broken || swallows()) this.#broken = true;
      else if (to !== this.#client || !this.#spoils(bytes))
        lane.pass(bytes, this.#around.mode() === "slow" ? SLOW_MS : 0);
    });
  }

  #swallows(): boolean {
    const mode = this.#around.mode();
    return mode === "half open" || mode === "black hole";
  }

  #spoils(answer: Buffer): boolean {
    if (answer.length <= BREAKABLE) return false;
    const spoiling = this.#around.spoiling();
    if (spoiling === undefined) return false;
    this.#broken = true;
    if (spoiling === "lost") this.end();
    else this.#client.write(answer.subarray(0, answer.length >> 1), () => this.#client.resetAndDestroy());
    return true;
  }
}

/** One direction: what is late holds up all that comes after it. */
class Lane {
  readonly #write: (bytes: Buffer) => unknown;
  readonly #waiting: { readonly due: number; readonly bytes: Buffer }[] = [];

  constructor(write: (bytes: Buffer) => unknown) {
    this.#write = write;
  }

  pass(bytes: Buffer, late: number): void {
    if (late === 0 && this.#waiting.length === 0) {
      this.#write(bytes);
      return;
    }
    this.#waiting.push({ due: performance.now() + late, bytes });
    if (this.#waiting.length === 1) setTimeout(() => this.#pump(), late);
  }

  #pump(): void {
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined) return;
      const early = next.due - performance.now();
      if (early > 0) {
        setTimeout(() => this.#pump(), early);
        return;
      }
      this.#write(next.bytes);
      this.#waiting.shift();
    }
  }
}
