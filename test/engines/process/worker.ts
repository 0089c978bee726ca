// Runs what is stored: "remote" ends at once, "hangs" never.
import { TaskManager } from "otel-taskflow";
import { expectExit, lookAround, openSession, print, printSpans } from "./session.js";

const { settings, engine, telemetry } = await openSession();
const tasks = new TaskManager({ engine });

tasks.task({ name: "remote", retries: 1 }, (...args: unknown[]) => print({ kind: "ran", sighting: lookAround(args) }));
tasks.task("hangs", (...args: unknown[]) => {
  print({ kind: "ran", sighting: lookAround(args) });
  return new Promise(() => {});
});

await tasks.work();
if (!settings.stays) {
  await tasks.idle();
  await tasks.shutdown();
  expectExit();
  printSpans(telemetry);
}
