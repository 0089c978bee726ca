/** From now on, who asks for the time hears one that is wrong by this many milliseconds; timers stay right. */
export function skewClock(ms: number): void {
  const now = (): number => right.now() + ms;
  const right = globalThis.Date;
  globalThis.Date = new Proxy(right, {
    construct: (target, parts) => Reflect.construct(target, parts.length === 0 ? [now()] : parts),
    get: (target, key) => (key === "now" ? now : Reflect.get(target, key)),
  });
}
