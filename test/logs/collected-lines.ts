import { Writable } from "node:stream";
import { expect, vi } from "vitest";

export type LogLine = Readonly<Record<string, unknown>>;

export interface CollectedLines {
  /** Where a logger writes to. */
  readonly stream: Writable;
  /** The first `count` lines, once there are that many. */
  first(count: number): Promise<readonly LogLine[]>;
}

/** What a logger writes to a stream, parsed line by line. */
export function collectLines(): CollectedLines {
  const lines: LogLine[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(...String(chunk).trim().split("\n").map(parseLine));
      done();
    },
  });
  return {
    stream,
    async first(count) {
      await vi.waitFor(() => expect(lines.length).toBeGreaterThanOrEqual(count));
      return lines.slice(0, count);
    },
  };
}

function parseLine(line: string): LogLine {
  return JSON.parse(line) as LogLine;
}
