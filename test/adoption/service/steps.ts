import { channel } from "node:diagnostics_channel";

const steps = channel("service.step");

/** Tells whoever listens which job is at work, and where. */
export function reach(job: string, id: string | undefined, where: "handler" | "helper" | "listener"): void {
  steps.publish({ job, id, where });
}
