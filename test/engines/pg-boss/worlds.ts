import { fileURLToPath } from "node:url";
import { pgBossEngine } from "otel-taskflow/pg-boss";
import { type ConstructorOptions, PgBoss } from "pg-boss";
import { type EngineStore, type EngineWorld, OFFERS, type StoredState } from "../world.js";
import { type Backend, FAST } from "./backends.js";

/** Where tasks are kept, as other processes are told. */
interface Location {
  readonly url: string | undefined;
  readonly schema: string | undefined;
  readonly queue: string;
  /** Default: the engine's. */
  readonly expireInSeconds?: number | undefined;
}

const SETTLING = ["complete", "fail", "update", "cancel", "retry"] as const;

/** The contract's view of pg-boss on a backend. */
export function worldOf({ title, unavailable, connection, url }: Backend): EngineWorld {
  return {
    ...OFFERS,
    ...{ title, unavailable, module: fileURLToPath(import.meta.url) },
    singleProcess: url === undefined ? "PGlite lives in one process" : undefined,
    // it has one connection, on which the tests would wait for one another
    serial: url === undefined,
    create: async () => storeAt({ url, schema: connection.schema, queue: `tasks-${crypto.randomUUID()}` }, connection),
  };
}

/** For other processes. */
export async function openStore(location: string): Promise<EngineStore> {
  const { url = "", schema = "", ...rest } = JSON.parse(location) as Location;
  return storeAt({ url, schema, ...rest }, { ...FAST, connectionString: url, schema, max: 3 });
}

function storeAt(location: Location, connection: ConstructorOptions): EngineStore {
  const { queue, expireInSeconds } = location;
  const settings = { queue, expireInSeconds, pollingIntervalSeconds: 0.1, heartbeatSeconds: 10 };
  const instances: PgBoss[] = [];
  const visitor = new Visitor(connection, queue);
  return {
    location: JSON.stringify(location),
    engine({ concurrency } = {}) {
      const boss = new PgBoss(connection);
      instances.push(boss);
      return pgBossEngine({ boss, concurrency, ...settings });
    },
    addForeign: (name, data) => visitor.add(isRecord(data) ? { ...data, name } : { name, data }),
    stateOf: (taskId) => visitor.stateOf(taskId),
    async breakSettling() {
      const lost = (): Promise<never> => Promise.reject(new Error("connection lost"));
      for (const boss of instances) for (const method of SETTLING) boss[method] = lost;
    },
    close: () => visitor.close(),
  };
}

/** An instance of pg-boss beside those of the engines. */
class Visitor {
  readonly #boss: PgBoss;
  readonly #queue: string;
  #ready: Promise<unknown> | undefined;

  constructor(connection: ConstructorOptions, queue: string) {
    this.#boss = new PgBoss({ ...connection, max: 1, schedule: false, supervise: false });
    this.#boss.on("error", () => {}); // the calls' own rejections tell
    this.#queue = queue;
  }

  async add(data: object): Promise<string> {
    await this.#open();
    const id = crypto.randomUUID();
    await this.#boss.send(this.#queue, data, { id, singletonKey: id });
    return id;
  }

  async stateOf(key: string): Promise<StoredState | undefined> {
    await this.#open();
    const job = (await this.#boss.findJobs(this.#queue, { key })).at(-1);
    switch (job?.state) {
      case "created":
      case "retry":
        return job.startAfter.getTime() > Date.now() ? "delayed" : "queued";
      case "active":
        return "running";
      case "completed":
        return "done";
      default:
        return job === undefined ? undefined : "failed";
    }
  }

  async close(): Promise<void> {
    await this.#open();
    await this.#boss.deleteQueue(this.#queue);
    await this.#boss.stop();
  }

  #open(): Promise<unknown> {
    this.#ready ??= this.#boss.start().then(() => this.#boss.createQueue(this.#queue, { policy: "exclusive" }));
    return this.#ready;
  }
}

function isRecord(data: unknown): data is Record<string, unknown> {
  return typeof data === "object" && data !== null && !Array.isArray(data);
}
