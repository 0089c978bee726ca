import type { TaskDecorator, TaskManager } from "otel-taskflow";
import { beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import { runExample } from "../examples/run-example.js";
import { createTasks } from "../support/tasks.js";

type Method = (this: object) => void;
type Decorated = ClassMethodDecoratorContext<object, Method>;

/** Applies the decorator as a class does, and returns what its initializers make of an instance. */
function decorate(tasks: TaskManager, decorated: Partial<Decorated>): (instance: object) => object {
  const initializers: ((this: object) => void)[] = [];
  const addInitializer = (one: (this: object) => void): void => void initializers.push(one);
  const context = { kind: "method", static: false, private: false, addInitializer, ...decorated } as Decorated;
  tasks.method<object, [], void>()(() => {}, context);
  return (instance) => {
    for (const initializer of initializers) initializer.call(instance);
    return instance;
  };
}

describe("a decorated class", () => {
  let told: { seen: unknown[]; plain: string; names: string[]; keys: string[] };
  beforeAll(async () => {
    const { stdout, stderr } = await runExample("tsx test/manager/decorated/mailer.ts");
    expect(stderr).toBe("");
    told = JSON.parse(stdout);
  });

  test("runs its method as a task, with retries and with the instance as this", () => {
    expect(told.seen.slice(0, 2)).toEqual([
      ["mailer.send", 0, "shop", "ada", 1],
      ["mailer.send", 1, "shop", "ada", 1],
    ]);
  });

  test("gives a task the method's own name where no other is given", () => {
    expect(told.seen[2]).toEqual(["ping"]);
  });

  test("runs what a subclass has put in the method's place", () => {
    expect(told.seen[3]).toEqual(["loud", "ping"]);
  });

  test("may decorate a static method", () => {
    expect(told.seen[4]).toEqual(["static", "mailer.sweep"]);
  });

  test("leaves a direct call a plain call", () => {
    expect(told.seen[5]).toEqual([null, null, "shop", "eve", 2]);
    expect(told.plain).toBe("eve");
  });

  test("says the method's name in code.function.name, and shows no new key on the instance", () => {
    expect(told.names).toEqual(["send", "send"]);
    expect(told.keys).toEqual([]);
  });
});

describe("method()", () => {
  test("lets tests replace the method of an instance, or take the task away", () => {
    const mailer: object = Object.create({ send: () => "sent" });
    const instance = decorate(createTasks(), { name: "send" })(mailer);
    const replaced = Object.assign(instance, { send: () => "faked" });
    expect(replaced.send()).toBe("faked");
    expect(Reflect.deleteProperty(replaced, "send")).toBe(true);
    expect(replaced.send()).toBe("sent");
  });

  test("refuses a second instance, as its tasks would have the same name", () => {
    const init = decorate(createTasks(), { name: "send" });
    init({ send: () => {} });
    expect(() => init({ send: () => {} })).toThrow(/the name "send" is taken by another task/);
  });

  test.each([
    [{ kind: "field" as never, name: "send" }, /use a field: send = tasks\.task/],
    [{ private: true, name: "#send" }, /method\(\): expected a public method/],
  ])("refuses %o when the class is made", (decorated, message) => {
    expect(() => decorate(createTasks(), decorated)).toThrow(message);
  });

  test("says what to do where TypeScript compiles its older decorators", () => {
    const older = createTasks().method() as unknown as (prototype: object, name: string) => void;
    expect(() => older({}, "send")).toThrow(/with experimentalDecorators, use a field/);
  });

  test("is typed by the method", () => {
    type Send = TaskDecorator<{ from: string }, [to: string], Promise<void>>;
    expectTypeOf<TaskManager["method"]>().toBeCallableWith({ retries: 1 });
    expectTypeOf<Send>().parameter(0).toEqualTypeOf<(this: { from: string }, to: string) => Promise<void>>();
    expectTypeOf<Send>().returns.toBeVoid();
  });
});
