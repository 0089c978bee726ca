import { expect, it } from "vitest";
import { baggageAt, taskAttributes } from "./queries.js";
import { startServices } from "./services.js";

it("a called service shows on its spans and log lines which task called, and with which tags", async () => {
  const services = await startServices({ SHOWS_CALLER: "1" });
  const { taskId } = await services.request("parent", { baggage: "task.id=mine,tenant=acme" });
  const { spans, logs, endings } = await services.stop();
  expect(endings).toEqual([0, 0].map((exitCode) => ({ exitCode, stderr: "" })));
  const task = { "task.id": taskId, "task.tag.plan": "pro" };
  const calls = spans.filter(({ service, kind }) => service === "accounts-service" && kind === "server");
  expect(calls.map(({ attributes }) => taskAttributes(attributes))).toEqual([task, task]);
  expect(calls.map(baggageAt)).toEqual([0, 1].map(() => ({ ...task, tenant: "acme" })));
  const lines = logs.filter(({ service, body }) => service === "accounts-service" && body === "looking up orders");
  expect(lines.map(({ attributes }) => taskAttributes(attributes))).toEqual([task, task]);
});
