import { describe } from "vitest";
import { describeLoggerExample } from "./logger-example.js";

describe("examples/winston.ts", () => describeLoggerExample("examples/winston.ts"));
