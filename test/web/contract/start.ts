import { AsyncLocalStorage } from "node:async_hooks";
import { getTaskContext, isTaskConfigError, memoryEngine, type TaskManager } from "otel-taskflow";
import { copyAsJson } from "otel-taskflow/engine";
import { describe, expect, test } from "vitest";
import { deferred } from "../../support/tasks.js";
import { startService, turns, until } from "../service.js";
import type { WebWorld } from "../world.js";

export function describeStart(world: WebWorld): void {
  describe("a task added by a handler", () => {
    test("has its id at once, and starts when the response has been sent", async () => {
      const ids: string[] = [];
      const sending = deferred();
      const service = await startService(world, (note) => ({
        "/": async (tasks) => {
          ids.push(await tasks.addTask(note, ["a"]));
          await sending.promise;
          return { body: "ok" };
        },
      }));
      const answer = service.get();
      await until(() => expect(ids).toEqual([expect.stringMatching(/^[0-9a-f-]{36}$/)]));
      await turns();
      expect(service.ran).toEqual([]);
      sending.resolve();
      expect((await answer).text).toBe("ok");
      await until(() => expect(service.ran).toEqual(["a"]));
    });

    test("runs under that id, with its tags, in the async context of its request", async () => {
      const caller = new AsyncLocalStorage<string>();
      const seen: unknown[] = [];
      const look = (): unknown => seen.push([getTaskContext(), caller.getStore()]);
      const service = await startService(world, () => ({
        "/": (tasks) =>
          caller.run("request 1", async () => ({ body: await tasks.addTask(look, [], { tags: { plan: "pro" } }) })),
      }));
      service.manager.task("look", look);
      const { text } = await service.get();
      await service.stop();
      expect(seen).toEqual([[expect.objectContaining({ taskId: text, tags: { plan: "pro" } }), "request 1"]]);
    });

    test("is checked at once: what is wrong with it is the handler's error", async () => {
      const errors: unknown[] = [];
      const service = await startService(world, (note) => ({
        "/": async (tasks) => {
          await tasks.addTask(note, ["a"], { tags: { "a space": "" } }).catch((error) => errors.push(error));
          return { body: "ok" };
        },
      }));
      await service.get();
      await service.stop();
      expect(errors.map(isTaskConfigError)).toEqual([true]);
      expect(service.ran).toEqual([]);
    });

    test("is sent at once where the engine is durable, and stays when the handler fails", async () => {
      const engine = Object.assign(memoryEngine(), {
        capabilities: { durable: true, granularity: 0 },
        copyArgs: copyAsJson,
      });
      const service = await startService(
        world,
        (note) => ({
          "/": async (tasks) => {
            await tasks.addTask(note, ["a"]);
            await until(() => expect(service.ran).toEqual(["a"]));
            await tasks.addTask(note, ["b"]);
            throw new Error("down");
          },
        }),
        { engine },
      );
      expect((await service.get()).status).toBe(500);
      await until(() => expect(service.ran).toEqual(["a", "b"]));
    });

    test("by code that outlives the request is sent at once", async () => {
      const over = deferred();
      const service = await startService(world, (note) => ({
        "/": async (tasks) => {
          over.promise.then(() => tasks.addTask(note, ["late"]));
          await tasks.addTask(note, ["in time"]);
          return { body: "ok" };
        },
      }));
      await service.get();
      await until(() => expect(service.ran).toEqual(["in time"]));
      over.resolve();
      await until(() => expect(service.ran).toEqual(["in time", "late"]));
    });

    test("ends before the application does, when the server is closed first and the tasks are shut down then", async () => {
      const service = await startService(world, (note) => ({
        "/": async (tasks) => ({ body: await tasks.addTask(note, ["a"]) }),
      }));
      await service.get();
      expect(await service.stop()).toMatchObject({ abandoned: [] });
      expect(service.ran).toEqual(["a"]);
    });
  });

  test("what is no task manager is refused when the application is made", async () => {
    const manager = { scope: undefined } as unknown as TaskManager;
    const serving = Promise.resolve().then(() => world.serve(manager, {}));
    await expect(serving).rejects.toThrow(/expected a TaskManager, received/);
    await expect(serving).rejects.toSatisfy(isTaskConfigError);
  });
}
