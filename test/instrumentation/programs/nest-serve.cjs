// A NestJS application with processors in each form that @nestjs/bullmq has, and nestjs-cls beside it. Adds jobs in one
// trace, and prints what each processor, what it calls, and each listener knew.
require("reflect-metadata");
const { join } = require("node:path");
const { trace } = require("@opentelemetry/api");

exports.serve = async function serve({ nestCommon, nestCore, nestBullmq, nestCls, bullmq, getTaskContext }) {
  const { Inject, Module, Scope } = nestCommon;
  const { BullModule, getQueueToken, OnWorkerEvent, Processor, WorkerHost } = nestBullmq;
  const { ClsModule, ClsService, UseCls } = nestCls;
  const connection = JSON.parse(process.env.CONNECTION);
  const names = ["mails", "scoped", "files"].map((name) => `${name}-${crypto.randomUUID()}`);
  const [mails, scoped, files] = names;
  const seen = [];
  const heard = [];
  const ran = [];

  class Mailer {
    constructor(cls) {
      this.cls = cls;
    }

    async send(job) {
      await null;
      const { taskId, attempt } = getTaskContext() ?? {};
      seen.push({ job: job.name, isTask: taskId === job.id, attempt, ofStore: this.cls.get("job") ?? null });
    }
  }
  Inject(ClsService)(Mailer, undefined, 0);

  class MailProcessor extends WorkerHost {
    constructor(mailer) {
      super();
      this.mailer = mailer;
    }

    async process(job) {
      switch (job.name) {
        case "welcome":
          return await this.mailer.send(job);
        case "digest":
          await this.mailer.send(job);
          if (job.attemptsMade === 0) throw new Error("the mail server is down");
          return 1;
        default:
          throw new Error("no such job");
      }
    }

    onFailed(job) {
      heard.push({ job: job.name, event: "failed", isTask: getTaskContext()?.taskId === job.id });
    }

    onCompleted(job) {
      heard.push({ job: job.name, event: "completed", isTask: getTaskContext()?.taskId === job.id });
    }
  }
  const methods = MailProcessor.prototype;
  const decorate = (key, decorator) => {
    const descriptor = Object.getOwnPropertyDescriptor(methods, key);
    Object.defineProperty(methods, key, decorator(methods, key, descriptor) ?? descriptor);
  };
  Inject(Mailer)(MailProcessor, undefined, 0);
  Processor(mails, { concurrency: 5 })(MailProcessor);
  decorate("process", UseCls({ setup: (cls, job) => cls.set("job", job.name) }));
  decorate("onFailed", OnWorkerEvent("failed"));
  decorate("onCompleted", OnWorkerEvent("completed"));

  class ScopedProcessor extends WorkerHost {
    constructor(request, mailer) {
      super();
      this.request = request;
      this.mailer = mailer;
    }

    async process(job) {
      await this.mailer.send(job);
      return this.request === job && job instanceof bullmq.Job;
    }
  }
  Inject(nestCore.REQUEST)(ScopedProcessor, undefined, 0);
  Inject(Mailer)(ScopedProcessor, undefined, 1);
  Processor({ name: scoped, scope: Scope.REQUEST })(ScopedProcessor);

  // a worker class of the service's own
  BullModule.workerClass = class extends bullmq.Worker {
    constructor(queue, processor, opts) {
      const noted = async (job, ...rest) => {
        ran.push(job.name);
        return await processor(job, ...rest);
      };
      super(queue, typeof processor === "function" ? noted : processor, opts);
    }
  };

  class AppModule {}
  const own = [Mailer, MailProcessor, ScopedProcessor];
  const queues = [
    { name: mails, defaultJobOptions: { attempts: 2 } },
    { name: scoped },
    { name: files, processors: [join(__dirname, "processor.mjs")] },
  ];
  const imports = [
    ClsModule.forRoot({ global: true }),
    BullModule.forRoot({ connection }),
    BullModule.registerQueue(...queues),
  ];
  Module({ imports, providers: own })(AppModule);
  const app = await nestCore.NestFactory.createApplicationContext(AppModule, { logger: ["error"] });

  const queueOf = (name) => app.get(getQueueToken(name), { strict: false });
  const events = names.map((name) => new bullmq.QueueEvents(name, { connection }));
  await Promise.all(events.map((one) => one.waitUntilReady()));
  const jobs = [
    [0, "welcome"],
    [0, "digest"],
    [1, "scoped"],
    [2, "file"],
  ];
  const { values, traceId } = await trace.getTracer("service").startActiveSpan("POST /orders", async (span) => {
    const added = [];
    for (const [at, name] of jobs) added.push([at, await queueOf(names[at]).add(name, {})]);
    span.end();
    const finished = added.map(([at, job]) => job.waitUntilFinished(events[at], 50_000));
    return { values: await Promise.all(finished), traceId: span.spanContext().traceId };
  });
  await Promise.all(events.map((one) => one.close()));
  await app.close();
  for (const name of names) {
    const queue = new bullmq.Queue(name, { connection });
    await queue.obliterate({ force: true });
    await queue.close();
  }
  const inTrace = (span) => span.traceId === traceId;
  const spans = globalThis.otel.spans().map((span) => ({ ...span, inTrace: inTrace(span) }));
  console.log(JSON.stringify({ seen, heard, ran, values, spans }));
  process.exit(0);
};
