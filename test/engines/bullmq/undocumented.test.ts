import { withTask } from "otel-taskflow/bullmq";
import { expect, onTestFinished, test } from "vitest";
import { startTelemetry } from "../../support/telemetry.js";
import { describeVersions } from "./lab.js";

// What withTask takes from BullMQ beyond its documentation: how a worker knows the errors that say what became of a job.
const KNOWN_BY_CLASS = [
  ["UnrecoverableError", "bullmq:unrecoverable", "failure"],
  ["DelayedError", "bullmq:movedToDelayed", "deferred"],
  ["WaitingError", "bullmq:movedToWait", "deferred"],
  ["WaitingChildrenError", "bullmq:movedToWaitingChildren", "deferred"],
] as const;

/** A job in the hands of a worker of this process, as far as it is asked; with attempts left. */
const job = {
  ...{ id: "1", name: "judged", data: {}, timestamp: 1, attemptsMade: 0, attemptsStarted: 1 },
  opts: { attempts: 3 },
  getState: async () => "active",
};

async function outcomeOf(error: unknown, judged: typeof job = job): Promise<unknown> {
  const telemetry = startTelemetry();
  await withTask(async (_job: typeof job) => Promise.reject(error))(judged).catch(() => {});
  return telemetry.span("process judged").attributes["task.outcome"];
}

await describeVersions("BullMQ has what withTask relies on", (_open, bullmq) => {
  test.each(KNOWN_BY_CLASS)("%s has that name, and the message %s where it is given none", (name, message) => {
    expect(new bullmq[name]()).toMatchObject({ name, message });
  });

  test.each(KNOWN_BY_CLASS)("%s is known in a minified build, with a message of its own", async (name, _, outcome) => {
    const Class = bullmq[name];
    Object.defineProperty(Class, "name", { value: "t", configurable: true });
    onTestFinished(() => void Object.defineProperty(Class, "name", { value: name, configurable: true }));
    const error = new Class("a message of the application's");
    expect([error.name, await outcomeOf(error)]).toEqual(["t", outcome]);
  });

  test("a RateLimitError is known by its message", async () => {
    const error = bullmq.Worker.RateLimitError();
    expect([error.message, await outcomeOf(error)]).toEqual(["bullmq:rateLimitExceeded", "deferred"]);
  });

  test("a worker asks the job itself whether it is retried", async () => {
    // its type calls the method private
    const { shouldRetryJob } = bullmq.Job.prototype as unknown as { shouldRetryJob?(error: unknown): Promise<unknown> };
    const asked = { attemptsMade: 0, attemptsStarted: 1, opts: { attempts: 1 }, queue: { opts: {} } };
    expect(await shouldRetryJob?.call(asked, new Error("no"))).toEqual([false, 0]);
  });

  test("a job is a copy without methods in a sandbox alone", () => {
    expect(typeof bullmq.Job.prototype.getState).toBe("function");
  });
});
