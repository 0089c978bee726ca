import type { INestApplicationContext } from "@nestjs/common";
import { Cron, ScheduleModule, SchedulerRegistry } from "@nestjs/schedule";
import { trace } from "@opentelemetry/api";
import { getTaskContext, taskLog } from "otel-taskflow";
import { TaskflowModule } from "otel-taskflow/nestjs";
import { expect, test, vi } from "vitest";
import { startTelemetry } from "../support/telemetry.js";
import { collectLogs, decorate, injects, moduleOf, startApplication } from "./nest-world.js";

class Rates {
  readonly seen: (string | undefined)[] = [];

  async refresh(): Promise<void> {
    await Promise.resolve();
    taskLog("refreshed");
    this.seen.push(getTaskContext()?.funcName);
  }
}

class Nightly {
  readonly rates: Rates;
  readonly runs: unknown[] = [];

  constructor(rates: Rates) {
    this.rates = rates;
  }

  async refreshRates(): Promise<string> {
    this.runs.push(this instanceof Nightly);
    await this.rates.refresh();
    return "refreshed";
  }

  fail(): void {
    throw new Error("the bank is closed");
  }
}
injects(Nightly, Rates);
decorate(Nightly, "refreshRates", Cron("0 0 4 * * *", { name: "rates" }));
decorate(Nightly, "fail", Cron("0 0 5 * * *", { name: "fails" }));

const OWN = [Rates, Nightly];

/** What cron does when a method is due. */
async function tick(app: INestApplicationContext, name: string): Promise<void> {
  await app.get(SchedulerRegistry).getCronJob(name).fireOnTick();
}

test("each run of a @Cron method is a task of its own, known to what it calls", async () => {
  const telemetry = startTelemetry();
  const app = await startApplication([ScheduleModule.forRoot(), TaskflowModule.forRoot()], OWN);
  for (const _ of [1, 2]) await tick(app, "rates");
  await vi.waitFor(() => expect(telemetry.named("process Nightly.refreshRates")).toHaveLength(2));
  expect(app.get(Rates).seen).toEqual(["Nightly.refreshRates", "Nightly.refreshRates"]);
  const runs = telemetry.named("process Nightly.refreshRates");
  const [first, second] = runs.map((span) => span.spanContext().traceId);
  expect(first).not.toBe(second);
  expect(runs.map(({ parentSpanContext }) => parentSpanContext)).toEqual([undefined, undefined]);
  expect(runs[0]?.attributes).toMatchObject({
    "task.trigger": "schedule",
    "task.outcome": "success",
    "task.attempt": 0,
    "code.function.name": "refreshRates",
  });
  expect(runs[0]?.events.map(({ name }) => name)).toEqual(["refreshed"]);
});

test("a run has its own trace, whatever trace the application was started in", async () => {
  const telemetry = startTelemetry();
  await trace.getTracer("service").startActiveSpan("start", async (span) => {
    const app = await startApplication([ScheduleModule.forRoot(), TaskflowModule.forRoot()], OWN);
    await tick(app, "rates");
    await vi.waitFor(() => expect(telemetry.named("process Nightly.refreshRates")).toHaveLength(1));
    span.end();
    expect(telemetry.span("process Nightly.refreshRates").spanContext().traceId).not.toBe(span.spanContext().traceId);
  });
});

test("what a method throws is logged by @nestjs/schedule as before, and told by the span", async () => {
  const telemetry = startTelemetry();
  const app = await startApplication([ScheduleModule.forRoot(), TaskflowModule.forRoot()], OWN);
  const logs = collectLogs();
  await tick(app, "fails");
  await vi.waitFor(() => expect(logs).toEqual(["the bank is closed"]));
  const { attributes, status } = telemetry.span("process Nightly.fail");
  expect([attributes["task.outcome"], status.message]).toEqual(["failure", "the bank is closed"]);
});

test("who else calls the method calls it as it is", async () => {
  const telemetry = startTelemetry();
  const app = await startApplication([ScheduleModule.forRoot(), TaskflowModule.forRoot()], OWN);
  const nightly = app.get(Nightly);
  expect(Object.keys(nightly)).toEqual(["rates", "runs"]);
  expect(nightly.refreshRates).toBe(Nightly.prototype.refreshRates);
  expect(await nightly.refreshRates()).toBe("refreshed");
  expect([app.get(Rates).seen, telemetry.spans()]).toEqual([[undefined], []]);
});

test.each([
  ["@nestjs/schedule is imported after it", () => [TaskflowModule.forRoot(), ScheduleModule.forRoot()]],
  ["it is not global", () => [ScheduleModule.forRoot(), TaskflowModule.forRoot({ isGlobal: false })]],
  [
    "two modules have a manager each",
    () => [1, 2].map(() => TaskflowModule.forRoot()).concat(ScheduleModule.forRoot()),
  ],
  [
    "its options come from a factory, and @nestjs/schedule is imported deep down",
    () => [
      moduleOf({ imports: [moduleOf({ imports: [ScheduleModule.forRoot()] }, "Deep")] }, "Middle"),
      TaskflowModule.forRootAsync({ useFactory: async () => ({}) }),
    ],
  ],
])("a run is one task where %s", async (_what, imports) => {
  const telemetry = startTelemetry();
  const app = await startApplication(imports(), OWN);
  await tick(app, "rates");
  await vi.waitFor(() => expect(app.get(Rates).seen).toEqual(["Nightly.refreshRates"]));
  await vi.waitFor(() => expect(telemetry.spans().map(({ name }) => name)).toEqual(["process Nightly.refreshRates"]));
});

test("the methods of an instance that a factory made are tasks too, under its class's name", async () => {
  const made = { provide: "NIGHTLY", inject: [Rates], useFactory: (rates: Rates) => new Nightly(rates) };
  const app = await startApplication([ScheduleModule.forRoot(), TaskflowModule.forRoot()], [Rates, made]);
  await tick(app, "rates");
  await vi.waitFor(() => expect(app.get(Rates).seen).toEqual(["Nightly.refreshRates"]));
  expect(app.get("NIGHTLY").runs).toEqual([true]);
});

test("the option `cron: false` leaves the methods alone", async () => {
  const telemetry = startTelemetry();
  const app = await startApplication([ScheduleModule.forRoot(), TaskflowModule.forRoot({ cron: false })], OWN);
  await tick(app, "rates");
  await vi.waitFor(() => expect(app.get(Rates).seen).toEqual([undefined]));
  expect(telemetry.spans()).toEqual([]);
});

test("a clock that strikes runs the task", async () => {
  class Seconds {
    readonly seen: unknown[] = [];

    strike(): void {
      this.seen.push(getTaskContext()?.funcName);
    }
  }
  decorate(Seconds, "strike", Cron("* * * * * *", { waitForCompletion: true }));
  const app = await startApplication([ScheduleModule.forRoot(), TaskflowModule.forRoot()], [Seconds]);
  await vi.waitFor(() => expect(app.get(Seconds).seen).toContain("Seconds.strike"), { timeout: 5_000 });
});
