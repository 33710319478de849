import * as timers from 'node:timers';

/** Those of Node, as they were when this was loaded: fake timers replace the global ones, and in part these as well. */
export const { setImmediate, setInterval, clearInterval } = timers;

/** So many turns of the event loop are plenty for what waits for nothing but its turn. */
const PLENTY = 10;

/** Lets everything run that waits neither for time nor for anybody outside of this process. */
export async function settle(turns = PLENTY): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise<void>((resolve) => void setImmediate(resolve));
}
