import type { TaskEngine } from "otel-taskflow";
import { PgBoss } from "pg-boss";
import { type Kind, optionsOf, postgresWorld, redisWorld } from "../engines/bullmq/worlds.js";
import { createDatabase, dropDatabase } from "../engines/graphile-worker/database.js";
import { GRAPHILE, type Version } from "../engines/graphile-worker/versions.js";
import { postgresBackend } from "../engines/pg-boss/backends.js";
import type { EngineWorld } from "../engines/world.js";
import { postgresUrl } from "../support/servers.js";
import type { Release } from "./release-before.js";

/** A place where tasks are kept, that nothing else uses. */
export interface SharedStore {
  /** An engine of this release on the place. */
  engine(release: Release): TaskEngine;
  close(): Promise<void>;
}

/** A kind of place, as the tests name it. */
export interface StoreKind {
  readonly title: string;
  readonly unavailable?: string | undefined;
  open(): Promise<SharedStore>;
  /** Removes what all its stores share. */
  close(): Promise<void>;
}

/** Every engine that stores tasks, on each kind of server. */
export async function storeKinds(): Promise<readonly StoreKind[]> {
  const [bullmq, bullmqPostgres] = await Promise.all([redisWorld("6"), postgresWorld()]);
  return [bullmqKind(bullmq), bullmqKind(bullmqPostgres), await pgBossKind(), await graphileKind("0.18")];
}

function bullmqKind(world: EngineWorld & { close(): Promise<void> }): StoreKind {
  const { title, unavailable } = world;
  return {
    ...{ title, unavailable },
    async open() {
      const { location, close } = await world.create();
      const { kind, url, queue } = JSON.parse(location) as { kind: Kind; url: string; queue: string };
      return { engine: ({ bullmqEngine }) => bullmqEngine({ ...optionsOf(kind, url), queue }), close };
    },
    close: () => world.close(),
  };
}

async function pgBossKind(): Promise<StoreKind> {
  const { title, unavailable, connection, close } = await postgresBackend();
  return {
    ...{ title, unavailable },
    async open() {
      const queue = `tasks-${crypto.randomUUID()}`;
      const options = { queue, pollingIntervalSeconds: 0.1 };
      return {
        engine: ({ pgBossEngine }) => pgBossEngine({ boss: new PgBoss(connection), ...options }),
        close: async () => {},
      };
    },
    close,
  };
}

async function graphileKind(version: Version): Promise<StoreKind> {
  const { url: server = "", unavailable } = await postgresUrl();
  const { run, makeWorkerUtils } = GRAPHILE[version];
  return {
    ...{ title: `graphile-worker ${version}`, unavailable },
    async open() {
      const connectionString = await createDatabase(server);
      const options = { run, makeWorkerUtils, connectionString, pollInterval: 100 };
      return {
        engine: ({ graphileEngine }) => graphileEngine(options),
        close: () => dropDatabase(server, connectionString),
      };
    },
    close: async () => {},
  };
}
