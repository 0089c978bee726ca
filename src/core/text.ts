/** Stands in the place of a character that no store and no protocol can hold. */
const REPLACEMENT = "\uFFFD";
/** Characters beyond it take two UTF-16 code units. */
const MAX_UNIT = 0xffff;

/** True for a text that every store keeps as it is: well-formed Unicode without NUL. */
export function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes("\0");
}

/**
 * Makes a text fit for a store or a protocol: U+FFFD takes the place of each lone surrogate and each NUL, and no more
 * than `most` UTF-16 code units are kept.
 */
export function storable(text: string, most: number = Number.POSITIVE_INFINITY): string {
  const kept = cut(text, most);
  return isStorable(kept) ? kept : kept.toWellFormed().replaceAll("\0", REPLACEMENT);
}

/** Returns the first `most` UTF-16 code units of a text, or one less where the cut would fall inside a character. */
export function cut(text: string, most: number): string {
  if (text.length <= most) return text;
  // only a whole surrogate pair that begins here has so large a code point
  const splits = Number(text.codePointAt(most - 1)) > MAX_UNIT;
  return text.slice(0, splits ? most - 1 : most);
}
