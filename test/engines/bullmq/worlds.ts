import { fileURLToPath } from "node:url";
import { createPostgresBackend, Queue, Worker, withBackend } from "bullmq";
import { Queue as Queue5, Worker as Worker5 } from "bullmq5";
import { type BullmqEngineOptions, bullmqEngine } from "otel-taskflow/bullmq";
import pg from "pg";
import { postgresUrl, redisUrl } from "../../support/servers.js";
import { type EngineStore, type EngineWorld, OFFERS, type StoredState } from "../world.js";
import { breakable } from "./breakable.js";

/** A version of BullMQ, and the server it keeps jobs on. */
export type Kind = "5" | "6" | "6 on PostgreSQL";

/** Where tasks are kept, as other processes can be told. */
interface Location {
  readonly kind: Kind;
  readonly url: string;
  readonly queue: string;
}

type Options = Pick<BullmqEngineOptions, "Queue" | "Worker" | "connection">;

export interface BullmqWorld extends EngineWorld {
  /** Removes what all stores share. */
  close(): Promise<void>;
}

const MODULE = fileURLToPath(import.meta.url);
// a crash is noticed within two seconds
export const FAST = { lockDuration: 1_000, stalledInterval: 500 };

export async function redisWorld(kind: "5" | "6"): Promise<BullmqWorld> {
  const { url = "", unavailable } = await redisUrl();
  return {
    ...OFFERS,
    ...{ title: `bullmq ${kind} on Redis`, unavailable, module: MODULE },
    create: () => openStore(JSON.stringify({ kind, url, queue: newQueue() })),
    close: async () => {},
  };
}

/** In a schema of this process's own. */
export async function postgresWorld(): Promise<BullmqWorld> {
  const { url, unavailable } = await postgresUrl();
  const schema = `bullmq_${crypto.randomUUID().slice(0, 8)}`;
  const location = `${url}?schema=${schema}`;
  if (url !== undefined) await migrate(location);
  return {
    ...OFFERS,
    ...{ title: "bullmq 6 on PostgreSQL", unavailable, module: MODULE },
    create: () => openStore(JSON.stringify({ kind: "6 on PostgreSQL", url: location, queue: newQueue() })),
    close: () => (url === undefined ? Promise.resolve() : dropSchema(url, schema)),
  };
}

export async function openStore(location: string): Promise<EngineStore> {
  const { kind, url, queue: name } = JSON.parse(location) as Location;
  const { Queue, Worker, connection } = optionsOf(kind, url);
  const settling = breakable(Worker);
  const open = new Opened(() => new Queue(name, { connection } as never) as Queue);
  return {
    location,
    engine: ({ concurrency } = {}) =>
      bullmqEngine({ Queue, Worker: settling.Worker, connection, queue: name, concurrency, workerOptions: FAST }),
    addForeign: async (taskName, data) => String((await open.queue.add(taskName, data)).id),
    stateOf: (taskId) => open.stateOf(taskId),
    breakSettling: async () => settling.break(),
    close: () => open.close(),
  };
}

/** What an engine is made of. */
export function optionsOf(kind: Kind, url: string): Options {
  if (kind === "6 on PostgreSQL") return { ...withBackend(createPostgresBackend), connection: postgresConnection(url) };
  const { hostname, port } = new URL(url);
  const connection = { host: hostname, port: Number(port || 6379) };
  return kind === "5" ? { Queue: Queue5, Worker: Worker5, connection } : { Queue, Worker, connection };
}

/** A queue seen from outside of any engine; only open where it is needed. */
class Opened {
  readonly #open: () => Queue;
  #queue: Queue | undefined;

  constructor(open: () => Queue) {
    this.#open = open;
  }

  get queue(): Queue {
    this.#queue ??= this.#open();
    return this.#queue;
  }

  async stateOf(taskId: string): Promise<StoredState | undefined> {
    const job = await this.queue.getJob(taskId);
    switch (await job?.getState()) {
      case "waiting":
      case "prioritized":
        return "queued";
      case "delayed":
        return "delayed";
      case "active":
        return "running";
      case "completed":
        return "done";
      case "failed":
        return "failed";
      default:
        return undefined;
    }
  }

  async close(): Promise<void> {
    await this.queue.obliterate({ force: true });
    await this.queue.close();
  }
}

function postgresConnection(url: string): object {
  const { searchParams, ...rest } = new URL(url);
  const connectionString = url.slice(0, url.indexOf("?"));
  return { connectionString, schema: new URL(url).searchParams.get("schema") ?? "bullmq", max: 3, ...rest };
}

export async function migrate(url: string): Promise<void> {
  const { Queue } = withBackend(createPostgresBackend);
  const queue = new Queue("migration", { connection: { ...postgresConnection(url), migrate: true } });
  await queue.waitUntilReady();
  await queue.close();
}

async function dropSchema(url: string, schema: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
  await client.end();
}

function newQueue(): string {
  return `tasks-${crypto.randomUUID()}`;
}
