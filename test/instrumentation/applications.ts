import { afterAll, beforeAll, describe } from "vitest";
import { redisUrl } from "../support/servers.js";
import { describeUnavailable } from "../support/unavailable.js";
import { type Application, createApplication } from "./application.js";

const { url, unavailable } = await redisUrl();

/**
 * The same cases with an application for every version of BullMQ, on Redis; its programs find Redis by CONNECTION.
 * `dependents`: see {@link createApplication}.
 */
export function describeApplications(
  what: string,
  cases: (open: () => Application) => void,
  dependents: readonly string[] = [],
): void {
  if (url === undefined) {
    describeUnavailable(what, unavailable);
    return;
  }
  const { hostname: host, port } = new URL(url);
  const CONNECTION = JSON.stringify({ host, port: Number(port || 6379), maxRetriesPerRequest: null });
  describe.each([
    ["BullMQ 5", "bullmq5"],
    ["BullMQ 6", "bullmq"],
  ])(`with %s, ${what}`, (_title, bullmq) => {
    let application: Application;
    beforeAll(async () => {
      const copied = Object.fromEntries(dependents.map((name) => [name, name]));
      application = await createApplication({ ...copied, bullmq }, { CONNECTION });
    });
    afterAll(() => application.remove());
    cases(() => application);
  });
}
