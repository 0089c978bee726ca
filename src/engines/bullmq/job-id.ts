/** Begins the ids of jobs whose task's own id cannot be theirs. */
const ESCAPED = "id=";
/** Letters and hyphens alone, such as "active" and "stalled-check": BullMQ names the keys of a queue so. */
const LIKE_A_KEY = /^[A-Za-z-]+$/;

/**
 * The id of a task's job: the task's own, unless BullMQ would refuse it, take it for a number of its own, or keep the
 * job where a key of the queue is.
 */
export function jobIdOf(taskId: string): string {
  const free = isAcceptable(taskId) && !LIKE_A_KEY.test(taskId) && Number.isNaN(Number(taskId));
  return free ? taskId : ESCAPED + taskId.replaceAll("%", "%25").replaceAll(":", "%3A");
}

/** Where a task's job may be: under {@link jobIdOf}, or under the id that an earlier release gave it. */
export function jobIdsOf(taskId: string): readonly string[] {
  const id = jobIdOf(taskId);
  return id !== taskId && isAcceptable(taskId) ? [id, taskId] : [id];
}

/** The id of the task of a job, which another producer may have named. */
export function taskIdOf(jobId: string): string {
  if (!jobId.startsWith(ESCAPED)) return jobId;
  return jobId.slice(ESCAPED.length).replaceAll("%3A", ":").replaceAll("%25", "%");
}

// What BullMQ itself refuses as an id, and what would be taken for an escaped one.
function isAcceptable(taskId: string): boolean {
  const isInteger = String(Number.parseInt(taskId, 10)) === taskId;
  return !taskId.includes(":") && !isInteger && !taskId.startsWith(ESCAPED);
}
