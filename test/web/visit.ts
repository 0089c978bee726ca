import { Agent, type ClientRequest, get, type IncomingMessage } from "node:http";
import { onTestFinished } from "vitest";

/** A request under way. */
export interface Visit {
  /** The answer, once it has begun. */
  readonly response: Promise<IncomingMessage>;
  /** Goes away, whatever the server is doing. */
  leave(): void;
  /** As {@link leave}, but the way a crashed client goes. */
  reset(): void;
}

/** Asks over a connection of its own, or of an agent. */
export function visit(url: string, agent: Agent | false = false): Visit {
  const request = get(url, { agent });
  const response = responseTo(request);
  response.catch(() => {}); // a visitor who has left waits for nothing
  return { response, leave: () => void request.destroy(), reset: () => void request.socket?.resetAndDestroy() };
}

/** The pieces of an answer as they come. */
export async function* piecesOf({ response }: Visit): AsyncGenerator<string> {
  for await (const piece of (await response).setEncoding("utf8")) yield piece;
}

/** One connection for everything that is asked through it, one after the other. */
export function oneConnection(): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  return agent;
}

function responseTo(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once("response", resolve).on("error", reject);
  });
}
