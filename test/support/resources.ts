import { createHook } from 'node:async_hooks';

/** How long a test waits for what is just being closed, in milliseconds. */
export const LEAK_PATIENCE = Number(process.env.LEAK_PATIENCE ?? 5_000);

/** What keeps this process alive, and who listens to it: how many of each kind. */
export function resources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  for (const event of process.eventNames()) {
    counts.set(`listener of the process for "${String(event)}"`, process.listenerCount(event));
  }
  return counts;
}

/** What there is more of than before. */
export function leftBehind(before: ReadonlyMap<string, number>, now: ReadonlyMap<string, number>): string[] {
  return [...now].flatMap(([kind, count]) => {
    const more = count - (before.get(kind) ?? 0);
    return more > 0 ? [`${more} × ${kind}`] : [];
  });
}

/** Timers, sockets, servers and pipes; not promises, ticks, or files that are being read. */
const TRACED = /^(Timeout|Immediate|\w+WRAP)$/;
const OTHERS = /\(?node:|node_modules\/(vitest|@vitest)\/|support\/(resources|eventually|leaks)\.ts/;

/** Notes for each resource where it was made, from here on. */
export function traceResources(): { forget(): void; report(): string } {
  const made = new Map<number, { type: string; resource: { hasRef?(): boolean }; stack: string }>();
  createHook({
    init(id, type, _trigger, resource) {
      if (TRACED.test(type)) made.set(id, { type, resource, stack: new Error(type).stack ?? '' });
    },
    destroy: (id) => void made.delete(id),
  }).enable();
  return {
    forget: () => made.clear(),
    report() {
      const held = [...made.values()].filter(({ resource }) => resource.hasRef?.() !== false);
      const lines = held.map(({ type, stack }) => {
        const frames = stack.split('\n').slice(1);
        // Other words than those of a stack, which vitest would take for that of the error.
        return [
          type,
          ...frames.filter((frame) => !OTHERS.test(frame)).map((frame) => frame.replace('at ', 'in ')),
        ].join('\n');
      });
      return lines.join('\n');
    },
  };
}
