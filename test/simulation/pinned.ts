/** Schedules that have found a bug, and what it was. */
export const PINNED: readonly { seed: number; what: string }[] = [
  { seed: 302, what: 'a line put tickets twice at a time when somebody in another line was told at once' },
  { seed: 472, what: 'a lease that had ended before the key came to it, to keep a lock taken, was told as an outage' },
  { seed: 488, what: 'one of several locks was kept taken for less than minHold when the others took long' },
  { seed: 541, what: 'a call for several names ended with an error of the engine when a key was deleted by hand' },
  { seed: 1_378, what: 'whoever wanted several names went back into a line that another one stood for by then' },
  {
    seed: 1_366,
    what: 'a holder whose key was deleted by hand looked newer than the one after it in the same process',
  },
];
