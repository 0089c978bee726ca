import { createServer, type Server, type Socket } from "node:net";
import { isTaskStoreError, type TaskManager } from "otel-taskflow";
import { pgBossEngine } from "otel-taskflow/pg-boss";
import { type ConstructorOptions, PgBoss } from "pg-boss";
import { afterAll, describe, expect, onTestFinished, type TestContext, test, vi } from "vitest";
import { freePort } from "../../support/server-process.js";
import { postgresMissing, startPostgres } from "../../support/servers.js";
import { createTasks, deferred } from "../../support/tasks.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { type Backend, FAST, postgresBackend, query } from "./backends.js";

const PATIENT = { timeout: 30_000, interval: 100 };
const backend = await postgresBackend();
afterAll(() => backend.close());

if (backend.unavailable !== undefined) describeUnavailable(backend.title, backend.unavailable);
else describe("a pg-boss engine whose store is not what it was", describeRecovery);

function describeRecovery(): void {
  test.skipIf(postgresMissing() !== undefined)(
    "goes on after its database was dropped and made again, in workers and producers",
    async () => {
      const server = await startPostgres();
      onTestFinished(() => server.stop());
      const own = await postgresBackend(server);
      const { worker, producer, ran } = await twoProcesses(own);
      const admin = server.url.replace(/test$/, "postgres");
      await query(admin, "DROP DATABASE test WITH (FORCE)");
      await vi.waitFor(() => expect(adds(producer)).rejects.toSatisfy(isTaskStoreError), PATIENT);
      await query(admin, "CREATE DATABASE test");
      await runsAgain(worker, producer, ran);
    },
  );

  test("goes on after its schema was dropped", async () => {
    const own = await postgresBackend();
    onTestFinished(() => own.close());
    const { worker, producer, ran } = await twoProcesses(own);
    await query(own.url ?? "", `DROP SCHEMA ${own.connection.schema} CASCADE`);
    await runsAgain(worker, producer, ran);
  });

  test("goes on after its queue was deleted: the task that finds that out is stored", async () => {
    const { worker, producer, ran, queue } = await twoProcesses(backend);
    const beside = new PgBoss(backend.connection);
    await beside.start();
    await beside.deleteQueue(queue);
    await beside.stop({ graceful: false });
    await producer.addTask(producer.task("more", () => {}));
    await runsAgain(worker, producer, ran);
  });

  test("says that it cannot make a database's tables again for an instance that others use, and goes on when they do", async () => {
    const own = await postgresBackend();
    onTestFinished(() => own.close());
    const boss = new PgBoss(own.connection);
    boss.on("error", () => {});
    onTestFinished(() => boss.stop({ graceful: false }));
    const notices: string[] = [];
    const onNotice = ({ kind }: { kind: string }): void => void notices.push(kind);
    const tasks = createTasks({ engine: pgBossEngine({ boss, shared: true, pollingIntervalSeconds: 0.1 }), onNotice });
    const ran = deferred();
    const task = tasks.task("task", () => ran.resolve());
    await tasks.work();
    await query(own.url ?? "", `DROP SCHEMA ${own.connection.schema} CASCADE`);
    await vi.waitFor(() => expect(notices).toEqual(["store"]), PATIENT);
    await expect(tasks.addTask(task)).rejects.toSatisfy(isTaskStoreError);
    await boss.stop({ graceful: false });
    await boss.start();
    await vi.waitFor(() => tasks.addTask(task), PATIENT);
    await ran.promise;
  });

  test("leaves nothing of a start behind that broke off half-way", async () => {
    const boss = new PgBoss(backend.connection);
    const [start, stop] = [boss.start.bind(boss), vi.spyOn(boss, "stop")];
    vi.spyOn(boss, "start").mockImplementationOnce(async () => {
      await start();
      throw Object.assign(new Error("terminating connection"), { code: "57P01" });
    });
    const tasks = createTasks({ engine: pgBossEngine({ boss, queue: `half-${crypto.randomUUID()}` }) });
    await expect(tasks.work()).rejects.toSatisfy(isTaskStoreError);
    expect(stop).toHaveBeenCalledExactlyOnceWith({ graceful: false });
    await tasks.work();
    await tasks.addTask(tasks.task("task", () => {}));
    await tasks.idle();
  });

  test("looks for tasks again where a look gets no answer, and runs what a late answer brings", async () => {
    const boss = new PgBoss(backend.connection);
    const fetch = boss.fetch.bind(boss);
    const [silent, late] = [deferred(), deferred()];
    const looks = vi.spyOn(boss, "fetch").mockImplementationOnce(async (...args) => {
      silent.resolve();
      await late.promise;
      return await fetch(...(args as Parameters<typeof fetch>));
    });
    const engine = pgBossEngine({ boss, queue: "late", pollingIntervalSeconds: 0.1, concurrency: 1 });
    const notices: string[] = [];
    const tasks = createTasks({ engine, onNotice: ({ kind }) => void notices.push(kind) });
    const gate = deferred();
    const runs = vi.fn(() => gate.promise);
    await tasks.work();
    await silent.promise;
    const task = tasks.task("task", runs);
    await tasks.addTask(task);
    await vi.waitFor(() => expect(runs).toHaveBeenCalledTimes(1), PATIENT);
    expect(notices).toContain("store");
    await tasks.addTask(task);
    const givenBack = vi.spyOn(boss, "fail");
    late.resolve();
    await vi.waitFor(() => expect(looks.mock.settledResults[0]?.type).toBe("fulfilled"), PATIENT);
    await vi.waitFor(() => expect(givenBack).toHaveBeenCalled(), PATIENT);
    expect(runs).toHaveBeenCalledTimes(1);
    gate.resolve();
    await vi.waitFor(() => expect(runs).toHaveBeenCalledTimes(2), PATIENT);
    await tasks.idle();
    expect(runs).toHaveBeenCalledTimes(2);
  });

  test("starts pg-boss no more once it is closed", async () => {
    const boss = new PgBoss(backend.connection);
    const start = vi.spyOn(boss, "start");
    const host = { run: async () => {}, storeLost() {}, storeBack() {}, carrierOf: () => ({}), receive: vi.fn() };
    const open = pgBossEngine({ boss }).open(host);
    await open.close();
    await expect(open.waiting()).rejects.toSatisfy(isTaskStoreError);
    expect(start).not.toHaveBeenCalled();
  });

  test("shuts down in time where the server takes connections and never answers", async (context) => {
    const connection = await silentServer(context);
    const boss = new PgBoss(connection);
    const stop = vi.spyOn(boss, "stop");
    const tasks = createTasks({ engine: pgBossEngine({ boss }) });
    const adding = tasks.addTask(tasks.task("task", () => {}));
    const refused = expect(adding).rejects.toMatchObject({ code: "TASK_STORE", stored: false });
    void tasks.work().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 500));
    const began = Date.now();
    await tasks.shutdown({ timeout: 1_000 });
    expect(Date.now() - began).toBeLessThan(5_000);
    await refused;
    await vi.waitFor(() => expect(stop.mock.settledResults[0]?.type).toBe("fulfilled"), PATIENT);
  });
}

function adds(tasks: TaskManager): Promise<string> {
  return tasks.addTask(tasks.task(`task ${crypto.randomUUID()}`, () => {}));
}

interface TwoProcesses {
  readonly worker: TaskManager;
  readonly producer: TaskManager;
  readonly ran: unknown[];
  readonly queue: string;
}

/** A worker and a producer with a pg-boss each, which have run a task. */
async function twoProcesses({ connection }: Backend): Promise<TwoProcesses> {
  const queue = `tasks-${crypto.randomUUID()}`;
  const manager = (): TaskManager => {
    const boss = new PgBoss(connection);
    return createTasks({ engine: pgBossEngine({ boss, queue, pollingIntervalSeconds: 0.1 }) });
  };
  const [worker, producer] = [manager(), manager()];
  const ran: unknown[] = [];
  worker.task("task", (n: unknown) => void ran.push(n));
  const task = producer.task("task", (_n: unknown) => {});
  await worker.work();
  await producer.addTask(task, ["before"]);
  await vi.waitFor(() => expect(ran).toEqual(["before"]), PATIENT);
  return { worker, producer, ran, queue };
}

/** Adds a task as soon as that can be, and waits until it has run. */
async function runsAgain(worker: TaskManager, producer: TaskManager, ran: unknown[]): Promise<void> {
  const task = producer.task("after", () => {});
  worker.task("after", () => void ran.push("after"));
  await vi.waitFor(() => producer.addTask(task), PATIENT);
  await vi.waitFor(() => expect(ran).toEqual(["before", "after"]), PATIENT);
}

async function silentServer({ onTestFinished }: TestContext): Promise<ConstructorOptions> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => void sockets.add(socket.on("error", () => {})));
  const port = await freePort();
  await new Promise<void>((resolve) => void server.listen(port, "127.0.0.1", resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { ...FAST, connectionString: `postgres://nobody@127.0.0.1:${port}/test` };
}
