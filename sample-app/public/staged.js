import { sleep } from './dom.js';

/** What the buttons of the demo bring about. Nothing is played: the page only sends requests at the right moment. */

/** @typedef {import('./replicas.js').Replicas} Replicas */
/** @typedef {import('../src/live.venues.js').VenueView} VenueView */

const NAMES = 'Aki Bela Cleo Dino Edda Finn Gina Hugo Ida Jan Kaya Leo Mina Nils Olga Paul Quinn Rosa Sami Tove'.split(
  ' ',
);
/** So long it may take until somebody has the lock, in milliseconds. */
const PATIENCE = 30_000;

/** Somebody to be, until one says who one is. */
export function anyName() {
  return `${NAMES[Math.floor(Math.random() * NAMES.length)]} ${Math.floor(Math.random() * 90) + 10}`;
}

/**
 * Twenty customers at once, spread over the processes.
 * @param {Replicas} replicas
 * @param {string} venue
 * @param {boolean} isLocked
 */
export async function crowd(replicas, venue, isLocked) {
  const { alive } = replicas;
  const path = `/demo/venues/${venue}/crowd${isLocked ? '' : '?lock=off'}`;
  const answers = await Promise.all(
    alive.map(async (replica, i) => {
      const customers = NAMES.filter((_, name) => name % alive.length === i);
      const { status, body } = await replica.send('POST', path, { customers });
      return status === 201 ? body.flatMap((/** @type {any} */ { value }) => value?.seat ?? []) : [];
    }),
  );
  const tickets = answers.flat();
  const seats = new Set(tickets).size;
  return `${tickets.length} of ${NAMES.length} customers have a ticket, for ${seats} ${seats === 1 ? 'seat' : 'seats'}.`;
}

/**
 * One process stands still in the middle of a booking, and another one books the same seat meanwhile.
 * @param {Replicas} replicas
 * @param {string} venue
 * @param {number} seat
 * @param {(news: string) => void} tell
 */
export async function staleWriter(replicas, venue, seat, tell) {
  // Not the process that this page hears from itself, if there is a choice.
  const [heir, victim] = replicas.alive.toSorted(
    (a, b) => Number(a.url !== location.origin) - Number(b.url !== location.origin),
  );
  if (!heir || !victim) return 'This needs two processes that are alive.';
  tell(`Process ${victim.pid} books seat ${seat}, and will stand still…`);
  const late = victim.send('POST', `/demo/venues/${venue}/stale`, { customer: 'late customer', seat });
  // Somebody else may have bought it meanwhile: then there is nothing to think about.
  const early = await Promise.race([late, until(() => holder(replicas) === victim.pid)]);
  if (early) return `Process ${victim.pid} has not stood still: ${early.body.message}.`;
  tell(`Process ${victim.pid} stands still under the lock; process ${heir.pid} waits for seat ${seat}…`);
  const next = await heir.send('POST', `/venues/${venue}/bookings`, { customer: 'next customer', seat });
  if (next.status === 201) tell(`Process ${heir.pid} has taken over and sold seat ${seat}. Now the late write…`);
  const { status, body } = await late;
  return `The late write was answered with ${status}: ${body.message ?? 'it was taken'}.`;
}

/**
 * Kills the process that has the lock; if nobody has it, a crowd comes first.
 * @param {Replicas} replicas
 * @param {string} venue
 */
export async function killHolder(replicas, venue) {
  if (holder(replicas) === undefined) void crowd(replicas, venue, true);
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline;) {
    const victim = replicas.alive.find(({ pid }) => pid === holder(replicas));
    // It may have given the lock back by now; then it says so, and the next one is asked.
    const answer = await victim?.send('POST', `/demo/venues/${venue}/kill`, { pid: victim.pid });
    if (answer?.status === 0) return `Process ${victim?.pid} is dead. Its customers get no answer; the others wait.`;
    await sleep(50);
  }
  return 'Nobody has had the lock.';
}

/** @param {Replicas} replicas */
function holder({ view }) {
  return (view && 'holder' in view && view.holder?.pid) || undefined;
}

/** @param {() => boolean} condition */
async function until(condition) {
  for (const deadline = Date.now() + PATIENCE; !condition() && Date.now() < deadline;) await sleep(50);
}
