import { FORMATS, type Format } from "./service.js";

/** What is to be seen of one order. */
export interface Expected {
  /** The jobs of the order's own request. */
  readonly ofRequest: readonly string[];
  /** The jobs of a scheduler of BullMQ's, of a crontab of graphile-worker's, of a schedule of pg-boss's. */
  readonly ofSchedules: readonly string[];
  /** The job that a cron method of Nest's adds. The method itself is no task. */
  readonly ofCron: string;
  /** The jobs of a processor class of Nest's, which listens to what is completed. */
  readonly ofNest: readonly string[];
  /** A job of which a handler takes several at once, each of them an attempt: the handler is in none of these tasks. */
  readonly inBatches: readonly string[];
  /** What is put off once, and goes on in a trace of its own. */
  readonly putOff: string;
  /** How many tasks of a name there are; where nothing is said, one. */
  readonly counts: Readonly<Record<string, number>>;
  /** The lines below the span of the request. */
  readonly tree: readonly string[];
}

const TREES = [
  `producer enqueue album
  consumer process album (attempt 0)
    client POST
  producer enqueue page
    consumer process page (attempt 0)
      internal continue page
        client POST
  producer enqueue page
    consumer process page (attempt 0)
      internal continue page
        client POST`,
  `producer enqueue created
  consumer process created (attempt 0)
    client POST`,
  `producer enqueue invoice
  consumer process invoice (attempt 0)
    client POST
  consumer process invoice (attempt 1)
    client POST`,
  `producer enqueue paid
  consumer process paid (attempt 0)`,
  `producer enqueue receipt
  consumer process receipt (attempt 0)
    client POST
  consumer process receipt (attempt 1)
    client POST`,
  `producer enqueue resize
  consumer process resize (attempt 0)
    client POST
  consumer process resize (attempt 1)
    client POST
    producer enqueue archive
      consumer process archive (attempt 0)
        client POST`,
  `producer enqueue shipped
  consumer process shipped (attempt 0)
    client POST`,
];
const TREES_OF_PG_BOSS = [
  // both are inserted by one call
  `producer enqueue export
  consumer process export (attempt 0)
  consumer process export (attempt 0)`,
  `producer enqueue statement
  consumer process statement (attempt 0)
    client POST
  consumer process statement (attempt 1)
    client POST`,
];

export function expectedIn(format: Format): Expected {
  const { hasPgBoss } = FORMATS[format];
  const also = <T>(items: readonly T[]): readonly T[] => (hasPgBoss ? items : []);
  const trees = [...TREES, ...also(TREES_OF_PG_BOSS)].sort();
  return {
    ofRequest: [
      "receipt",
      "created",
      "paid",
      "shipped",
      "page",
      "album",
      "resize",
      "archive",
      "invoice",
      ...also(["statement", "export"]),
    ],
    ofSchedules: ["digest", "sweep", ...also(["nightly"])],
    ...{ ofCron: "reminder", ofNest: ["invoice", "reminder"] },
    ...{ inBatches: also(["export"]), putOff: "paid", counts: { page: 2, export: 2 } },
    tree: trees.flatMap((tree) => tree.split("\n")),
  };
}
