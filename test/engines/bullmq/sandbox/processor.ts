import "./telemetry.js";
import { getTaskContext, NonRetryableError, taskLog } from "otel-taskflow";
import { withTask } from "otel-taskflow/bullmq";

interface SandboxedJob {
  readonly name: string;
  readonly data: unknown;
}

/** What a job's name asks for. */
const WAYS: Record<string, (job: SandboxedJob, signal: AbortSignal | undefined) => unknown> = {
  looks: ({ data }) => {
    taskLog("looking");
    const { signal: _, ...context } = getTaskContext() ?? {};
    return { ...context, data };
  },
  "gives-up": () => {
    throw new NonRetryableError("card expired");
  },
  fails: () => {
    throw new TypeError("no");
  },
  "throws-nothing": () => {
    throw undefined;
  },
  "is-cancelled": async (_job, signal) => {
    const task = getTaskContext();
    taskLog("started");
    await new Promise((resolve) => signal?.addEventListener("abort", resolve));
    return { aborted: task?.signal.aborted };
  },
};

// biome-ignore lint/style/noDefaultExport: where BullMQ looks for a sandbox's processor
export default withTask(async (job: SandboxedJob, _token?: string, signal?: AbortSignal) =>
  WAYS[job.name]?.(job, signal),
);
