import { AsyncLocalStorage } from "node:async_hooks";
import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import { getTaskContext, memoryEngine } from "otel-taskflow";
import { describe, expect, test } from "vitest";
import { worlds } from "../support/worlds.js";

const TASKS = 200;

interface Sighting {
  readonly id: string | undefined;
  readonly tag: string | undefined;
  readonly user: number | undefined;
}

async function randomAwait(): Promise<void> {
  const kind = Math.floor(Math.random() * 4);
  if (kind === 0) await null;
  else if (kind === 1) await turn();
  else if (kind === 2) await wait(Math.random() * 3);
  else await new Promise<void>((resolve) => process.nextTick(resolve));
}

describe.each(worlds)("200 tasks at once, $title", ({ create }) => {
  test.each([1, 7, 100])("at concurrency %i, none sees another's context or user values", async (concurrency) => {
    const tasks = create({ engine: memoryEngine({ concurrency }) });
    const user = new AsyncLocalStorage<number>();
    const sightings = new Map<number, Sighting[]>();
    const look = (n: number): void => {
      const ctx = getTaskContext();
      sightings.get(n)?.push({ id: ctx?.taskId, tag: ctx?.tags.n, user: user.getStore() });
    };
    const helper = async (n: number, depth: number): Promise<void> => {
      await randomAwait();
      look(n);
      if (depth > 0) await Promise.all([helper(n, depth - 1), randomAwait()]);
    };
    const wander = tasks.task({ name: "wander", retries: 1 }, async (n: number) => {
      await helper(n, 4);
      if (n % 5 === 0 && getTaskContext()?.attempt === 0) throw new Error("once more");
    });
    const ids = await Promise.all(
      Array.from({ length: TASKS }, (_, n) => {
        sightings.set(n, []);
        return user.run(n, () => tasks.addTask(wander, [n], { tags: { n: String(n) } }));
      }),
    );
    await tasks.idle();
    for (const [n, seen] of sightings) {
      const mine = { id: ids[n], tag: String(n), user: n };
      expect(seen).toEqual(Array.from({ length: n % 5 === 0 ? 10 : 5 }, () => mine));
    }
  });
});
