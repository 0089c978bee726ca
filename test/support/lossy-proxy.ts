import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A TCP proxy before a server, for the running test. */
export interface LossyProxy {
  readonly port: number;
  /** Breaks every connection. */
  cut(): void;
  /** The server's next answer but `skipped` is lost, and its connection with it. */
  loseAnswer(skipped?: number): void;
  /** No answer is lost any more; whether one was since {@link loseAnswer}. */
  keepAnswers(): boolean;
}

/** Forwards to a port of this machine. Bytes keep their order. */
export async function startProxy(target: number): Promise<LossyProxy> {
  const pairs = new Set<readonly Socket[]>();
  let left = Number.POSITIVE_INFINITY;
  const server = createServer((client) => {
    const behind = connect(target, "127.0.0.1");
    const pair = [client, behind];
    pairs.add(pair);
    const end = (): void => {
      pairs.delete(pair);
      for (const socket of pair) socket.destroy();
    };
    for (const socket of pair) socket.setNoDelay(true).on("error", end).on("close", end);
    client.on("data", (bytes) => behind.write(bytes));
    behind.on("data", (bytes) => {
      left -= 1;
      if (left === -1) end();
      else client.write(bytes);
    });
  });
  const cut = (): void => {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
  };
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => {
    server.close();
    cut();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has no port");
  return {
    ...{ port: address.port, cut },
    loseAnswer: (skipped = 0) => {
      left = skipped;
    },
    keepAnswers: () => {
      const isLost = left < 0;
      left = Number.POSITIVE_INFINITY;
      return isLost;
    },
  };
}
