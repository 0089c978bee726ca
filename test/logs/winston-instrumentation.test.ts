import { createRequire } from "node:module";
import { WinstonInstrumentation } from "@opentelemetry/instrumentation-winston";
import { taskLogFields } from "otel-taskflow";
import type * as Winston from "winston";
import { collectLines } from "./collected-lines.js";
import { describeTaskFields } from "./task-fields-contract.js";

new WinstonInstrumentation({
  disableLogSending: true,
  logHook: (_span, record) => Object.assign(record, taskLogFields()),
});
// after the instrumentation, and by `require`, which it patches
const winston = createRequire(import.meta.url)("winston") as typeof Winston;

describeTaskFields("winston, instrumented, with taskLogFields in the logHook", () => {
  const { stream, first } = collectLines();
  const logger = winston.createLogger({
    format: winston.format.json(),
    transports: new winston.transports.Stream({ stream }),
  });
  return { info: (message) => logger.info(message), lines: first };
});
