const MAX_ENTRIES = 1_000;

/** What is known of the jobs that this process had in its hands last. Forgets the oldest. */
export class Recent<V> {
  readonly #entries = new Map<string, V>();

  keep(key: string, value: V): void {
    this.#entries.set(key, value);
    if (this.#entries.size <= MAX_ENTRIES) return;
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
