import { quietly, warn } from "../../core/guard.js";
import { pause } from "./pause.js";

/** Together shorter than graphile-worker's first wait of e¹ seconds, before it runs a failed job again. */
const WAITS_MS: readonly number[] = [10, 20, 40, 80, 160, 320, 640, 1_280];

/**
 * Marks a job that is just failing as failed for good, as soon as graphile-worker has let go of it: only then may
 * that be. `fail` resolves to the jobs it marked. Never rejects.
 */
export async function failForGood(jobId: string, fail: () => Promise<readonly unknown[]>): Promise<void> {
  for (const wait of WAITS_MS) {
    await pause(wait);
    if ((await quietly(`failing job ${jobId} for good`, fail, [])).length > 0) return;
  }
  warn(`job ${jobId} could not be failed for good: graphile-worker will run it again`);
}
