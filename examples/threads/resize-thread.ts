import { parentPort } from "node:worker_threads";
import { type Job, runJob } from "./resize.js";
import { stopTelemetry } from "./telemetry.js";

parentPort?.on("message", async (message: Job | "stop") => {
  if (message !== "stop") return parentPort?.postMessage(await runJob(message));
  await stopTelemetry();
  parentPort?.close();
});
