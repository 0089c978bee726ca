/** The meaning of a piece of text, from which its colour follows. */
export type Tone = "plain" | "strong" | "faint" | "good" | "warn" | "bad" | "span" | "note";

/** A run of text in one tone. */
export type Piece = readonly [tone: Tone, text: string];

const SGR: Readonly<Record<Tone, string>> = {
  plain: "",
  strong: "1",
  faint: "2",
  good: "32",
  warn: "33",
  bad: "31",
  span: "34",
  note: "36",
};
/** Most characters of one name, message or value; the rest would never be seen. */
const TEXT_LIMIT = 400;
const SPACING = /[\t\n\v\f\r]+ */g;
// Matches controls, bidirectional and invisible format characters (but the emoji joiner), separators, lone surrogates.
const UNPRINTABLE = /(?!\u200d)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const ZERO_WIDTH = /^[\p{M}\u200d]$/u;
const WIDE =
  /^[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]$/u;

/**
 * Makes one harmless line of text from anywhere: line breaks become spaces, anything that a terminal might act on
 * becomes a visible stand-in (ESC is shown as `␛`), and text of more than 400 characters is cut.
 */
export function printable(text: string): string {
  const kept = text.length > TEXT_LIMIT ? `${text.slice(0, TEXT_LIMIT)}…` : text;
  return kept.replace(SPACING, " ").replace(UNPRINTABLE, standIn);
}

function standIn(character: string): string {
  const code = character.charCodeAt(0);
  return code < 0x20 ? String.fromCharCode(0x2400 + code) : "�";
}

/** Writes an attribute's value on one line, quoted where it would blur into its neighbours. Never throws. */
export function printableValue(value: unknown): string {
  if (typeof value === "string") {
    return printable(/^[^\s"=]+$/.test(value) ? value : JSON.stringify(value.slice(0, TEXT_LIMIT)));
  }
  try {
    return printable(JSON.stringify(value) ?? String(value));
  } catch {
    return "?";
  }
}

/** Counts the terminal columns that a text takes. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) columns += columnsOfOne(character);
  return columns;
}

function columnsOfOne(character: string): number {
  if (character < "\u0300") return 1;
  if (ZERO_WIDTH.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}

/** The text in at most so many columns; what was cut is marked with an ellipsis. */
export function cut(text: string, columns: number): string {
  if (text.length <= columns && columnsOf(text) <= columns) return text;
  let kept = "";
  let used = 1; // the ellipsis
  for (const character of text) {
    used += columnsOfOne(character);
    if (used > columns) break;
    kept += character;
  }
  return columns > 0 ? `${kept}…` : "";
}

/** Cuts or pads a text to exactly so many columns. */
export function padTo(text: string, columns: number): string {
  const kept = cut(text, columns);
  return kept + " ".repeat(Math.max(0, columns - columnsOf(kept)));
}

/** Makes one line of the pieces, cut to the columns, and coloured where asked. */
export function lineOf(pieces: readonly Piece[], columns: number, color: boolean): string {
  let left = columns;
  let line = "";
  for (const [tone, text] of pieces) {
    const kept = cut(text, left);
    left -= columnsOf(kept);
    line += color && SGR[tone] !== "" && kept.trim() !== "" ? `\u001b[${SGR[tone]}m${kept}\u001b[0m` : kept;
    if (kept !== text) break;
  }
  return line;
}

/** Writes a time in milliseconds as people do: `250µs`, `1.2ms`, `312ms`, `2.46s`, `1m30s`, `2h5m`. */
export function formatDuration(ms: number): string {
  if (!(ms > 0)) return "0";
  if (ms < 0.9995) return `${Math.max(1, Math.round(ms * 1_000))}µs`;
  if (ms < 999.5) return `${round(ms, ms < 9.95 ? 1 : 0)}ms`;
  if (ms < 59_950) return `${round(ms / 1_000, ms < 9_995 ? 2 : 1)}s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 3_600) return pair(Math.floor(seconds / 60), "m", seconds % 60, "s");
  const minutes = Math.round(seconds / 60);
  return pair(Math.floor(minutes / 60), "h", minutes % 60, "m");
}

function round(value: number, digits: number): string {
  return String(Number(value.toFixed(digits)));
}

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit}${small}${smallUnit}`;
}
