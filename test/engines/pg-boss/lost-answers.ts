import { DiagLogLevel, diag } from "@opentelemetry/api";
import type { PgBoss } from "pg-boss";

const STATEMENTS = ["complete", "fail", "retry", "update", "cancel", "findJobs"] as const;

type Statement = (typeof STATEMENTS)[number];

/** How a request fails: before the server had it, or after it has carried it out. */
export type Loss = "request" | "answer";

/** Fails the `nth` statement from now on, counted from one, as a connection that breaks does; returns what was sent. */
export function lose(boss: PgBoss, loss: Loss, nth: number): Statement[] {
  const sent: Statement[] = [];
  for (const name of STATEMENTS) {
    const original = boss[name].bind(boss) as (...args: unknown[]) => Promise<unknown>;
    const replaced = async (...args: unknown[]): Promise<unknown> => {
      const isLost = sent.push(name) === nth;
      const answer = isLost && loss === "request" ? undefined : await original(...args);
      if (isLost) throw new Error("Connection terminated unexpectedly");
      return answer;
    };
    Object.assign(boss, { [name]: replaced });
  }
  return sent;
}

/** Hears all that the library warns of, for tests that run at once; returns what was said of ends that are not stored. */
export function hearEndsNotStored(): (taskId: string) => string[] {
  const warnings: string[] = [];
  const hear = (...args: unknown[]): void => void warnings.push(args.map(String).join(" "));
  const logger = { error: hear, warn: hear, info: hear, debug: hear, verbose: hear };
  diag.setLogger(logger, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
  return (taskId) => warnings.filter((line) => line.includes(taskId) && line.includes("is not stored"));
}
