import { describe } from "vitest";
import { describeLoggerExample } from "./logger-example.js";

describe("examples/bunyan.ts", () => describeLoggerExample("examples/bunyan.ts"));
