import { stripVTControlCharacters } from "node:util";
import { type ConsoleLoggerOptions, Logger } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { TaskManager } from "otel-taskflow";
import { TaskflowModule, TaskLogger } from "otel-taskflow/nestjs";
import { expect, onTestFinished, test, vi } from "vitest";
import { startTelemetry } from "../support/telemetry.js";
import { injects, moduleOf } from "./nest-world.js";

/** Knows nothing of tasks. */
class MailServer {
  readonly #logger = new Logger(MailServer.name);

  deliver(to: string): void {
    this.#logger.log("delivering", { to });
    if (to === "nobody") this.#logger.error(new Error("no such address"));
  }
}

class Mailer {
  readonly send: (to: string) => void;

  constructor(tasks: TaskManager, server: MailServer) {
    this.send = tasks.task("mailer.send", (to: string) => server.deliver(to));
  }
}
injects(Mailer, TaskManager, MailServer);

/** What an application with this logger writes that sends a mail at once, and one by a task. */
async function linesOf(options: ConsoleLoggerOptions, to = "ada"): Promise<string[]> {
  const lines: string[] = [];
  const collect = (text: string | Uint8Array): boolean =>
    lines.push(stripVTControlCharacters(String(text)).trimEnd()) > 0;
  const app = await NestFactory.createApplicationContext(
    moduleOf({ imports: [TaskflowModule.forRoot()], providers: [TaskLogger, MailServer, Mailer] }),
    { logger: false, abortOnError: false },
  );
  app.useLogger(new TaskLogger(options));
  onTestFinished(() => Logger.overrideLogger(false));
  const spies = [process.stdout, process.stderr].map((stream) => vi.spyOn(stream, "write").mockImplementation(collect));
  app.get(MailServer).deliver(to);
  await app.get(TaskManager).addTask(app.get(Mailer).send, [to], { taskId: "id-1", tags: { plan: "pro" } });
  await app.close();
  for (const spy of spies) spy.mockRestore();
  return lines;
}

test("a line of text in a task names it behind the context, and is Nest's own outside of one", async () => {
  const telemetry = startTelemetry();
  const [outside, inside, ...others] = await linesOf({ logLevels: ["log"] });
  const { traceId } = telemetry.span("process mailer.send").spanContext();
  expect(outside).toMatch(/ LOG \[MailServer\] delivering \{ to: 'ada' \}/);
  expect(inside?.replace(/^.* LOG | \+\d+ms$/g, "")).toBe(
    `[MailServer] [mailer.send task_attempt=0 task_id=id-1 trace_id=${traceId}] delivering { to: 'ada' }`,
  );
  expect(others).toEqual([]);
});

test("a line of JSON in a task has the fields of taskLogFields beside Nest's own, an error's too", async () => {
  const telemetry = startTelemetry();
  const lines = (await linesOf({ json: true, logLevels: ["log", "error"] }, "nobody")).map((line) => JSON.parse(line));
  const { traceId, spanId } = telemetry.span("process mailer.send").spanContext();
  const own = { pid: process.pid, timestamp: expect.any(Number), context: "MailServer" };
  const said = { ...own, level: "log", message: "delivering", params: { to: "nobody" } };
  const failed = { ...own, level: "error", message: "no such address", error: expect.any(Object) };
  const ids = { trace_id: traceId, span_id: spanId, trace_flags: "01" };
  const task = { task_id: "id-1", task_name: "mailer.send", task_attempt: 0, task_tags: { plan: "pro" } };
  expect(lines).toEqual([said, failed, { ...said, ...ids, ...task }, { ...failed, ...ids, ...task }]);
});

test("an application's own providers may have it injected", async () => {
  const app = await NestFactory.createApplicationContext(moduleOf({ providers: [TaskLogger] }), { logger: false });
  onTestFinished(async () => await app.close());
  expect(app.get(TaskLogger)).toBeInstanceOf(TaskLogger);
});
