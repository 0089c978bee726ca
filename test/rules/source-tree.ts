import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";

/** The project's folder, with a slash at its end. */
export const root: string = fileURLToPath(new URL("../../", import.meta.url));

/** Every file below a folder of the project, as paths from the project's folder with forward slashes. */
export function listFiles(folder: string): string[] {
  if (!existsSync(root + folder)) return [];
  const entries = readdirSync(root + folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const paths = files.map((entry) => `${entry.parentPath}/${entry.name}`.slice(root.length));
  return paths.filter((path) => !path.split("/").includes("node_modules")).sort();
}

/** The parsed sources of src/. */
export function readSources(): ts.SourceFile[] {
  return listFiles("src").map((path) => parse(path, readFileSync(root + path, "utf8")));
}

export function parse(path: string, text: string): ts.SourceFile {
  return ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true);
}

/** Every node below `node` for which `find` has an answer, as `file:line: answer`. */
export function report(node: ts.SourceFile, find: (node: ts.Node) => string | undefined): string[] {
  return descendants(node).flatMap((one) => {
    const answer = find(one);
    return answer === undefined ? [] : [`${node.fileName}:${lineOf(one, one.getStart())}: ${answer}`];
  });
}

export function descendants(node: ts.Node): ts.Node[] {
  const found: ts.Node[] = [];
  const visit = (one: ts.Node): void => {
    found.push(one);
    ts.forEachChild(one, visit);
  };
  ts.forEachChild(node, visit);
  return found;
}

/** Lines from the first character of a node to its last, its docstring not included. */
export function linesIn(node: ts.Node): number {
  return lineOf(node, node.getEnd()) - lineOf(node, node.getStart()) + 1;
}

function lineOf(node: ts.Node, position: number): number {
  return node.getSourceFile().getLineAndCharacterOfPosition(position).line + 1;
}
