/** First in, first out. What was taken stays in front until it is half of the array, then it is cut off at once. */
export class Queue<T> {
  #elements: (T | undefined)[] = [];
  #head = 0;

  get size(): number {
    return this.#elements.length - this.#head;
  }

  add(element: T): void {
    this.#elements.push(element);
  }

  take(): T | undefined {
    const element = this.#elements[this.#head];
    this.#elements[this.#head] = undefined;
    this.#head += 1;
    if (this.#head * 2 >= this.#elements.length) {
      this.#elements = this.#elements.slice(this.#head);
      this.#head = 0;
    }
    return element;
  }

  keep(wanted: (element: T) => boolean): void {
    const rest = this.#elements.slice(this.#head);
    this.#elements = rest.filter((element) => element !== undefined && wanted(element));
    this.#head = 0;
  }
}
