import { describe, expect, onTestFinished, test, vi } from "vitest";
import { type Deferred, deferred } from "../../support/tasks.js";
import { type Service, startService, turns, until } from "../service.js";
import { piecesOf, visit } from "../visit.js";
import type { WebWorld } from "../world.js";

interface Streaming {
  readonly service: Service;
  /** Lets the second piece come, or breaks the stream before it. */
  readonly rest: Deferred<void>;
}

export function describeStreams(world: WebWorld): void {
  /** Adds a task, and answers in two pieces. */
  async function startStreaming(): Promise<Streaming> {
    const rest = deferred();
    async function* pieces(): AsyncGenerator<string> {
      yield "one";
      await rest.promise;
      yield "two";
    }
    const service = await startService(world, (note) => ({
      "/": async (tasks) => {
        await tasks.addTask(note, ["a"]);
        return { body: pieces() };
      },
    }));
    return { service, rest };
  }

  describe("with an answer that is a stream, a task", () => {
    test("is waited for by a shutdown, and named by it when the stream does not end in time", async () => {
      const { service, rest } = await startStreaming();
      const pieces = piecesOf(visit(service.url));
      await pieces.next();
      const report = await service.manager.shutdown({ timeout: 20 });
      const task = { taskId: expect.any(String), funcName: "note", state: "ready" };
      expect(report).toEqual({ completed: 0, abandoned: [task] });
      rest.resolve();
      for await (const _ of pieces);
    });

    test("starts when the stream has ended", async () => {
      const { service, rest } = await startStreaming();
      const pieces = piecesOf(visit(service.url));
      expect((await pieces.next()).value).toBe("one");
      await turns();
      expect(service.ran).toEqual([]);
      rest.resolve();
      expect((await pieces.next()).value).toBe("two");
      expect((await pieces.next()).done).toBe(true);
      await until(() => expect(service.ran).toEqual(["a"]));
    });

    test("does not start when the stream breaks", async () => {
      const printed = vi.spyOn(console, "error").mockReturnValue(); // by Hono's server
      onTestFinished(() => printed.mockRestore());
      const { service, rest } = await startStreaming();
      const pieces = piecesOf(visit(service.url));
      expect((await pieces.next()).value).toBe("one");
      rest.reject(new Error("the source is gone"));
      await expect(pieces.next()).rejects.toThrow();
      await service.stop();
      expect(service.ran).toEqual([]);
    });

    test.each(["leave", "reset", "cut"] as const)("starts when the connection goes in the middle: %s", async (go) => {
      const { service, rest } = await startStreaming();
      const visitor = visit(service.url);
      expect((await piecesOf(visitor).next()).value).toBe("one");
      // as a server does with a client that takes too long to read
      if (go === "cut") service.cut();
      else visitor[go]();
      await until(() => expect(service.ran).toEqual(["a"]));
      rest.resolve();
    });
  });
}
