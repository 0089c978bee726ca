import { context, propagation, trace } from "@opentelemetry/api";
import { getTaskContext } from "otel-taskflow";
import { withCarrier } from "otel-taskflow/pg-boss";
import { expect } from "vitest";
import type { Section } from "../rig.js";

/** Context, spans, tags and baggage of a job. */
export const traceCases: Section = (test, byHand) => {
  test("the handler has a task context: the job's id, the queue, attempt and tags", async ({ rig }) => {
    const seen: unknown[] = [];
    await rig.work(() => {
      const { taskId, funcName, attempt, maxAttempts, tags } = getTaskContext() ?? {};
      seen.push([taskId, funcName, attempt, maxAttempts, { ...tags }]);
    });
    const id = await rig.send({}, { tags: { plan: "pro" }, retryLimit: 3 });
    await rig.job(id, "completed");
    expect(seen).toEqual([[id, rig.queue, 0, 4, { plan: "pro" }]]);
  });

  test("the attempt is a child of the enqueue span, which is the caller's", async ({ rig }) => {
    await rig.work(function sendEmail() {});
    const request = rig.provider.getTracer("test").startSpan("request");
    const id = await context.with(trace.setSpan(context.active(), request), () =>
      rig.send({}, { tags: { plan: "pro" } }),
    );
    const [attempt] = await rig.attempts(1);
    const enqueued = rig.span(`enqueue ${rig.queue}`);
    expect(enqueued.parentSpanContext?.spanId).toBe(request.spanContext().spanId);
    expect(attempt?.parentSpanContext?.spanId).toBe(enqueued.spanContext().spanId);
    const both = {
      ...{ "task.id": id, "task.name": rig.queue, "task.engine": "pg-boss", "task.tag.plan": "pro" },
      ...{ "messaging.system": "pg-boss", "messaging.destination.name": rig.queue, "messaging.message.id": id },
    };
    expect(enqueued.attributes).toMatchObject(both);
    const own = { "task.attempt": 0, "task.max_attempts": 1, "code.function.name": "sendEmail" };
    expect(attempt?.attributes).toMatchObject({ ...both, ...own, "task.outcome": "success" });
  });

  test("relation link: a new trace, linked; baggage and tags still arrive", async ({ rig }) => {
    const seen: unknown[] = [];
    await rig.work(() => void seen.push(propagation.getActiveBaggage()?.getAllEntries()));
    const baggage = propagation.createBaggage({ tenant: { value: "t1" } });
    await context.with(propagation.setBaggage(context.active(), baggage), () =>
      rig.send({}, { relation: "link", tags: { plan: "pro" } }),
    );
    const [attempt] = await rig.attempts(1);
    const enqueued = rig.span(`enqueue ${rig.queue}`).spanContext();
    expect(attempt?.parentSpanContext).toBeUndefined();
    expect(attempt?.links).toMatchObject([
      { context: { spanId: enqueued.spanId }, attributes: { "task.link": "enqueue" } },
    ]);
    expect(seen).toEqual([
      [
        ["task.tag.plan", { value: "pro" }],
        ["tenant", { value: "t1" }],
      ],
    ]);
  });

  byHand("baggage: false keeps the tags, out of the baggage", async ({ rig }) => {
    const seen: unknown[] = [];
    const look = (): unknown => seen.push({ ...getTaskContext()?.tags }, propagation.getActiveBaggage());
    await rig.work(look, { baggage: false } as object);
    await rig.job(await rig.send({}, { tags: { plan: "pro" }, baggage: false }), "completed");
    expect(seen).toEqual([{ plan: "pro" }, undefined]);
  });

  test("a job of a plain boss.send has a context too, in a trace of its own", async ({ rig }) => {
    const seen: unknown[] = [];
    await rig.work(({ data }) => void seen.push(data, getTaskContext()?.taskId, { ...getTaskContext()?.tags }));
    const id = await rig.sendElsewhere({ order: 7 });
    await rig.job(id, "completed");
    expect(seen).toEqual([{ order: 7 }, id, {}]);
    const [attempt] = await rig.attempts(1);
    expect(attempt?.attributes).toMatchObject({ "task.id": id, "task.name": rig.queue, "task.attempt": 0 });
    expect([attempt?.parentSpanContext, attempt?.links]).toEqual([undefined, []]);
  });

  test("a job belongs to no request that happened to start the worker", async ({ rig }) => {
    const request = rig.provider.getTracer("test").startSpan("request");
    await context.with(trace.setSpan(context.active(), request), () => rig.work(() => {}));
    await rig.sendElsewhere({});
    expect((await rig.attempts(1))[0]?.parentSpanContext).toBeUndefined();
  });

  const damaged: readonly (readonly [what: string, envelope: unknown])[] = [
    ["text", "text"],
    ["a number", 5],
    ["null", null],
    ["an array", []],
    ["a number as carrier", { carrier: 5 }],
    ["a carrier of no strings", { carrier: { traceparent: 7, "otel-taskflow": "{" } }],
  ];

  test.for(damaged)(
    "an envelope that is %s is data like any other, and the job runs",
    async ([, envelope], { rig }) => {
      const seen: unknown[] = [];
      await rig.work(({ data }) => void seen.push(data, getTaskContext()?.taskId, { ...getTaskContext()?.tags }));
      const data = { order: 7, "otel-taskflow": envelope };
      const id = await rig.sendElsewhere(data);
      await rig.job(id, "completed");
      expect(seen).toEqual([data, id, {}]);
      expect((await rig.attempts(1))[0]?.attributes["task.outcome"]).toBe("success");
    },
  );

  test("a carrier of this job that claims another name and number is still the job's", async ({ rig }) => {
    const id = crypto.randomUUID();
    const claim = { v: 1, id, name: "other", max: 99, attempt: 5, tags: { plan: "pro" } };
    const carrier = { "otel-taskflow": JSON.stringify(claim), baggage: "task.tag.plan=enterprise" };
    await rig.work(() => {});
    await rig.sendElsewhere(withCarrier({}, carrier), { id });
    const [attempt] = await rig.attempts(1);
    const expected = { "task.id": id, "task.name": rig.queue, "task.max_attempts": 1, "task.tag.plan": "pro" };
    expect(attempt?.attributes).toMatchObject({ ...expected, "task.attempt": 0 });
  });

  const claim = (id: string) => {
    const own = JSON.stringify({ v: 1, id, name: "n", tags: { role: "admin" } });
    return { "otel-taskflow": own, traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01` };
  };
  const bodies: readonly (readonly [what: string, body: object])[] = [
    ["data beside data", { amount: 1, "otel-taskflow": { carrier: claim("x"), data: { amount: 1e6 } } }],
    ["data alone", { "otel-taskflow": { carrier: claim("x"), data: { amount: 1e6 } } }],
    ["a carrier", { amount: 1, "otel-taskflow": { carrier: claim(crypto.randomUUID()) } }],
  ];

  test.for(bodies)(
    "a request's body that looks like an envelope with %s is data, whoever sends it",
    async ([, body], { rig }) => {
      const seen: unknown[] = [];
      await rig.work(({ data }) => void seen.push([data, { ...getTaskContext()?.tags }]));
      await rig.job(await rig.sendElsewhere(body), "completed");
      await rig.job(await rig.send(body, { tags: { own: "1" } }), "completed");
      expect(seen).toEqual([
        [body, {}],
        [body, { own: "1" }],
      ]);
      const [foreign] = await rig.attempts(2);
      expect(foreign?.parentSpanContext).toBeUndefined();
    },
  );
};
