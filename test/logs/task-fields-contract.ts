import { getTaskContext, runAttempt } from "otel-taskflow";
import { describe, expect, test } from "vitest";
import { createTasks } from "../support/tasks.js";
import { startTelemetry } from "../support/telemetry.js";
import type { LogLine } from "./collected-lines.js";

/** A logger set up the way the docs say. */
export interface SetUpLogger {
  info(message: string): void;
  /** The first `count` lines it wrote. */
  lines(count: number): Promise<readonly LogLine[]>;
}

const charge = { funcName: "charge", taskId: "id-1", attempt: 2, tags: { plan: "enterprise" } };

/** What every logger does that was told about tasks. */
export function describeTaskFields(title: string, create: () => SetUpLogger): void {
  describe(title, () => {
    test("a line in a task names the task, the attempt, the tags and the attempt's span", async () => {
      const telemetry = startTelemetry();
      const logger = create();
      await runAttempt(charge, () => logger.info("charging"));
      const [line] = await logger.lines(1);
      const { traceId, spanId } = telemetry.span("process charge").spanContext();
      expect(line).toMatchObject({ trace_id: traceId, span_id: spanId, trace_flags: "01" });
      expect(line).toMatchObject({ task_id: "id-1", task_name: "charge", task_attempt: 2 });
      expect(line?.task_tags).toEqual({ plan: "enterprise" });
    });

    test("a line under a span of the user's own names that span and the task", async () => {
      const telemetry = startTelemetry();
      const logger = create();
      await runAttempt(charge, () =>
        telemetry.provider.getTracer("test").startActiveSpan("query", (span) => {
          logger.info("querying");
          span.end();
        }),
      );
      const [line] = await logger.lines(1);
      expect(line).toMatchObject({ span_id: telemetry.span("query").spanContext().spanId, task_id: "id-1" });
    });

    test("a line outside a task has none of it", async () => {
      startTelemetry();
      const logger = create();
      logger.info("before");
      await runAttempt(charge, () => logger.info("inside"));
      logger.info("after");
      const lines = await logger.lines(3);
      const ownFields = (line: LogLine): string[] => Object.keys(line).filter((key) => /^(task|trace|span)_/.test(key));
      expect(lines.map((line) => ownFields(line).length)).toEqual([0, 7, 0]);
    });

    test("each line of 100 concurrent tasks names its own task, attempt and span", async () => {
      const telemetry = startTelemetry();
      const logger = create();
      const tasks = createTasks();
      const task = tasks.task({ name: "work", retries: 1, delay: 1 }, async (_number: number) => {
        await helper(logger, 3);
        if (getTaskContext()?.attempt === 0) throw new Error("once more");
      });
      await Promise.all(Array.from({ length: 100 }, (_, number) => tasks.addTask(task, [number])));
      await tasks.idle();
      const spans = telemetry.named("process work");
      const written = (await logger.lines(600)).map((line) => `${line.msg ?? line.message} ${identity(line)}`);
      expect(new Set(written).size).toBe(200);
      expect(new Set(written)).toEqual(new Set(spans.map((span) => `${own(span.attributes)} ${ofSpan(span)}`)));
    });
  });
}

// Says at each level, across an await, whose line this is by what it reads itself.
async function helper(logger: SetUpLogger, depth: number): Promise<void> {
  const task = getTaskContext();
  logger.info(own({ "task.id": task?.taskId, "task.attempt": task?.attempt }));
  await Promise.resolve();
  if (depth > 1) await helper(logger, depth - 1);
}

function own(attributes: Record<string, unknown>): string {
  return `${attributes["task.id"]} ${attributes["task.attempt"]}`;
}

function identity(line: LogLine): string {
  return [line.task_id, line.task_attempt, line.trace_id, line.span_id].join(" ");
}

interface SomeSpan {
  readonly attributes: Record<string, unknown>;
  spanContext(): { traceId: string; spanId: string };
}

function ofSpan(span: SomeSpan): string {
  const { traceId, spanId } = span.spanContext();
  return `${own(span.attributes)} ${traceId} ${spanId}`;
}
