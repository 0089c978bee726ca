import { basename, dirname } from "node:path";
import ts from "typescript";
import { type Import, importsOf, layerOf } from "./imports.js";
import { linesIn, listFiles, report } from "./source-tree.js";

/** A rule about src/: says where a file breaks it, and shows a breach, so that the rule itself can be tested. */
export interface Rule {
  readonly title: string;
  check(source: ts.SourceFile): string[];
  /** Breaks the rule once a line. */
  readonly breach: { readonly path: string; readonly lines: readonly string[] };
}

const MAX_FILE_LINES = 300;
const MAX_FUNCTION_LINES = 60;
const DOTTED_NAME = /^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\.([a-z][a-z0-9_]*)?$/;
const SDK_PACKAGE = /^@opentelemetry\/(?!api$)/;
/** No part of an SDK: the class that OpenTelemetry has every instrumentation extend. */
const INSTRUMENTATION_PACKAGE = "@opentelemetry/instrumentation";
/** Each folder of src/engines/ has these, and an index.ts: who knows one engine knows where to look in all. */
export const ENGINE_FILES: readonly string[] = [
  "engine.ts",
  "worker.ts",
  "store.ts",
  "settle.ts",
  "stored-task.ts",
  "library.ts",
  "options.ts",
];
/** The one file more, named after a trouble that only this library has. */
const OWN_TROUBLE: Readonly<Record<string, string>> = {
  bullmq: "removals.ts",
  "pg-boss": "carriers.ts",
  "graphile-worker": "generation.ts",
};
/** The folders of src/engines/; src/adapters/ may hold an adapter for each. */
export const LIBRARIES: readonly string[] = [
  ...new Set(listFiles("src/engines").flatMap((path) => /^src\/engines\/([^/]+)\//.exec(path)?.[1] ?? [])),
];
const SPAN_KINDS = ["src/core/span.ts", "src/core/wished-telemetry.ts"];
const MAY_NEST_IMPORT = [
  "@nestjs/common",
  "@nestjs/core",
  "src/console/index.ts",
  "src/index.ts",
  "src/manager/options.ts",
];
const CORE_MAY_IMPORT = ["@opentelemetry/api", "node:async_hooks"];

export const rules: readonly Rule[] = [
  {
    title: "only core/finish.ts ends a span or sets its status, by core/span.ts and the kinds of span derived from it",
    check: (source) => (SPAN_KINDS.includes(source.fileName) ? [] : outside("src/core/finish.ts", source, endsSpan)),
    breach: {
      path: "src/core/log.ts",
      lines: ["span.end();", "span?.end(now);", "span.setStatus(s);", 'span["end"]();'],
    },
  },
  {
    title: "only core/semconv.ts holds dotted attribute and metric names",
    check: (source) => outside("src/core/semconv.ts", source, dottedName),
    breach: {
      path: "src/core/log.ts",
      lines: ['f("task.id");', "f(`task.tag.$" + "{key}`);", 'f({ "error.type": 1 });'],
    },
  },
  {
    title: "only core/slot.ts touches globalThis",
    check: (source) => outside("src/core/slot.ts", source, globalObject),
    breach: { path: "src/core/log.ts", lines: ["globalThis.x = 1;", "const { process } = global;"] },
  },
  {
    title: "only core/context.ts asks OpenTelemetry's context manager, which may fail",
    check: (source) => outside("src/core/context.ts", source, contextManager),
    breach: { path: "src/core/log.ts", lines: ['import { context } from "@opentelemetry/api";'] },
  },
  {
    title: `core imports only ${CORE_MAY_IMPORT.join(", ")} and its siblings`,
    check: (source) => badImports(source, "core", ({ target }) => layerOf(target) === "core" || isCoreImport(target)),
    breach: {
      path: "src/core/log.ts",
      lines: ['import { a } from "../manager/host.js";', 'import type { A } from "../index.js";', 'import "node:fs";'],
    },
  },
  {
    title: "an engine imports no other engine, no manager, and no library at run time",
    check: (source) => badImports(source, "engines", mayEngineImport),
    breach: {
      path: "src/engines/bullmq/engine.ts",
      lines: [
        'import { a } from "../memory.js";',
        'import { a } from "../pg-boss/engine.js";',
        'import { Queue } from "bullmq";',
        'const pg = await import("pg-boss");',
        'import { addJob } from "../../adapters/bullmq.js";',
      ],
    },
  },
  {
    title: `a library's engine is ${ENGINE_FILES.join(", ")} and at most one file more`,
    check: (source) => (isEngineFile(source.fileName) ? [] : [`${source.fileName}: is none of an engine's files`]),
    breach: { path: "src/engines/bullmq/consumer.ts", lines: ["export const a = 1;"] },
  },
  {
    title: "an adapter imports core and its own library's engine, and no library at run time",
    check: (source) => badImports(source, "adapters", mayAdapterImport),
    breach: {
      path: "src/adapters/bullmq.ts",
      lines: [
        'import { workTask } from "./pg-boss.js";',
        'import { a } from "../engines/pg-boss/library.js";',
        'import { memoryEngine } from "../engines/memory.js";',
        'import { seal } from "../engines/envelope.js";',
        'import type { Host } from "../manager/host.js";',
        'import { Job } from "bullmq";',
      ],
    },
  },
  {
    title:
      "a web adapter imports no other adapter, no engine, and no library at run time but Nest, whose classes are tokens",
    check: (source) => badImports(source, "web", mayWebImport),
    breach: {
      path: "src/web/fastify.ts",
      lines: [
        'import { a } from "./hono.js";',
        'export * from "../engines/memory.js";',
        'import fastify from "fastify";',
        'import { ModulesContainer } from "@nestjs/core";',
      ],
    },
  },
  {
    title: "an instrumentation builds on core, adapters and engines, and imports no library at run time",
    check: (source) => badImports(source, "instrumentation", mayInstrumentationImport),
    breach: {
      path: "src/instrumentation/bullmq.ts",
      lines: ['import { TaskManager } from "../manager/task-manager.js";', 'import { Queue } from "bullmq";'],
    },
  },
  ...["sdk", "console"].map((layer) => ({
    title: `${layer} builds on core only`,
    check: (source: ts.SourceFile) =>
      badImports(source, layer, ({ target }) => inLayers(target, ["core", layer]) || isPlatform(target)),
    breach: { path: `src/${layer}/line.ts`, lines: ['import { TaskManager } from "../manager/task-manager.js";'] },
  })),
  {
    title: "the manager builds on core, the engine interface and the memory engine",
    check: (source) => badImports(source, "manager", mayManagerImport),
    breach: {
      path: "src/manager/host.ts",
      lines: ['import { a } from "../engines/bullmq.js";', 'import "../index.js";'],
    },
  },
  {
    title: "testing builds on the core entry, core, @opentelemetry/api and Node, and on no test runner",
    check: (source) => badImports(source, "testing", mayTestingImport),
    breach: {
      path: "src/testing/engine-contract/rig.ts",
      lines: [
        'import { test } from "vitest";',
        'import { Host } from "../../manager/host.js";',
        'import { addJob } from "../../adapters/bullmq.js";',
      ],
    },
  },
  {
    title: "no SDK package is imported, not even a type of it",
    check: (source) => importErrors(source, (one) => !SDK_PACKAGE.test(one.target) || mayInstrumentationImport(one)),
    breach: {
      path: "src/index.ts",
      lines: [
        'import type { Sampler } from "@opentelemetry/sdk-trace";',
        'import { InstrumentationBase } from "@opentelemetry/instrumentation";',
      ],
    },
  },
  {
    title: "an index.ts only re-exports, name by name",
    check: (source) => (source.fileName.endsWith("/index.ts") ? report(source, notNamedExport(source)) : []),
    breach: { path: "src/index.ts", lines: ['export * from "./a.js";', 'import "./a.js";', "export const a = 1;"] },
  },
  {
    title: "every property of an exported options type tells its reader what it is",
    check: (source) => report(source, undocumentedOption),
    breach: {
      path: "src/core/types.ts",
      lines: ["export interface AOptions { a: 1 }", "export interface BInfo {\n/** Said. */ a: 1; b(): void }"],
    },
  },
  {
    title: "there is no any and no non-null assertion",
    check: (source) => report(source, uncheckedType),
    breach: { path: "src/core/log.ts", lines: ["let a: any;", "const b = a!.c;", "class D { e!: string }"] },
  },
  {
    title: `no function is longer than ${MAX_FUNCTION_LINES} lines`,
    check: (source) => report(source, longFunction),
    breach: { path: "src/core/log.ts", lines: [`const a = () => {${"\n".repeat(MAX_FUNCTION_LINES)}};`] },
  },
  {
    title: `no file is longer than ${MAX_FILE_LINES} lines`,
    check: (source) => (linesIn(source) > MAX_FILE_LINES ? [`${source.fileName}: ${linesIn(source)} lines`] : []),
    breach: { path: "src/core/log.ts", lines: [`f();${"\n".repeat(MAX_FILE_LINES)}g();`] },
  },
];

export function isFunction(node: ts.Node): node is ts.FunctionLikeDeclaration {
  return ts.isFunctionLike(node) && "body" in node && node.body !== undefined;
}

// In testing, the library is looked at from where an application stands: requests, contexts and names are its own.
function outside(owner: string, source: ts.SourceFile, find: (node: ts.Node) => string | undefined): string[] {
  return source.fileName === owner || layerOf(source.fileName) === "testing" ? [] : report(source, find);
}

function endsSpan(node: ts.Node): string | undefined {
  if (!ts.isCallExpression(node)) return undefined;
  const callee = node.expression;
  const name = ts.isPropertyAccessExpression(callee) ? callee.name : undefined;
  const key = ts.isElementAccessExpression(callee) ? callee.argumentExpression : undefined;
  const text = name?.text ?? (key !== undefined && ts.isStringLiteralLike(key) ? key.text : "");
  return text === "end" || text === "setStatus" ? `calls ${callee.getText()}()` : undefined;
}

function dottedName(node: ts.Node): string | undefined {
  if (!ts.isStringLiteralLike(node) && !ts.isTemplateHead(node)) return undefined;
  return DOTTED_NAME.test(node.text) && !isKeyOrModule(node.parent) ? `holds "${node.text}"` : undefined;
}

// Symbol.for("a.b") names a symbol, import "a.b" a module, type A = "a.b" only a type.
function isKeyOrModule(parent: ts.Node): boolean {
  if (ts.isCallExpression(parent)) return parent.expression.getText() === "Symbol.for";
  return ts.isImportDeclaration(parent) || ts.isExportDeclaration(parent) || ts.isLiteralTypeNode(parent);
}

function globalObject(node: ts.Node): string | undefined {
  if (!ts.isIdentifier(node) || (node.text !== "globalThis" && node.text !== "global")) return undefined;
  const { parent } = node;
  const isMember = (ts.isPropertyAccessExpression(parent) || ts.isPropertyAssignment(parent)) && parent.name === node;
  // declare global { … } names types only
  return isMember || ts.isModuleDeclaration(parent) ? undefined : `touches ${node.text}`;
}

function contextManager(node: ts.Node): string | undefined {
  if (!ts.isImportSpecifier(node) || node.isTypeOnly) return undefined;
  return (node.propertyName ?? node.name).text === "context" ? "imports the context manager" : undefined;
}

function badImports(source: ts.SourceFile, layer: string, allowed: (one: Import) => boolean): string[] {
  return layerOf(source.fileName) === layer ? importErrors(source, allowed) : [];
}

function importErrors(source: ts.SourceFile, allowed: (one: Import) => boolean): string[] {
  const bad = importsOf(source).filter((one) => !allowed(one));
  return bad.map((one) => `${one.file}: imports ${one.typeOnly ? "types of " : ""}${one.target}`);
}

function isCoreImport(target: string): boolean {
  return CORE_MAY_IMPORT.includes(target);
}

// What engines have in common lies beside their folders; an engine of one file has none. A library's index.ts is its
// subpath entry, and names the functions of the adapter and of the instrumentation as well.
function mayEngineImport({ file, target, typeOnly }: Import): boolean {
  if (file.endsWith("/index.ts") && [adapterOf(file), patchOf(file)].includes(target)) return true;
  if (target.startsWith("src/engines/")) return dirname(target) === dirname(file) || isSharedByEngines(target);
  return inLayers(target, ["core"]) || isPlatform(target) || (typeOnly && !target.startsWith("src/"));
}

function isEngineFile(path: string): boolean {
  const [, library, file = ""] = /^src\/engines\/([^/]+)\/(.+)$/.exec(path) ?? [];
  return library === undefined || file === "index.ts" || ENGINE_FILES.includes(file) || OWN_TROUBLE[library] === file;
}

function adapterOf(index: string): string {
  return `src/adapters/${basename(dirname(index))}.ts`;
}

function patchOf(index: string): string {
  return `src/instrumentation/${basename(dirname(index))}.ts`;
}

// A library's adapter is the file named after it, and files whose names begin with that. The settings that stand for a
// call site are the same for every library.
function mayAdapterImport({ file, target, typeOnly }: Import): boolean {
  const library = libraryOf(file);
  if (target === "src/adapters/door.ts") return true;
  if (target.startsWith("src/adapters/")) return library !== undefined && libraryOf(target) === library;
  if (target.startsWith("src/engines/")) return dirname(target) === `src/engines/${library}`;
  return inLayers(target, ["core"]) || isPlatform(target) || (typeOnly && !target.startsWith("src/"));
}

function libraryOf(adapter: string): string | undefined {
  const name = basename(adapter, ".ts");
  return LIBRARIES.find((library) => name === library || name.startsWith(`${library}-`));
}

function isSharedByEngines(target: string): boolean {
  return dirname(target) === "src/engines" && target !== "src/engines/memory.ts";
}

function mayInstrumentationImport({ layer, target, typeOnly }: Import): boolean {
  if (layer !== "instrumentation") return false;
  if (target.startsWith("src/")) return inLayers(target, ["core", "adapters", "engines", "instrumentation"]);
  return isPlatform(target) || target === INSTRUMENTATION_PACKAGE || typeOnly;
}

// When a request's tasks start is one rule for every framework. Nest's module gives an application its TaskManager: by the
// class that the application imports.
function mayWebImport({ file, target, typeOnly }: Import): boolean {
  if (target === "src/web/settle-scope.ts") return true;
  if (isOfNest(file) && (isOfNest(target) || MAY_NEST_IMPORT.includes(target))) return true;
  if (target.startsWith("src/")) return inLayers(target, ["core"]) || (typeOnly && inLayers(target, ["manager"]));
  return isPlatform(target) || typeOnly;
}

function isOfNest(path: string): boolean {
  return /^src\/web\/nestjs(-\w+)?\.ts$/.test(path);
}

function mayManagerImport({ target }: Import): boolean {
  if (layerOf(target) === "engines") return /\/(engine|memory)\.ts$/.test(target);
  return inLayers(target, ["core", "manager"]) || isPlatform(target);
}

// What can be imported as an application does, is.
function mayTestingImport({ target }: Import): boolean {
  return target === "src/index.ts" || inLayers(target, ["core", "testing"]) || isPlatform(target);
}

function inLayers(target: string, layers: readonly string[]): boolean {
  return target.startsWith("src/") && layers.includes(layerOf(target));
}

function isPlatform(target: string): boolean {
  return target === "@opentelemetry/api" || target.startsWith("node:");
}

function notNamedExport(source: ts.SourceFile): (node: ts.Node) => string | undefined {
  return (node) => {
    if (node.parent !== source || node.kind === ts.SyntaxKind.EndOfFileToken) return undefined;
    const clause = ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined ? node.exportClause : undefined;
    return clause !== undefined && ts.isNamedExports(clause) ? undefined : `is no named re-export: ${node.getText()}`;
  };
}

function undocumentedOption(node: ts.Node): string | undefined {
  if (!ts.isTypeElement(node) || !isOptionsType(node.parent)) return undefined;
  const said = ts.getJSDocCommentsAndTags(node).map((doc) => ts.getTextOfJSDocComment(doc.comment) ?? "");
  return said.join("").trim() === "" ? `says nothing of ${node.parent.name.text}.${node.name?.getText()}` : undefined;
}

function isOptionsType(node: ts.Node): node is ts.InterfaceDeclaration {
  if (!ts.isInterfaceDeclaration(node) || !/(Options|Info)$/.test(node.name.text)) return false;
  return node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) ?? false;
}

function uncheckedType(node: ts.Node): string | undefined {
  if (node.kind === ts.SyntaxKind.AnyKeyword) return "says any";
  if (ts.isNonNullExpression(node)) return `asserts ${node.getText()}`;
  const definite = (ts.isPropertyDeclaration(node) || ts.isVariableDeclaration(node)) && node.exclamationToken;
  return definite ? `asserts ${node.getText()}` : undefined;
}

function longFunction(node: ts.Node): string | undefined {
  if (!isFunction(node) || linesIn(node) <= MAX_FUNCTION_LINES) return undefined;
  return `${node.name?.getText() ?? "a function"} is ${linesIn(node)} lines long`;
}
