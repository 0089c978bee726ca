/** A member of a {@link Roster}. */
export interface Rostered {
  readonly id: string;
  /** Where the roster keeps it; −1 outside. */
  place: number;
}

/**
 * What is live right now. For members that come and go at a high rate: a Map links each table it outgrew to the
 * next, and one that has reached old space keeps alive all that passed through it until a full collection. So the
 * index by id is made only when an id is first looked for.
 */
export class Roster<T extends Rostered> {
  #members: T[] = [];
  #index: Map<string, T> | undefined;

  get size(): number {
    return this.#members.length;
  }

  add(member: T): void {
    member.place = this.#members.push(member) - 1;
    this.#index?.set(member.id, member);
  }

  has(member: T): boolean {
    return this.#members[member.place] === member;
  }

  delete(member: T): void {
    if (!this.has(member)) return;
    const last = this.#members.pop();
    if (last !== undefined && last !== member) {
      last.place = member.place;
      this.#members[last.place] = last;
    }
    member.place = -1;
    if (this.#members.length === 0) this.#members = [];
    if (this.#index?.get(member.id) === member) this.#index.delete(member.id);
  }

  find(id: string): T | undefined {
    this.#index ??= new Map(this.#members.map((member) => [member.id, member]));
    return this.#index.get(id);
  }

  values(): T[] {
    return [...this.#members];
  }
}
