import type { TreeLine, TreeSpan } from "./span.js";
import { formatDuration, type Piece } from "./text.js";

/** One printed line: a span with its bar, or text that belongs to the span above it. */
export type TreeRow =
  | { readonly prefix: string; readonly span: TreeSpan }
  | { readonly prefix: string; readonly pieces: readonly Piece[] };

interface Branch {
  readonly span: TreeSpan;
  /** Stands before the span's own line. */
  readonly prefix: string;
  /** Stands before the lines beneath it. */
  readonly inner: string;
  /** Tags that the span above has shown. */
  readonly tagsShown: string;
}

/**
 * Milliseconds by which an event may seem early: SDKs read whole ones for a span's start, and finer ones for events.
 */
const START_PRECISION = 1;
/** Most columns of indentation; spans that are nested deeper stay there. */
const INDENT_LIMIT = 24;

/**
 * Puts the spans of one trace into the order of the tree: children and log lines by time, spans without a known parent
 * at the top. Each span appears once, whatever the parent ids say (cycles, duplicates). `origin` is the trace's start
 * in epoch ms, from which the offsets of the lines count.
 */
export function treeRows(spans: readonly TreeSpan[], origin: number): TreeRow[] {
  const sorted = spans.toSorted((a, b) => a.start - b.start);
  const known = new Set(sorted.map(({ spanId }) => spanId));
  const childrenOf = groupByParent(sorted);
  const done = new Set<TreeSpan>();
  const rows: TreeRow[] = [];
  const grow = (root: TreeSpan): void => {
    // a stack instead of recursion, because a trace may be thousands of spans deep
    const stack: (Branch | TreeRow)[] = [{ span: root, prefix: "", inner: "", tagsShown: "" }];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      rows.push(next);
      if (!("inner" in next)) continue;
      done.add(next.span);
      const children = (childrenOf.get(next.span.spanId) ?? []).filter((child) => !done.has(child));
      childrenOf.delete(next.span.spanId);
      stack.push(...beneath(next, children, origin).reverse());
    }
  };
  for (const span of sorted) if (span.parentId === undefined || !known.has(span.parentId)) grow(span);
  // what is left has its parents in a cycle
  for (const span of sorted) if (!done.has(span)) grow(span);
  return rows;
}

function groupByParent(spans: readonly TreeSpan[]): Map<string, TreeSpan[]> {
  const groups = new Map<string, TreeSpan[]>();
  for (const span of spans) {
    if (span.parentId === undefined) continue;
    const group = groups.get(span.parentId);
    if (group === undefined) groups.set(span.parentId, [span]);
    else group.push(span);
  }
  return groups;
}

function beneath(branch: Branch, children: readonly TreeSpan[], origin: number): (Branch | TreeRow)[] {
  const { span, inner, tagsShown } = branch;
  const textPrefix = inner + (children.length > 0 ? "│ " : "  ");
  const facts = [span.tags === tagsShown ? "" : span.tags, ...span.facts].filter((fact) => fact !== "");
  const notes = facts.length > 0 ? [facts.join(" · "), ...span.links] : span.links;
  const rows: (Branch | TreeRow)[] = notes.map((note) => ({ prefix: textPrefix, pieces: [["faint", note]] }));
  let line = 0;
  const linesUntil = (time: number, prefix: string): void => {
    for (let next = span.lines[line]; next !== undefined && next.at <= time; next = span.lines[++line]) {
      rows.push({ prefix, pieces: linePieces(next, origin) });
    }
  };
  for (const [index, child] of children.entries()) {
    linesUntil(child.start + START_PRECISION, textPrefix);
    rows.push(branchOf(child, inner, index === children.length - 1, span.tags));
  }
  linesUntil(Number.POSITIVE_INFINITY, `${inner}  `);
  return rows;
}

function branchOf(span: TreeSpan, outer: string, isLast: boolean, tagsShown: string): Branch {
  const inner = outer.length < INDENT_LIMIT ? outer + (isLast ? "   " : "│  ") : outer;
  return { span, prefix: outer + (isLast ? "└─ " : "├─ "), inner, tagsShown };
}

function linePieces({ at, pieces }: TreeLine, origin: number): Piece[] {
  return [["faint", `${`+${formatDuration(at - origin)}`.padStart(7)}  `], ...pieces];
}
