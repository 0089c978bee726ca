const MAX_RECENT = 1_000;

/** Values by key, of which the oldest is forgotten when there are more than 1,000. */
export class Recent<V> {
  readonly #entries = new Map<string, V>();

  keep(key: string, value: V): void {
    this.#entries.set(key, value);
    if (this.#entries.size <= MAX_RECENT) return;
    const [oldest = ""] = this.#entries.keys();
    this.#entries.delete(oldest);
  }

  take(key: string): V | undefined {
    const value = this.#entries.get(key);
    this.#entries.delete(key);
    return value;
  }

  entries(): [string, V][] {
    return [...this.#entries];
  }
}
