// Runs jobs until COUNT were seen, then a task of an engine, and prints what was seen and which spans there are.
const until = async (isDone) => {
  while (!isDone()) await new Promise((resolve) => setTimeout(resolve, 20));
};

/** `start` starts what runs jobs, each of which `see` is told of, and returns what ends it and a manager of tasks. */
export async function run(start) {
  const seen = [];
  const { tasks, stop } = await start((job) => void seen.push(job));
  await until(() => seen.length >= Number(process.env.COUNT));
  let isDone = false;
  const task = tasks.task({ name: "task" }, async () => {
    isDone = true;
  });
  await tasks.work();
  await tasks.addTask(task);
  await until(() => isDone);
  await tasks.shutdown();
  await stop();
  const names = globalThis.otel.spans().filter(({ isOurs }) => isOurs);
  console.log(JSON.stringify({ seen, names: names.map(({ name }) => name).sort() }));
  process.exit(0);
}
