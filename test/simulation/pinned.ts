/** Schedules that have found a bug, and what it was. */
export const PINNED: readonly { seed: number; what: string }[] = [
  {
    seed: 1_366,
    what: 'a holder whose key was deleted by hand looked newer than the one after it in the same process',
  },
];
