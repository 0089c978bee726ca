const MAX_RECENT = 1_000;

/**
 * Values by key, of which at least the last 1,000 are kept, and fewer than 2,001. Two generations take turns, because a
 * Map finds its oldest entry only by passing over all that have gone before.
 */
export class Recent<V> {
  #young = new Map<string, V>();
  #old = this.#young;

  keep(key: string, value: V): void {
    if (this.#young.size === MAX_RECENT) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }

  take(key: string): V | undefined {
    const value = this.#young.get(key) ?? this.#old.get(key);
    this.#young.delete(key);
    this.#old.delete(key);
    return value;
  }
}
