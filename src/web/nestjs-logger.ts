import { ConsoleLogger, type LogLevel } from "@nestjs/common";
import { taskLogPrefix } from "../console/index.js";
import { taskLogFields } from "../core/log.js";

/** A line as Nest takes it, in each of its versions that write JSON. */
interface LineInfo {
  context: string;
  logLevel: LogLevel;
}

/** A line as Nest writes it. */
interface JsonLine {
  [key: string]: unknown;
  level: LogLevel;
  pid: number;
  timestamp: number;
  message: unknown;
  context?: string;
  stack?: unknown;
  error?: Record<string, unknown>;
  params?: Record<string, unknown>;
}

/**
 * Nest's `ConsoleLogger`, whose lines say which task they are written in: a text behind the context in brackets
 * (`[chargeCard task_attempt=1 task_id=… trace_id=…]`), and with `json: true`, which Nest has from version 11 on, what
 * `taskLogFields` gives as fields. It is given to the application in the place of Nest's own, as `logger` or by
 * `app.useLogger()`; a `new Logger("Mailer")` of any class then writes by it. Where no task and no span is active, a line
 * is Nest's own.
 */
export class TaskLogger extends ConsoleLogger {
  protected override formatContext(context: string): string {
    const prefix = taskLogPrefix();
    return super.formatContext(context) + (prefix === "" ? "" : `${prefix} `);
  }

  protected override getJsonLogObject(message: unknown, line: LineInfo): JsonLine {
    return { ...super.getJsonLogObject(message, line), ...taskLogFields() };
  }
}
