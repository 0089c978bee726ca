// Enqueues one task called "remote" within a request, and ends.
import { context, propagation } from "@opentelemetry/api";
import { TaskManager } from "otel-taskflow";
import { expectExit, openSession, print, printSpans } from "./session.js";

const { engine, telemetry } = await openSession();
const tasks = new TaskManager({ engine });
const remote = tasks.task({ name: "remote", retries: 1 }, (_greeting: string) => {});
const baggage = propagation.createBaggage({ tenant: { value: "t1" } });

const add = (): Promise<string> => tasks.addTask(remote, ["hello"], { tags: { plan: "pro" } });
const addInTenant = (): Promise<string> => context.with(propagation.setBaggage(context.active(), baggage), add);
const request = (): Promise<string> | undefined =>
  telemetry?.provider.getTracer("test").startActiveSpan("request", async (span) => {
    const id = await addInTenant();
    span.end();
    return id;
  });
print({ kind: "enqueued", id: await (request() ?? addInTenant()) });
await tasks.shutdown();
expectExit();
printSpans(telemetry);
