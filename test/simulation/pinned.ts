/** Schedules that have found a bug, and what it was. */
export const PINNED: readonly { seed: number; what: string }[] = [
  {
    seed: 2_373,
    what: 'a holder whose key was deleted by hand looked newer than the one after it in the same process',
  },
];
