import { describe } from "vitest";
import { describeLoggerExample } from "./logger-example.js";

describe("examples/pino.ts", () => describeLoggerExample("examples/pino.ts"));
