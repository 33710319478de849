import { byId, fill, h, seconds } from './dom.js';

/** What the page shows beside the seat map. */

/** @typedef {import('./replicas.js').Replicas} Replicas */
/** @typedef {import('../src/live.venues.js').VenueView} VenueView */
/** @typedef {import('../src/live.venues.js').Turn} Turn */
/** @typedef {import('../src/journal.store.js').Incident} Incident */
/** @typedef {import('../src/journal.store.js').Night} Night */

/** So many are shown of a long queue. */
const SHOWN = 12;
/** So many bookings are shown as those that were served last. */
const SERVED = 5;
/** So many runs of the nightly job are shown. */
const NIGHTS = 3;

/** When this page has first seen that somebody is dead, by its own clock. @type {Map<number, number>} */
const seenAt = new Map();

/**
 * @param {VenueView} view
 * @param {Replicas} replicas
 */
export function showAll(view, replicas) {
  showQueue(view, replicas);
  showStory(view);
  showNights(view, replicas);
}

/**
 * @param {VenueView} view
 * @param {Replicas} replicas
 */
function showNights({ nights }, replicas) {
  const runs = nights.filter(({ sold }) => sold !== null);
  const rows = runs.map((run) => {
    // Those that skipped the same night: it is the one next to them.
    const skipped = nights.filter(
      (night) => night.sold === null && runs.every((other) => distance(night, run) <= distance(night, other)),
    );
    return h(
      'li',
      time(run.at),
      h('span', processOf(run.pid, replicas), ` ran it: ${run.sold} seats are sold`),
      skipped.length > 0 && h('span.dim.skipped', 'skipped by', ...skipped.map(({ pid }) => processOf(pid, replicas))),
    );
  });
  fill(byId('nights'), rows.slice(0, NIGHTS));
}

/**
 * @param {VenueView} view
 * @param {Replicas} replicas
 */
function showQueue({ holder, waiters, bookings }, replicas) {
  const turn = (/** @type {Turn} */ { pid, customer }) => [
    h('b', customer ?? 'one of its customers'),
    pid === null ? h('span') : processOf(pid, replicas),
  ];
  const line = waiters.slice(0, SHOWN).map((waiter) => h('li', ...turn(waiter)));
  const locked = bookings.filter(({ token }) => token !== null);
  const served = locked.slice(-SERVED).toReversed();
  fill(byId('queue'), [
    holder ? h('p.holder', h('span.dim', 'has it'), ...turn(holder)) : h('p.holder.none', 'Nobody has it'),
    h('h3', waiters.length === 0 ? 'Nobody waits' : `In line: ${waiters.length}`),
    ...(line.length > 0 ? [h('ol.line', ...line)] : []),
    ...(waiters.length > SHOWN ? [h('p.dim', `and ${waiters.length - SHOWN} more`)] : []),
    ...(served.length > 0 ? [h('h3', 'Served last')] : []),
    h(
      'ul.rows.served',
      ...served.map(({ seat, customer, pid, token }) =>
        h('li', h('b', customer), h('span', `seat ${seat}`), processOf(pid, replicas), h('code', `token ${token}`)),
      ),
    ),
    ...(locked.length > 1 ? [h('p.hint', verdict(locked))] : []),
  ]);
}

/** @param {{ token: string | null, revision: string | null }[]} bookings in the order in which they were written */
function verdict(bookings) {
  const grows = (/** @type {'token' | 'revision'} */ what, /** @type {boolean} */ strictly) =>
    bookings.every((booking, i) => {
      const step = i === 0 ? 1n : BigInt(booking[what] ?? 0) - BigInt(bookings[i - 1]?.[what] ?? 0);
      return strictly ? step > 0n : step >= 0n;
    });
  // Customers of one process who came together may share a place in the queue.
  const order = grows('revision', false) ? 'in the order of the queue' : 'OUT OF ORDER';
  const tokens = grows('token', true) ? 'each with a higher token' : 'WITH A TOKEN THAT DOES NOT GROW';
  return `${bookings.length} bookings under the lock, served ${order}, ${tokens}.`;
}

/**
 * @param {Replicas} replicas
 * @param {VenueView} [view] as far as there is something to see
 */
export function showReplicas(replicas, view) {
  const { leader, announcement } = view ?? {};
  const rows = replicas.all.map(({ pid, number, url, state }) => {
    const link = h('a.dim', new URL(url).host);
    link.setAttribute('href', url + location.pathname);
    return h(
      'li',
      h(`span.dot.process-${number}`),
      h('b', pid === undefined ? '…' : String(pid)),
      link,
      pid === leader && state !== 'gone' && h('span.badge', 'leader'),
      h(`span.state.${state.replace(' ', '-')}`, state),
    );
  });
  fill(byId('replicas'), rows);
  if (!announcement) return;
  byId('announcement').textContent =
    `The leader announces the sales: ${announcement.sold} seats in ${announcement.venues} ` +
    `${announcement.venues === 1 ? 'venue' : 'venues'}, said process ${announcement.pid} at ${clock(announcement.at)}.`;
}

/** @param {VenueView} view */
function showStory(view) {
  const items = view.incidents.map((incident) => story(incident, view));
  fill(byId('story'), items.length > 0 ? items : [h('li.dim', 'Nothing out of the ordinary yet.')]);
  byId('incident').textContent = view.incidents[0]?.story ?? '';
}

/**
 * @param {Incident} incident
 * @param {VenueView} view
 */
function story({ id, at, pid, what, story: text }, { bookings, holder }) {
  const item = h(`li.${what.replace(' ', '-')}`, time(at), h('span', `${text}.`));
  if (what !== 'killed') return item;
  const heir = bookings.find((booking) => booking.pid !== pid && booking.beganAt >= at);
  if (heir) {
    item.append(h('strong', `Process ${heir.pid} took over after ${seconds(heir.beganAt - at)}.`));
  } else if (holder?.pid === pid) {
    if (!seenAt.has(id)) seenAt.set(id, Date.now());
    const waited = seconds(Date.now() - (seenAt.get(id) ?? 0));
    item.append(h('strong', `Nobody has taken over for ${waited} now.`));
  }
  return item;
}

/** @param {Night} a @param {Night} b */
function distance(a, b) {
  return Math.abs(a.at - b.at);
}

/**
 * @param {number} pid
 * @param {Replicas} replicas
 */
function processOf(pid, replicas) {
  const number = replicas.of(pid)?.number;
  return h('span.process', h(`span.dot.process-${number ?? 'gone'}`), String(pid));
}

/** @param {number} at */
function time(at) {
  return h('time', clock(at));
}

/** @param {number} at */
function clock(at) {
  return new Date(at).toTimeString().slice(0, 8);
}
