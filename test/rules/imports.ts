import { posix } from "node:path";
import ts from "typescript";
import { descendants } from "./source-tree.js";

/** One place where a file names another module. */
export interface Import {
  readonly file: string;
  /** The folder below src/, or "" for src itself. */
  readonly layer: string;
  /** A path from the project's folder for a relative one (`src/core/log.ts`), else the package or built-in. */
  readonly target: string;
  /** Gone once compiled. */
  readonly typeOnly: boolean;
}

export function importsOf(source: ts.SourceFile): Import[] {
  return descendants(source).flatMap((node) => {
    const specifier = specifierOf(node);
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return [];
    const file = source.fileName;
    return { file, layer: layerOf(file), target: resolve(file, specifier.text), typeOnly: isTypeOnly(node) };
  });
}

export function layerOf(path: string): string {
  const [, layer = "", ...rest] = path.split("/");
  return rest.length === 0 ? "" : layer;
}

function specifierOf(node: ts.Node): ts.Node | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier;
  if (ts.isImportTypeNode(node)) return ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined;
  if (!ts.isCallExpression(node)) return undefined;
  const dynamic = node.expression.kind === ts.SyntaxKind.ImportKeyword || node.expression.getText() === "require";
  return dynamic ? node.arguments[0] : undefined;
}

function isTypeOnly(node: ts.Node): boolean {
  if (ts.isImportTypeNode(node)) return true;
  if (ts.isExportDeclaration(node)) return node.isTypeOnly || allTypes(node.exportClause);
  if (!ts.isImportDeclaration(node) || node.importClause === undefined) return false;
  const { phaseModifier, name, namedBindings } = node.importClause;
  return phaseModifier === ts.SyntaxKind.TypeKeyword || (name === undefined && allTypes(namedBindings));
}

function allTypes(clause: ts.NamedImportBindings | ts.NamedExportBindings | undefined): boolean {
  if (clause === undefined || !(ts.isNamedImports(clause) || ts.isNamedExports(clause))) return false;
  return clause.elements.length > 0 && clause.elements.every((element) => element.isTypeOnly);
}

function resolve(file: string, specifier: string): string {
  if (!specifier.startsWith(".")) return specifier;
  return posix.join(posix.dirname(file), specifier).replace(/\.js$/, ".ts");
}
