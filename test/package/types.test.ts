import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { createProject, type Project } from "./project.js";

const strict = ["--strict", "--noEmit", "--skipLibCheck", "false", "--target", "es2022", "--types", "node"];
const settings = [
  { resolution: "nodenext", module: "nodenext", file: "consumer.mts", compiler: "typescript" },
  { resolution: "nodenext", module: "nodenext", file: "consumer.cts", compiler: "typescript" },
  { resolution: "node16", module: "node16", file: "consumer.mts", compiler: "typescript" },
  { resolution: "node16", module: "node16", file: "consumer.cts", compiler: "typescript" },
  { resolution: "bundler", module: "esnext", file: "consumer.ts", compiler: "typescript" },
  { resolution: "node16", module: "node16", file: "consumer.mts", compiler: "typescript5" },
  { resolution: "nodenext", module: "nodenext", file: "consumer.mts", compiler: "typescript54" },
  { resolution: "node10", module: "commonjs", file: "consumer.ts", compiler: "typescript5" },
];
const dependencies = {
  ...{ typescript: "6.0", typescript5: "npm:typescript@5.9", typescript54: "npm:typescript@5.4" },
  "@types/node": "20",
};

let project: Project;
beforeAll(async () => {
  project = await createProject("types", dependencies);
  for (const name of ["consumer.mts", "consumer.cts"]) {
    copyFileSync(join(project.folder, "consumer.ts"), join(project.folder, name));
  }
});

test.each(settings)(
  "$compiler with moduleResolution $resolution accepts $file and refuses wrong arguments",
  async ({ resolution, module, file, compiler }) => {
    const resolved = ["--module", module, "--moduleResolution", resolution];
    const { stdout } = await project.node(`node_modules/${compiler}/bin/tsc`, ...strict, ...resolved, file);
    expect(stdout).toBe("");
  },
);

test("a level that taskLog does not know is answered with those that it knows", async () => {
  const lines = ['import { taskLog } from "otel-taskflow";', 'taskLog("ordered", { level: "fatal", id: 1 });', ""];
  writeFileSync(join(project.folder, "level.mts"), lines.join("\n"));
  const resolved = ["--module", "nodenext", "--moduleResolution", "nodenext"];
  const { stdout } = await project.node("node_modules/typescript/bin/tsc", ...strict, ...resolved, "level.mts");
  expect(stdout).toContain("level.mts(2,22): error");
  const named = new Set(stdout.match(/"\w+"/g));
  expect(named).toEqual(new Set(['"fatal"', '"debug"', '"info"', '"warn"', '"warning"', '"error"']));
});
