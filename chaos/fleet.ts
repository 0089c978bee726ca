// The processes under test: started, hit by signals, replaced, and watched until they are gone.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as wait } from "node:timers/promises";
import type { Journal } from "./journal.js";
import type { ProcessSettings } from "./kinds.js";

/** More than a shutdown may take, and than the process itself waits for its exit. */
const LEAVES_WITHIN_MS = 30_000;
const STARTS_WITHIN_MS = 15_000;

export interface Member {
  readonly name: string;
  readonly settings: ProcessSettings;
  readonly child: ChildProcess;
  state: "up" | "stopped" | "leaving" | "gone";
  /** It consumes, or is gone. */
  readonly working: Promise<unknown>;
  readonly gone: Promise<void>;
}

type Base = Omit<ProcessSettings, "name" | "role" | "clock" | "deployed" | "onlyWorker">;
type Extra = Partial<Pick<ProcessSettings, "clock" | "deployed" | "onlyWorker">>;

export class Fleet {
  readonly #program: string;
  readonly #base: Base;
  readonly #journal: Journal;
  readonly #members = new Set<Member>();
  #serial = 0;
  #replaces = true;

  constructor(program: string, base: Base, journal: Journal) {
    this.#program = program;
    this.#base = base;
    this.#journal = journal;
  }

  launch(role: ProcessSettings["role"], extra: Extra = {}): Member {
    const name = `${role}${this.#serial}`;
    this.#serial += 1;
    const settings: ProcessSettings = {
      ...this.#base,
      clock: 0,
      deployed: "same",
      onlyWorker: false,
      ...extra,
      role,
      name,
    };
    const child = spawn(process.execPath, [this.#program, JSON.stringify(settings)], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    let stderr = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      stderr = (stderr + text).slice(-1_000);
    });
    const gone = once(child, "exit").then(() => this.#isGone(member, stderr));
    const started = child.stdout === null ? gone : once(child.stdout, "data");
    const working = Promise.race([started, gone, wait(STARTS_WITHIN_MS, undefined, { ref: false })]);
    const member: Member = { name, settings, child, state: "up", gone, working };
    this.#members.add(member);
    return member;
  }

  /** Workers that are up. */
  workers(): Member[] {
    return [...this.#members].filter(({ state, settings }) => state === "up" && settings.role === "worker");
  }

  async kill(member: Member): Promise<void> {
    member.state = "leaving";
    this.#signal(member, "SIGKILL");
    await member.gone;
  }

  stop(member: Member): void {
    member.state = "stopped";
    this.#signal(member, "SIGSTOP");
  }

  wake(member: Member): void {
    if (member.state !== "stopped") return;
    member.state = "up";
    this.#signal(member, "SIGCONT");
  }

  /** Tells it to leave, and waits until it has; one that does not is noted, and killed. */
  async leave(member: Member): Promise<void> {
    if (member.state === "gone") return;
    member.state = "leaving";
    this.#signal(member, "SIGTERM");
    await this.#mustLeave(member, "SIGTERM");
  }

  /** Waits for a process that ends by itself. */
  async end(member: Member, within: number): Promise<void> {
    await Promise.race([member.gone, wait(within, undefined, { ref: false })]);
    if (member.state !== "gone") await this.#mustLeave(member, "its work");
  }

  /** Everyone leaves, and nobody is replaced any more. */
  async leaveAll(): Promise<void> {
    this.#replaces = false;
    for (const member of this.#members) this.wake(member);
    await Promise.all([...this.#members].map((member) => this.leave(member)));
    this.#replaces = true;
  }

  /** Ends all that is left at once. */
  killAll(): void {
    this.#replaces = false;
    for (const { child } of this.#members) child.kill("SIGKILL");
  }

  async #mustLeave(member: Member, after: string): Promise<void> {
    const late = setTimeout(() => {
      this.#journal.note({ e: "hangs", who: member.name, after });
      member.child.kill("SIGKILL");
    }, LEAVES_WITHIN_MS);
    await member.gone;
    clearTimeout(late);
  }

  #signal({ child, name }: Member, signal: NodeJS.Signals): void {
    this.#journal.note({ e: "signal", to: name, signal });
    child.kill(signal);
  }

  #isGone(member: Member, stderr: string): void {
    const { name, child, state, settings } = member;
    member.state = "gone";
    this.#members.delete(member);
    this.#journal.note({ e: "gone", who: name, code: child.exitCode, error: state === "leaving" ? "" : stderr });
    // as whatever watches over a service would
    if (this.#replaces && state === "up" && settings.role === "worker") this.launch("worker");
  }
}
