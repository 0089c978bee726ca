import { type Job, runJob } from "./resize.js";
import { stopTelemetry } from "./telemetry.js";

process.on("message", async (job: Job) => process.send?.(await runJob(job)));
process.on("disconnect", () => stopTelemetry());
