import { describe, expect, onTestFinished, test } from "vitest";
import { redisWorld } from "../engines/bullmq/worlds.js";
import { describeUnavailable } from "../support/unavailable.js";
import { startService, until } from "./service.js";
import type { WebWorld } from "./world.js";
import { webWorlds } from "./worlds.js";

const redis = await redisWorld("6");

if (redis.unavailable !== undefined) describeUnavailable("tasks of requests on BullMQ", redis.unavailable);
else describe.each(webWorlds)("with $title and tasks on BullMQ", describeStoring);

function describeStoring(world: WebWorld): void {
  test("a task is stored when addTask resolves, and runs even though its handler failed then", async () => {
    const store = await redis.create();
    onTestFinished(() => store.close());
    const states: unknown[] = [];
    const service = await startService(
      world,
      (note) => ({
        "/": async (tasks) => {
          states.push(await store.stateOf(await tasks.addTask(note, ["a"])));
          throw new Error("down");
        },
      }),
      { engine: store.engine() },
    );
    expect((await service.get()).status).toBe(500);
    expect(states).toEqual(["queued"]);
    await service.manager.work();
    await until(() => expect(service.ran).toEqual(["a"]));
  });
}
