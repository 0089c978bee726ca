/** A member of a {@link Roster}. */
export interface Rostered {
  readonly id: string;
  /** Its index in the roster; −1 outside. */
  place: number;
}

/**
 * The live members of something, which may come and go at a high rate. A Map that has grown old keeps alive all that
 * passed through it until a full garbage collection, because each table that it outgrew is linked to the next. Members
 * therefore stand in a list, and the index by id is made only when an id is first looked for.
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
    if (this.#index?.get(member.id) !== member) return;
    this.#index.delete(member.id);
    // another member has this id, or some other id is two members': the index is made again
    if (this.#index.size !== this.#members.length) this.#index = undefined;
  }

  find(id: string): T | undefined {
    this.#index ??= new Map(this.#members.map((member) => [member.id, member]));
    return this.#index.get(id);
  }

  values(): T[] {
    return [...this.#members];
  }
}
