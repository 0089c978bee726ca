import * as graphile018 from "graphile-worker";
import * as graphile016 from "graphile-worker-016";

export type Version = "0.16" | "0.18";

export const VERSIONS: readonly Version[] = ["0.16", "0.18"];

/** Each version under the newer one's types; that both have fitting types is checked in types.test.ts. */
export const GRAPHILE: Readonly<Record<Version, typeof graphile018>> = {
  "0.16": graphile016 as unknown as typeof graphile018,
  "0.18": graphile018,
};
