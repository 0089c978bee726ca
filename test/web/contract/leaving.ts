import { describe, expect, test } from "vitest";
import { deferred } from "../../support/tasks.js";
import { type Service, startService, turns, until } from "../service.js";
import { visit } from "../visit.js";
import type { Answer, WebWorld } from "../world.js";

export function describeLeaving(world: WebWorld): void {
  /** A handler adds a task, its connection goes in this way, and then the handler ends with `outcome`. */
  async function loseThen(outcome: () => Answer, go: "leave" | "reset" | "cut" = "leave"): Promise<Service> {
    const asked = deferred();
    const answering = deferred();
    const service = await startService(world, (note) => ({
      "/": async (tasks) => {
        await tasks.addTask(note, ["a"]);
        asked.resolve();
        await answering.promise;
        return outcome();
      },
    }));
    const visitor = visit(service.url);
    await asked.promise;
    if (go === "cut") service.cut();
    else visitor[go]();
    await connectionsEnded(service);
    expect(service.ran).toEqual([]);
    answering.resolve();
    return service;
  }

  describe("when the connection goes before there is an answer, a task", () => {
    test.each(["leave", "reset", "cut"] as const)("waits for the handler all the same: %s", async (go) => {
      const service = await loseThen(() => ({ body: "ok" }), go);
      await until(() => expect(service.ran).toEqual(["a"]));
    });

    test("does not start when the handler fails", async () => {
      const service = await loseThen(() => {
        throw new Error("the visitor's transaction was rolled back");
      });
      await turns();
      await service.stop();
      expect(service.ran).toEqual([]);
    });
  });
}

// The server has noticed: it closes only when it has no connection left.
async function connectionsEnded({ close }: Service): Promise<void> {
  await close();
  await turns();
}
