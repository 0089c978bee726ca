import { DiagLogLevel } from "@opentelemetry/api";
import type { TaskScope } from "otel-taskflow";
import { describe, expect, test } from "vitest";
import { deferred } from "../../support/tasks.js";
import { collectDiag } from "../../support/telemetry.js";
import { startService } from "../service.js";
import type { Answer, WebWorld } from "../world.js";

export function describeFailure(world: WebWorld): void {
  /** Answers `outcome` after adding a task; everything has ended when this returns. */
  async function askOnce(outcome: (tasks: TaskScope) => Answer): Promise<{ status: number; ran: readonly string[] }> {
    const service = await startService(world, (note) => ({
      "/": async (tasks) => {
        await tasks.addTask(note, ["a"]);
        return outcome(tasks);
      },
    }));
    const { status } = await service.get();
    await service.stop();
    return { status, ran: service.ran };
  }

  const failing = (error: Error) => (): Answer => {
    throw error;
  };

  describe("a handler that fails", () => {
    test("by throwing starts none of its tasks", async () => {
      expect(await askOnce(failing(new Error("down")))).toEqual({ status: 500, ran: [] });
    });

    test("by answering 503 starts none of its tasks", async () => {
      expect(await askOnce(() => ({ status: 503, body: "later" }))).toEqual({ status: 503, ran: [] });
    });

    test(`by throwing a 404 starts ${world.tellsThrown ? "none of them" : "them: the framework tells nobody"}`, async () => {
      const ran = world.tellsThrown ? [] : ["a"];
      expect(await askOnce(failing(world.httpError(404)))).toEqual({ status: 404, ran });
    });

    test("leaves out what its code adds later, and names it to diag at debug level", async () => {
      const over = deferred<TaskScope>();
      const service = await startService(world, () => ({
        "/": async (tasks) => {
          over.resolve(tasks);
          throw new Error("down");
        },
      }));
      const late = service.manager.task("late", () => {});
      await service.get();
      const diag = collectDiag(DiagLogLevel.DEBUG);
      const id = await (await over.promise).addTask(late);
      expect(diag.filter((line) => line.includes(id))).toHaveLength(1);
      expect(await service.stop()).toEqual({ completed: 0, abandoned: [] });
    });
  });

  describe("a handler that does not fail", () => {
    test("by answering 404 starts its tasks", async () => {
      expect(await askOnce(() => ({ status: 404, body: "no such user" }))).toEqual({ status: 404, ran: ["a"] });
    });

    test("but drops its tasks itself starts none of them", async () => {
      const dropped = askOnce((tasks) => {
        tasks.discard();
        return { body: "nothing to do" };
      });
      expect(await dropped).toEqual({ status: 200, ran: [] });
    });
  });

  test("what a handler released itself has started, whatever it answers", async () => {
    const released = askOnce((tasks) => {
      tasks.release();
      return { status: 500, body: "reported" };
    });
    expect(await released).toEqual({ status: 500, ran: ["a"] });
  });
}
