import { alone } from './cases/alone.mjs';
import { cpu } from './cases/cpu.mjs';
import { decorator } from './cases/decorator.mjs';
import { distinct } from './cases/distinct.mjs';
import { handover } from './cases/handover.mjs';
import { held } from './cases/held.mjs';
import { history } from './cases/history.mjs';
import { hotProcess } from './cases/hot-process.mjs';
import { hotSessions } from './cases/hot-sessions.mjs';
import { liveSessions } from './cases/sessions.mjs';
import { waiters } from './cases/waiters.mjs';

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {(bench: import('./bench.mjs').Bench, name: string) => Promise<void>} run adds rows
 */

/** In the order of the table. @type {readonly Case[]} */
export const CASES = [
  { name: 'alone', run: alone },
  ...[8, 64, 256, 1024].map((callers) => ({ name: `distinct-${callers}`, run: distinct(callers) })),
  { name: 'hot-process', run: hotProcess },
  ...[2, 16, 64].map((sessions) => ({ name: `hot-sessions-${sessions}`, run: hotSessions(sessions) })),
  { name: 'handover', run: handover },
  { name: 'held', run: held },
  { name: 'waiters', run: waiters },
  { name: 'history', run: history },
  { name: 'sessions', run: liveSessions },
  { name: 'cpu', run: cpu },
  { name: 'decorator', run: decorator },
];
