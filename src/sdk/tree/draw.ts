import { type TreeRow, treeRows } from "./rows.js";
import type { TreeSpan } from "./span.js";
import { columnsOf, cut, formatDuration, lineOf, type Piece, padTo } from "./text.js";

/** The style of a drawn tree. */
export interface TreeStyle {
  /** Terminal columns; no line is longer. */
  readonly columns: number;
  readonly color: boolean;
}

/** A tree to draw: the spans of one trace that were not drawn before. */
export interface TreeDrawing {
  readonly traceId: string;
  /** The trace's start, epoch ms. Its time axis begins there, also for spans that came late. */
  readonly origin: number;
  /** True where other spans of this trace have been drawn before. */
  readonly continued: boolean;
  readonly spans: readonly TreeSpan[];
}

/** The time axis: `from` is epoch ms, `length` is in ms, and both are drawn over so many columns. */
interface Axis {
  readonly from: number;
  readonly length: number;
  readonly columns: number;
}

interface Widths {
  readonly label: number;
  readonly axis: number;
}

const LABEL_SHARE = 0.42;
const AXIS_MIN = 10;
const TICK_COLUMNS = 6;
const DURATION_COLUMNS = 6;

/** Draws one trace as text: a head line, the ruler of its time axis, a line for each span, log line and note. */
export function drawTree(drawing: TreeDrawing, style: TreeStyle): string {
  const { spans, traceId, origin, continued } = drawing;
  const rows = treeRows(spans, origin);
  const from = earliest(spans);
  const length = spans.reduce((latest, span) => Math.max(latest, span.start + span.duration), from) - from;
  const widths = measure(rows, style.columns);
  const axis: Axis = { from, length: length > 0 ? length : 1, columns: widths.axis };
  const count = `${spans.length} span${spans.length === 1 ? "" : "s"}`;
  const facts = [continued ? "continued" : "", count, formatDuration(length)].filter((fact) => fact !== "");
  const lines: Piece[][] = [
    [
      ["strong", `trace ${traceId}`],
      ["faint", ` · ${facts.join(" · ")}`],
    ],
    [["faint", `${" ".repeat(widths.label + 1)}${ruler(axis, from - origin)}`]],
    ...rows.map((row) => rowPieces(row, widths, axis)),
  ];
  return `${lines.map((pieces) => lineOf(pieces, style.columns, style.color)).join("\n")}\n\n`;
}

/** Returns the start of the first of the spans, epoch ms. */
export function earliest(spans: readonly TreeSpan[]): number {
  return spans.reduce((first, span) => Math.min(first, span.start), Number.POSITIVE_INFINITY);
}

function measure(rows: readonly TreeRow[], columns: number): Widths {
  let label = 0;
  let right = DURATION_COLUMNS;
  for (const row of rows) {
    if (!("span" in row)) continue;
    label = Math.max(label, columnsOf(row.prefix) + columnsOf(row.span.name));
    right = Math.max(
      right,
      rightPieces(row.span).reduce((sum, [, text]) => sum + columnsOf(text), 0),
    );
  }
  label = Math.min(label, Math.floor(columns * LABEL_SHARE));
  return { label, axis: Math.max(AXIS_MIN, columns - label - right - 2) };
}

function rowPieces(row: TreeRow, widths: Widths, axis: Axis): Piece[] {
  if (!("span" in row)) return [["faint", row.prefix], ...row.pieces];
  const { span, prefix } = row;
  return [
    ["faint", cut(prefix, widths.label)],
    [span.task === undefined ? "plain" : "strong", padTo(span.name, widths.label - columnsOf(prefix))],
    ["plain", " "],
    ...barPieces(span, axis),
    ["plain", " "],
    ...rightPieces(span),
  ];
}

function rightPieces({ duration, status }: TreeSpan): Piece[] {
  const time: Piece = ["plain", formatDuration(duration).padStart(DURATION_COLUMNS)];
  return status.length === 0 ? [time] : [time, ["plain", "  "], ...status];
}

// A bar such as `░░████····` says that the span waited, ran, and waits for its retry.
function barPieces(span: TreeSpan, axis: Axis): Piece[] {
  const cell = (time: number): number => {
    const column = Math.round(((time - axis.from) / axis.length) * axis.columns);
    return Math.min(axis.columns, Math.max(0, column));
  };
  const stop = span.start + span.duration;
  const first = Math.min(cell(span.start), axis.columns - 1);
  const last = Math.max(cell(stop), first + 1);
  const queued = Math.min(cell(span.start - span.wait), first);
  const retried = Math.max(cell(stop + span.retryDelay), last);
  const isTick = (span.duration / axis.length) * axis.columns < 0.5;
  return [
    ["plain", " ".repeat(queued)],
    ["faint", "░".repeat(first - queued)],
    [span.tone, isTick ? "▏" : "█".repeat(last - first)],
    ["faint", "·".repeat(retried - last)],
    ["plain", " ".repeat(axis.columns - retried)],
  ];
}

function ruler(axis: Axis, offset: number): string {
  const step = tickStep((axis.length / axis.columns) * TICK_COLUMNS);
  let line = "";
  for (let index = 0; index < axis.columns; index++) {
    const tick = (Math.ceil(offset / step) + index) * step;
    const column = Math.round(((tick - offset) / axis.length) * axis.columns);
    const label = formatDuration(tick);
    if (column + label.length > axis.columns) break;
    if (line === "" || column > line.length) line = line.padEnd(column) + label;
  }
  return line;
}

// Returns the next 1, 2 or 5 times a power of ten at or above, in ms, minutes or hours.
function tickStep(least: number): number {
  const unit = least < 20_000 ? 1 : least < 1_200_000 ? 60_000 : 3_600_000;
  const power = 10 ** Math.floor(Math.log10(least / unit));
  const factor = [1, 2, 5].find((candidate) => candidate * power * unit >= least) ?? 10;
  return factor * power * unit;
}
