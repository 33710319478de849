import { createContext } from 'preact';
import { useContext, useLayoutEffect, useReducer, useRef } from 'preact/hooks';
import type { Clock } from './clock.js';
import type { State, Store } from './store.js';

/** What all components of the page share. */
export interface PageContext {
  readonly store: Store;
  readonly clock: Clock;
  /** What the addresses of the server are relative to. */
  readonly base: string;
  /** Tries to connect once more, after a refusal. */
  again(): void;
}

export const Page = createContext<PageContext>(undefined!);

/** A part of the state; the component is shown anew when that part is another one. */
export function useStore<T>(select: (state: State) => T): T {
  const { store } = useContext(Page);
  const [, showAnew] = useReducer((times: number) => times + 1, 0);
  const value = select(store.state);
  const shown = useRef({ select, value });
  shown.current = { select, value };
  useLayoutEffect(() => {
    const look = (): void => {
      const { current } = shown;
      if (!Object.is(current.select(store.state), current.value)) showAnew(0);
    };
    look();
    return store.subscribe(look);
  }, [store]);
  return value;
}

/** The time by the clock of the server; the component is shown anew each second. */
export function useNow(): number {
  const { clock } = useContext(Page);
  const [, showAnew] = useReducer((times: number) => times + 1, 0);
  useLayoutEffect(() => clock.subscribe(() => showAnew(0)), [clock]);
  return clock.now();
}
