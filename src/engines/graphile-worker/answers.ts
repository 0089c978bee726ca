/** Is told whether the database answers, as often as it is known. */
export interface Answers {
  lost(error: unknown): void;
  back(): void;
}

/** What PostgreSQL says of itself when it cannot be worked with: connections, resources, shutdown. */
const NO_ANSWER = /^(08|53|57P)/;

/** Asks the database, and tells whether it answered: its refusal is an answer, too. Settles as `ask` does. */
export async function asked<T>(answers: Answers, ask: () => Promise<T>): Promise<T> {
  try {
    const answer = await ask();
    answers.back();
    return answer;
  } catch (error) {
    tellFailure(answers, error);
    throw error;
  }
}

/** Tells what a failed query says of the database. */
export function tellFailure(answers: Answers, error: unknown): void {
  const { severity, code } = Object(error) as { severity?: unknown; code?: unknown };
  // only what the server itself says has a severity
  if (severity !== undefined && !NO_ANSWER.test(String(code))) answers.back();
  else answers.lost(error);
}
