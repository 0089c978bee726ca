// The faults: what is done to processes, server and connections, one at a time.
import { setTimeout as wait } from "node:timers/promises";
import type { Fleet } from "./fleet.js";
import type { EngineName } from "./kinds.js";
import type { TcpProxy } from "./proxy.js";
import type { TaskServer } from "./servers.js";

export interface Scene {
  readonly engine: EngineName;
  readonly fleet: Fleet;
  readonly proxy: TcpProxy;
  readonly store: TaskServer;
  readonly random: () => number;
  /** Ids of the tasks that this process has started, and not ended. */
  runningOn(name: string): string[];
  /** Waits of faults that go on beside others, such as until a stopped process wakes; each never rejects. */
  readonly later: Promise<void>[];
}

export interface Fault {
  /** As docs/reliability.md tells it. */
  readonly title: string;
  /** The server is not reached meanwhile, or not well. */
  readonly ofStore: boolean;
  /** How often it comes among the others of a run; 1 where nothing is said. */
  readonly often?: number;
  /** Does it to this worker, or to the server. */
  run(scene: Scene, worker: string): Promise<void>;
}

export const FAULTS = {
  kill: {
    ofStore: false,
    ...{ title: "a worker is killed", often: 2 },
    async run(scene, name) {
      await replace(scene, name, (fleet, worker) => fleet.kill(worker));
      await scene.store.unlock(scene.runningOn(name)).catch(() => {});
    },
  },
  term: {
    ofStore: false,
    ...{ title: "a worker leaves, and another comes", often: 2 },
    run: (scene, name) => replace(scene, name, leaveBeside(scene)),
  },
  zombie: {
    ofStore: false,
    title: "a worker stands still until its tasks are others', and goes on",
    run: (scene, name) =>
      replace(scene, name, (fleet, worker) => {
        fleet.stop(worker);
        scene.later.push(wakeLater(scene, () => fleet.wake(worker), name));
      }),
  },
  restart: {
    ofStore: true,
    title: "the server is restarted",
    async run({ proxy, store }) {
      proxy.mode = "refusing";
      await store.server.restart();
      await wait(1_000);
      proxy.mode = "passing";
    },
  },
  crash: {
    ofStore: true,
    title: "the server is killed, and started again",
    async run({ store }) {
      await store.server.kill();
      await wait(500);
      await store.server.restart();
    },
  },
  cut: {
    ofStore: true,
    title: "all connections are cut",
    run: async ({ proxy }) => proxy.cut(),
  },
  "half-open": {
    ofStore: true,
    title: "for 5 s, the server hears everything and is not heard",
    run: ({ proxy }) => silence(proxy, "half open", 5_000),
  },
  slow: {
    ofStore: true,
    title: "for 6 s, every message takes 200 ms",
    async run({ proxy }) {
      proxy.mode = "slow";
      await wait(6_000);
      proxy.mode = "passing";
    },
  },
  "black-hole": {
    ofStore: true,
    title: "for 20 s, nothing that is sent arrives",
    run: ({ proxy }) => silence(proxy, "black hole", 20_000),
  },
  reset: {
    ofStore: true,
    ...{ title: "connections are reset in the middle of an answer", often: 2 },
    run: ({ proxy, random }) => spoil(proxy, () => (random() < 0.1 ? "reset" : undefined)),
  },
  lost: {
    ofStore: true,
    ...{ title: "what was asked is done, and its answer lost", often: 2 },
    run: ({ proxy, random }) => spoil(proxy, () => (random() < 0.1 ? "lost" : undefined)),
  },
  deploy: {
    ofStore: false,
    title: "a worker comes that does not know one of the tasks",
    run: (scene, name) => replace(scene, name, leaveBeside(scene), { deployed: "without" }),
  },
  policy: {
    ofStore: false,
    title: "a worker comes that has other retries",
    run: (scene, name) => replace(scene, name, leaveBeside(scene), { deployed: "policy" }),
  },
  clock: {
    ofStore: false,
    title: "a worker comes whose clock is 20 s wrong",
    run: (scene, name) => replace(scene, name, leaveBeside(scene), { clock: scene.random() < 0.5 ? 20_000 : -20_000 }),
  },
} as const satisfies Record<string, Fault>;

export type FaultName = keyof typeof FAULTS;

type Leaving = (fleet: Fleet, worker: ReturnType<Fleet["workers"]>[number]) => void | Promise<void>;

async function replace(
  { fleet }: Scene,
  name: string,
  leaving: Leaving,
  extra: Parameters<Fleet["launch"]>[1] = {},
): Promise<void> {
  const worker = fleet.workers().find((one) => one.name === name);
  fleet.launch("worker", extra);
  if (worker !== undefined) await leaving(fleet, worker);
}

// Others go on meanwhile: a shutdown may take as long as its timeout.
function leaveBeside({ later }: Scene): Leaving {
  return (fleet, worker) => {
    later.push(fleet.leave(worker));
  };
}

// As long as it takes until the engine, or its operator, holds the worker for lost.
async function wakeLater({ engine, store, runningOn }: Scene, wake: () => void, name: string): Promise<void> {
  await wait(engine === "pg-boss" ? 20_000 : 10_000, undefined, { ref: false });
  await store.unlock(runningOn(name)).catch(() => {});
  await wait(2_000, undefined, { ref: false });
  wake();
}

async function silence(proxy: TcpProxy, mode: "half open" | "black hole", ms: number): Promise<void> {
  proxy.mode = mode;
  await wait(ms);
  proxy.mode = "passing";
  proxy.cut();
}

async function spoil(proxy: TcpProxy, choose: Parameters<TcpProxy["spoil"]>[0]): Promise<void> {
  proxy.spoil(choose);
  await wait(1_500);
  proxy.spoil();
}
