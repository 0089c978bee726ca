import { setTimeout as wait } from "node:timers/promises";
import { getTaskContext, isTaskConfigError, memoryEngine, TaskManager, type TaskManagerOptions } from "otel-taskflow";
import { TaskflowModule, type TaskflowModuleOptions } from "otel-taskflow/nestjs";
import { describe, expect, test, vi } from "vitest";
import { scriptedEngine } from "../support/scripted-engine.js";
import { deferred } from "../support/tasks.js";
import { startTelemetry } from "../support/telemetry.js";
import { collectLogs, injects, moduleOf, startApplication } from "./nest-world.js";

class Mailer {
  readonly sent: unknown[] = [];
  readonly tasks: TaskManager;
  readonly send: (to: string) => Promise<void>;

  constructor(tasks: TaskManager) {
    this.tasks = tasks;
    this.send = tasks.task("mailer.send", async (to: string) => {
      await wait(1);
      this.sent.push({ to, task: getTaskContext()?.funcName });
    });
  }
}
injects(Mailer, TaskManager);

class Closing {
  readonly heard: string[] = [];
  readonly mailer: Mailer;

  constructor(mailer: Mailer) {
    this.mailer = mailer;
  }

  onApplicationShutdown(): void {
    this.heard.push(`${this.mailer.sent.length} sent`);
  }
}
injects(Closing, Mailer);

const feature = moduleOf({ providers: [Mailer, Closing], exports: [Mailer, Closing] }, "Feature");

describe("TaskflowModule", () => {
  test("gives any module a TaskManager by its class, whose tasks run", async () => {
    const telemetry = startTelemetry();
    const app = await startApplication([feature, TaskflowModule.forRoot()]);
    const mailer = app.get(Mailer);
    expect(mailer.tasks).toBe(app.get(TaskManager));
    await mailer.tasks.addTask(mailer.send, ["ada"]);
    await mailer.tasks.idle();
    expect(mailer.sent).toEqual([{ to: "ada", task: "mailer.send" }]);
    expect(telemetry.span("process mailer.send").attributes["task.outcome"]).toBe("success");
  });

  test("makes its options of what a factory has injected, when the application starts", async () => {
    class Config {
      readonly values = new Map([["engine", "own"]]);
    }
    const config = moduleOf({ providers: [Config], exports: [Config] }, "ConfigModule");
    const engines: TaskManagerOptions["engine"][] = [];
    const taskflow = TaskflowModule.forRootAsync({
      imports: [config],
      inject: [Config],
      useFactory: async ({ values }: Config) => {
        const engine = { ...memoryEngine(), name: values.get("engine") ?? "none" };
        engines.push(engine);
        return { engine };
      },
    });
    const telemetry = startTelemetry();
    for (const _ of [1, 2]) {
      const app = await startApplication([feature, taskflow]);
      await app.get(TaskManager).addTask(app.get(Mailer).send, ["ada"]);
      await app.close();
    }
    expect(engines).toHaveLength(2);
    const named = telemetry.named("process mailer.send").map(({ attributes }) => attributes["task.engine"]);
    expect(named).toEqual(["own", "own"]);
  });

  test.each([
    ["starts to run tasks when all modules have started", {}, ["the application started", "work"]],
    ["runs none where the application only adds them", { work: false }, ["the application started"]],
  ])("%s", async (_what, options, expected) => {
    const heard: string[] = [];
    const engine = scriptedEngine({ work: () => void heard.push("work") });
    class Root {
      onApplicationBootstrap(): void {
        heard.push("the application started");
      }
    }
    await startApplication([feature, TaskflowModule.forRoot({ ...options, engine })], [Root]);
    expect(heard).toEqual(expected);
  });

  test.each([true, false])("lets tasks end before other modules close what they use (global: %s)", async (isGlobal) => {
    const taskflow = TaskflowModule.forRoot({ isGlobal });
    const own = moduleOf({ imports: [taskflow], providers: [Mailer, Closing], exports: [Mailer, Closing] }, "Own");
    const app = await startApplication([own]);
    const [mailer, closing] = [app.get(Mailer), app.get(Closing)];
    for (const to of ["ada", "bob"]) await mailer.tasks.addTask(mailer.send, [to], { delay: 20 });
    await app.close();
    expect(closing.heard).toEqual(["2 sent"]);
    await expect(mailer.tasks.addTask(mailer.send, ["cy"])).rejects.toThrow(/shut down|closed/);
  });

  test("says which tasks it left behind at the end of its time", async () => {
    const app = await startApplication([TaskflowModule.forRoot({ shutdownTimeout: 20 })]);
    const logs = collectLogs();
    const tasks = app.get(TaskManager);
    const started = deferred();
    const hang = tasks.task("hang", () => {
      started.resolve();
      return new Promise<never>(() => {});
    });
    await tasks.addTask(hang);
    await started.promise;
    await app.close();
    expect(logs).toEqual(["1 of the tasks did not end in time: hang"]);
  });

  test("gives each of two modules a TaskManager of its own, where they are not global", async () => {
    const names = ["First", "Second"];
    const own = names.map((name) =>
      moduleOf({ imports: [TaskflowModule.forRoot({ isGlobal: false })], providers: [Mailer] }, name),
    );
    const app = await startApplication(own);
    const [first, second] = own.map((module) => app.select(module).get(Mailer, { strict: true }));
    expect(first?.tasks).not.toBe(second?.tasks);
    await first?.tasks.addTask(first.send, ["ada"]);
    await app.close();
    expect([first?.sent.length, second?.sent.length]).toEqual([1, 0]);
  });

  test.each<[option: string, options: object]>([
    ['unknown option "engin"', { engin: memoryEngine() }],
    ["engine", { engine: {} }],
    ["relation", { relation: "child" }],
    ["work", { work: "yes" }],
    ["cron", { cron: 1 }],
    ["isGlobal", { isGlobal: "yes" }],
    ["shutdownTimeout", { shutdownTimeout: -1 }],
  ])("refuses a wrong option at once: %s", async (option, options: TaskflowModuleOptions) => {
    const refusal = expect.toSatisfy((error) => isTaskConfigError(error) && error.message.includes(option));
    expect(() => TaskflowModule.forRoot(options)).toThrow(refusal);
    if (option === "isGlobal") return;
    const taskflow = TaskflowModule.forRootAsync({ useFactory: () => options });
    await expect(startApplication([taskflow])).rejects.toEqual(refusal);
  });

  test("refuses what is no factory, or an unknown option beside it", () => {
    const wrong: object[] = [{}, { useFactory: {} }, { useFactory: vi.fn(), engine: memoryEngine() }];
    for (const options of wrong) {
      // as JavaScript may call it
      const call = (): unknown =>
        TaskflowModule.forRootAsync(options as Parameters<typeof TaskflowModule.forRootAsync>[0]);
      expect(call).toThrow(expect.toSatisfy(isTaskConfigError));
    }
  });
});
