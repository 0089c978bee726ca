import { getTaskContext, NonRetryableError } from "otel-taskflow";
import { withTask } from "otel-taskflow/bullmq";
import { describe, expect, test, vi } from "vitest";
import { collectDiag, startTelemetry } from "../../support/telemetry.js";

// biome-ignore lint/suspicious/noExplicitAny: a unit test of a service may pass anything for a job
type Anything = any;

const charge = withTask(async (job: Anything) => ({ job, task: getTaskContext() }));

/** As mocking libraries make one: each property is a function, whatever it is called. */
const mocked = new Proxy({}, { get: (_target, key) => (key === "then" ? undefined : vi.fn()) });

describe("a wrapped processor in a unit test", () => {
  test.each([
    ["its data alone", { data: { n: 1 } }],
    ["its name and data", { name: "charge", data: {} }],
    ["neither name nor options", { id: "1", data: {}, attemptsMade: 1 }],
    ["options and id that are undefined", { id: undefined, name: "charge", data: {}, opts: undefined }],
    ["a number for its id", { id: 7, name: "charge", data: {}, opts: {}, attemptsMade: 0, timestamp: 1 }],
    ["nothing", {}],
    ["nothing, and which is frozen", Object.freeze({})],
    ["mocks for all that it has", mocked],
    ["no object", undefined],
  ])("runs with a job of which there is %s", async (_what, job) => {
    const telemetry = startTelemetry();
    const told = collectDiag();
    const seen = await charge(job);
    expect([seen.job === job, seen.task?.tags, told]).toEqual([true, {}, []]);
    expect(telemetry.spans().map(({ attributes }) => attributes["task.outcome"])).toEqual(["success"]);
  });

  test("has defaults for what the job does not say", async () => {
    const { task } = await charge({ data: {} });
    expect(task).toMatchObject({ funcName: "unnamed", attempt: 0, maxAttempts: 1, redelivered: false });
  });

  test.each([new Error("no"), new NonRetryableError("never")])("throws the very error: %s", async (error) => {
    const failing = withTask(async (_job: Anything) => Promise.reject(error));
    await expect(failing({ data: {} })).rejects.toBe(error);
    await expect(failing({ data: {}, opts: { attempts: 3 }, attemptsMade: 0 })).rejects.toBe(error);
  });

  test("leaves nothing on the job that a test would find", async () => {
    const job = { name: "charge", data: {} };
    await charge(job);
    expect(job).toStrictEqual({ name: "charge", data: {} });
    expect({ ...job }).toStrictEqual({ name: "charge", data: {} });
  });

  test("may be called twice with one object, at once or one after the other", async () => {
    const telemetry = startTelemetry();
    const job = { data: {} };
    const [one, other] = await Promise.all([charge(job), charge(job)]);
    const later = await charge(job);
    expect([one.task, other.task, later.task].map((task) => task?.funcName)).toEqual(Array(3).fill("unnamed"));
    expect(telemetry.spans().length).toBeGreaterThanOrEqual(2);
  });
});
