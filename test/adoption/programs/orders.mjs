// With ROLE=producer, adds the jobs FROM to TO, each in a request of its own, and prints their traces; the last odd ones run
// first. Else it runs jobs until it has run UNTIL of them, refuses whatever it does not know, and prints what it ran.
import { trace } from "@opentelemetry/api";

const { ROLE, FROM, TO, UNTIL } = process.env;

/** `add` adds a job, and `run` has a handler run jobs until what it returns is called. */
export async function serve({ add, run }) {
  console.log(JSON.stringify(ROLE === "producer" ? await produce(add) : await work(run)));
}

async function produce(add) {
  const added = [];
  for (let n = Number(FROM); n < Number(TO); n += 1) {
    const job = await trace.getTracer("shop").startActiveSpan("request", { root: true }, async (span) => {
      const id = await add({ n }, n % 2 === 1 ? n : 0);
      span.end();
      return [String(id), span.spanContext().traceId];
    });
    added.push(job);
  }
  return added;
}

async function work(run) {
  const ran = [];
  const refused = [];
  const stop = await run((id, data) => (Object.keys(data).join() === "n" ? ran : refused).push(String(id)));
  while (ran.length + refused.length < Number(UNTIL)) await new Promise((resolve) => setTimeout(resolve, 20));
  await stop();
  // pg-boss has spans of its own, of the same name
  const spans = globalThis.otel
    .spans()
    .filter(({ name, attempt }) => name === "process orders" && attempt !== undefined);
  return { ran, refused, traceIds: spans.map(({ traceId }) => traceId) };
}
