import { describe } from "vitest";
import { describeFailure } from "./contract/failure.js";
import { describeLeaving } from "./contract/leaving.js";
import { describeRequests } from "./contract/requests.js";
import { describeStart } from "./contract/start.js";
import { describeStreams } from "./contract/streams.js";
import { webWorlds } from "./worlds.js";

describe.each(webWorlds)("with $title", (world) => {
  describeStart(world);
  describeFailure(world);
  describeStreams(world);
  describeLeaving(world);
  describeRequests(world);
});
