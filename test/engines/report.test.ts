import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { type EngineReport, readReports, reportOf, writeReport } from "./report.js";

const report = (title: string): EngineReport => ({
  ...{ title, name: "memory", capabilities: { durable: false, granularity: 0 } },
  sections: [{ title: "context", passed: 7, failed: 0, skipped: 1 }],
});

test("reports are written to the folder ENGINE_REPORT names, and read by title", () => {
  const folder = mkdtempSync(join(tmpdir(), "otel-taskflow-report-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  vi.stubEnv("ENGINE_REPORT", join(folder, "new"));
  onTestFinished(() => void vi.unstubAllEnvs());
  const reports = ["a broker 5 on Redis", "a broker 6 on Redis"].map(report);
  for (const one of reports.toReversed()) writeReport(one);
  expect(readReports(join(folder, "new"))).toEqual(reports);
});

test("a section counts its cases by what became of them", () => {
  const passed = { mode: "run", result: { state: "pass" } };
  const failed = { mode: "run", result: { state: "fail" } };
  const tasks = [passed, { mode: "skip" }, failed, passed];
  expect(reportOf({ name: "cancel", tasks })).toEqual({ title: "cancel", passed: 2, failed: 1, skipped: 1 });
});
