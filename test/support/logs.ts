import * as api from "@opentelemetry/api";
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from "@opentelemetry/sdk-logs";
import { onTestFinished } from "vitest";

interface LogsApi {
  setGlobalLoggerProvider(provider: LoggerProvider): unknown;
  disable(): void;
}

/** Registers a real logs SDK globally for the running test; returns its exporter. */
export async function startLogs(): Promise<InMemoryLogRecordExporter> {
  const exporter = new InMemoryLogRecordExporter();
  const provider = new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter })] });
  const logs = await logsApi();
  logs.setGlobalLoggerProvider(provider);
  onTestFinished(async () => {
    logs.disable();
    await provider.shutdown();
  });
  return exporter;
}

// From @opentelemetry/api 1.10 on the logs API is part of it; before, it is a package of its own.
async function logsApi(): Promise<LogsApi> {
  if ("logs" in api) return api.logs as LogsApi;
  const separate = "@opentelemetry/api-logs";
  return (await import(/* @vite-ignore */ separate)).logs;
}
