import type { makeWorkerUtils, WorkerUtils } from "graphile-worker";

/** The part of a `pg` client that is used here. */
interface Client {
  readonly connection: { readonly stream: { destroy(): void } };
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>;
}

/** A statement whose answer does not come, once; `meanwhile` is what happens as it should. */
export interface LostAnswer {
  readonly of: RegExp;
  /** The server is not even asked. */
  readonly unsent?: boolean;
  /** The connection breaks while the server carries it out. */
  readonly breaks?: boolean;
  meanwhile?(): Promise<unknown>;
}

/** graphile-worker's function of this name; the answers of some statements of its utilities are lost, in this order. */
export function losing(make: typeof makeWorkerUtils, ...lost: readonly LostAnswer[]): typeof makeWorkerUtils {
  const left = [...lost];
  const query = async (client: Client, text: string, values?: unknown[]): Promise<{ rows: unknown[] }> => {
    const [next] = left;
    const isLost = next?.of.test(text) === true;
    if (isLost) left.shift();
    if (isLost && next.breaks === true) {
      client.query(text, values).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 100));
      client.connection.stream.destroy();
      throw new Error("connection lost");
    }
    const answer = isLost && next.unsent === true ? { rows: [] } : await client.query(text, values);
    if (!isLost) return answer;
    await next.meanwhile?.();
    throw new Error("connection lost");
  };
  return asking(make, query);
}

/** graphile-worker's function of this name; something happens before its utilities send a statement, once. */
export function waiting(
  make: typeof makeWorkerUtils,
  of: RegExp,
  first: () => Promise<unknown>,
): typeof makeWorkerUtils {
  let isOver = false;
  return asking(make, async (client, text, values) => {
    if (!isOver && of.test(text)) {
      isOver = true;
      await first();
    }
    return await client.query(text, values);
  });
}

function asking(
  make: typeof makeWorkerUtils,
  query: (client: Client, text: string, values?: unknown[]) => Promise<{ rows: unknown[] }>,
): typeof makeWorkerUtils {
  return async (options) => {
    const utils = await make(options);
    const lend = utils.withPgClient.bind(utils) as unknown as (use: (client: Client) => unknown) => Promise<unknown>;
    const withPgClient = (use: (client: Client) => unknown): Promise<unknown> =>
      lend((client) => use({ ...client, query: (text, values) => query(client, text, values) }));
    return Object.assign(utils, { withPgClient }) as unknown as WorkerUtils;
  };
}
