/** Begins the ids of jobs whose task's own id BullMQ would not take. */
const ESCAPED = "id=";

/** The id of a task's job: the task's own, but for colons and what looks like an integer. */
export function jobIdOf(taskId: string): string {
  const acceptable = !taskId.includes(":") && !isInteger(taskId) && !taskId.startsWith(ESCAPED);
  return acceptable ? taskId : ESCAPED + taskId.replaceAll("%", "%25").replaceAll(":", "%3A");
}

/** The id of the task of a job, which another producer may have named. */
export function taskIdOf(jobId: string): string {
  if (!jobId.startsWith(ESCAPED)) return jobId;
  return jobId.slice(ESCAPED.length).replaceAll("%3A", ":").replaceAll("%25", "%");
}

// As BullMQ decides it.
function isInteger(text: string): boolean {
  return String(Number.parseInt(text, 10)) === text;
}
