import type { Context } from "@opentelemetry/api";
import { activeContext, withContext } from "../core/context.js";
import { fieldsOf } from "../core/wire.js";
import { type Addition, addTogether, addWithin } from "./bullmq-add-job.js";

/** Decides how the job of a node is added. */
type AdditionOf = (node: Record<string, unknown>) => Addition;

/** Gives what BullMQ makes of a node. */
type Added = () => Promise<unknown>;

/** A node of a flow's tree. */
interface Planned {
  /** As its caller gave it, which may be anything. */
  readonly node: unknown;
  readonly addition: Addition;
  readonly children: readonly Planned[] | undefined;
}

/**
 * Adds the jobs of a flow, or of several, by one call of `add`, which gets a copy of the tree, and returns what that
 * does. The enqueue span of a child is one of its parent's: a flow is one trace.
 */
export function addTree<T>(tree: unknown, additionOf: AdditionOf, add: (tree: unknown) => T): T {
  const isMany = Array.isArray(tree);
  const planned = (isMany ? tree : [tree]).map((root) => plan(root, additionOf));
  const copies: unknown[] = [];
  let around: Context | undefined;
  const see = (): void => {
    around = isMany ? undefined : activeContext();
  };
  const join = (added: Promise<unknown>): unknown[] => {
    const joined: unknown[] = [];
    for (const [index, root] of planned.entries()) {
      copies[index] = joinNode(root, () => (isMany ? added.then(at(index)) : added), joined, see);
    }
    return joined;
  };
  const addCopies = (): T => add(isMany ? copies : copies[0]);
  // spans that BullMQ makes of a flow are part of its enqueue span
  return addTogether(join, () => (around === undefined ? addCopies() : withContext(around, addCopies)));
}

function plan(node: unknown, additionOf: AdditionOf): Planned {
  const { children } = fieldsOf(node);
  return {
    node,
    addition: additionOf(fieldsOf(node)),
    children: Array.isArray(children) ? children.map((child) => plan(child, additionOf)) : undefined,
  };
}

// `added` gives the node of the same place in what BullMQ returns. `see` is called within the enqueue span.
function joinNode({ node, addition, children }: Planned, added: Added, joined: unknown[], see?: () => void): unknown {
  if (typeof node !== "object" || node === null) return node;
  const copy: Record<string, unknown> = { ...node };
  const join = (opts: unknown): Promise<unknown> => {
    see?.();
    if (opts !== undefined) copy.opts = opts;
    const found = added();
    const addedChild = (index: number) => () => found.then((tree) => at(index)(fieldsOf(tree).children));
    if (children !== undefined) {
      copy.children = children.map((child, index) => joinNode(child, addedChild(index), joined));
    }
    return found.then((tree) => fieldsOf(tree).job);
  };
  joined.push(addWithin(addition, join));
  return copy;
}

function at(index: number): (list: unknown) => unknown {
  return (list) => (Array.isArray(list) ? list[index] : undefined);
}
