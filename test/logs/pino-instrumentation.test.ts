import { createRequire } from "node:module";
import { PinoInstrumentation } from "@opentelemetry/instrumentation-pino";
import { taskLogFields } from "otel-taskflow";
import type * as Pino from "pino";
import { collectLines } from "./collected-lines.js";
import { describeTaskFields, type SetUpLogger } from "./task-fields-contract.js";

new PinoInstrumentation({
  disableLogSending: true,
  logHook: (_span, record) => Object.assign(record, taskLogFields()),
});
// after the instrumentation, and by `require`, which it patches
const { pino } = createRequire(import.meta.url)("pino") as typeof Pino;

function create(options: Pino.LoggerOptions): SetUpLogger {
  const { stream, first } = collectLines();
  const logger = pino(options, stream);
  return { info: (message) => logger.info(message), lines: first };
}

describeTaskFields("pino, instrumented, with taskLogFields in the logHook", () => create({}));
describeTaskFields("pino, instrumented, with `mixin: taskLogFields` too", () => create({ mixin: taskLogFields }));
