import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { startService, until } from "../service.js";
import { oneConnection, visit } from "../visit.js";
import type { WebWorld } from "../world.js";

export function describeRequests(world: WebWorld): void {
  describe("each request has its own tasks", () => {
    test("on a connection that is used again and again", async () => {
      let asked = 0;
      const service = await startService(world, (note) => ({
        "/": async (tasks) => {
          asked += 1;
          const name = String(asked);
          await tasks.addTask(note, [name]);
          if (asked % 2 === 0) throw new Error("every second one");
          return { body: name };
        },
      }));
      const agent = oneConnection();
      const answers: string[] = [];
      for (let n = 0; n < 6; n += 1) answers.push(await text(await visit(service.url, agent).response));
      expect([answers[0], answers[2], answers[4]]).toEqual(["1", "3", "5"]);
      await until(() => expect(service.ran).toEqual(["1", "3", "5"]));
    });

    test("with many at once", async () => {
      let asked = 0;
      const service = await startService(world, (note) => ({
        "/": async (tasks) => {
          asked += 1;
          const name = String(asked);
          await tasks.addTask(note, [name]);
          await until(() => expect(asked).toBe(20));
          if (Number(name) > 10) throw new Error("every one after the tenth");
          return { body: name };
        },
      }));
      const answers = await Promise.all(Array.from({ length: 20 }, () => service.get()));
      const fine = answers.filter(({ status }) => status === 200).map((answer) => answer.text);
      await service.stop();
      expect(fine).toHaveLength(10);
      expect(service.ran.toSorted()).toEqual(fine.toSorted());
    });
  });
}
