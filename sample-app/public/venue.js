import { byId, fill, h } from './dom.js';
import { showAll, showReplicas } from './panels.js';
import { Replicas } from './replicas.js';
import { SeatMap } from './seats.js';
import { anyName, crowd, killHolder, staleWriter } from './staged.js';

/** The page of a venue: what the processes tell is shown, and what is clicked is sent to them in turn. */

/** What a venue has that is opened here. */
const SEATS = 60;
const NOT_OPEN = `Nobody has opened this venue yet. “Start over” opens it, with ${SEATS} seats.`;

// As it stands in the address, so that it can stand in another one.
const venue = location.pathname.split('/')[2] ?? '';
const name = /** @type {HTMLInputElement} */ (byId('name'));
const lock = /** @type {HTMLInputElement} */ (byId('lock'));
const map = new SeatMap(byId('map'), book);
const replicas = new Replicas(venue, (hello) => {
  if (hello)
    for (const element of document.querySelectorAll('[data-demo]')) element.toggleAttribute('hidden', !hello.isDemo);
  show();
});

byId('venue').textContent = document.title = decodeURIComponent(venue);
name.value = sessionStorage.getItem('name') ?? anyName();
name.addEventListener('input', () => {
  sessionStorage.setItem('name', name.value);
  show();
});
sessionStorage.setItem('name', name.value);
lock.addEventListener('change', () => byId('lock-off').toggleAttribute('hidden', lock.checked));
onClick('crowd', () => crowd(replicas, venue, lock.checked));
onClick('reopen', open);
onClick('kill', () => killHolder(replicas, venue));
onClick('stale', async () => {
  const seat = firstFree();
  return seat === undefined ? 'Every seat is sold.' : await staleWriter(replicas, venue, seat, tell);
});
// Who says nothing any more is seen only by the clock.
setInterval(show, 500);

function show() {
  const { view } = replicas;
  const problem =
    replicas.all.length > 0 && replicas.all.every(({ isConnected }) => !isConnected)
      ? 'No process answers; trying again.'
      : view && 'problem' in view && (view.isClosed ? NOT_OPEN : view.problem);
  const banner = byId('problem');
  banner.hidden = !problem;
  fill(banner, problem ? [h('span', problem)] : []);
  if (!view || 'problem' in view) return showReplicas(replicas);
  showReplicas(replicas, view);
  const { seats, sold, oversold } = view.report;
  fill(byId('summary'), [
    h('span', h('b', String(sold)), ` of ${seats} sold`),
    h(oversold > 0 ? 'span.bad' : 'span', h('b', String(oversold)), ' oversold', oversold > 0 && ' ⚠'),
  ]);
  map.show(seats, view.bookings, name.value, (pid) => replicas.of(pid)?.number);
  showAll(view, replicas);
}

/** @param {number} seat */
async function book(seat) {
  const replica = replicas.next();
  if (!replica) {
    tell('No process is alive.');
    return false;
  }
  tell(`You stand in line for seat ${seat}, at process ${replica.pid}…`);
  show();
  const path = `/venues/${venue}/bookings${lock.checked ? '' : '?lock=off'}`;
  const { status, body } = await replica.send('POST', path, { customer: name.value || 'anonymous', seat });
  tell(status === 201 ? `Seat ${seat} is yours, says process ${body.pid}.` : `${body.message}.`);
  return status === 201;
}

async function open() {
  const answer = await replicas.next()?.send('PUT', `/venues/${venue}`, { seats: SEATS });
  return answer?.status === 200 ? 'All seats are free again.' : `${answer?.body.message ?? 'No process is alive'}.`;
}

function firstFree() {
  const { view } = replicas;
  if (!view || 'problem' in view) return undefined;
  const taken = new Set(view.bookings.map(({ seat }) => seat));
  return Array.from({ length: view.report.seats }, (_, i) => i + 1).find((seat) => !taken.has(seat));
}

/**
 * @param {string} id
 * @param {() => Promise<string>} act
 */
function onClick(id, act) {
  const button = /** @type {HTMLButtonElement} */ (byId(id));
  button.addEventListener('click', async () => {
    if (button.ariaBusy === 'true') return;
    button.ariaBusy = 'true';
    tell(await act());
    button.ariaBusy = 'false';
  });
}

/** @param {string} news */
function tell(news) {
  byId('news').textContent = news;
}
