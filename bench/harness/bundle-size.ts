import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** Bytes of a file with all that it imports, minified and gzipped, without `@opentelemetry/api`. */
export async function bundleSize(file: string): Promise<number> {
  const { outputFiles } = await build({
    ...{ entryPoints: [file], external: ["@opentelemetry/api"], bundle: true, minify: true, write: false },
    ...{ platform: "node", format: "esm" },
  });
  return outputFiles.reduce((sum, { contents }) => sum + gzipSync(contents, { level: 9 }).length, 0);
}
