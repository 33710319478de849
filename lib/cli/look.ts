import type { LockService } from '../lock.service.js';
import { openService } from './connect.js';
import type { ConnectionFlags } from './flags.js';
import { clean, showList, showState } from './show.js';

/** The commands that look, and the one that takes a lock away. */

export interface LookFlags extends ConnectionFlags {
  json?: boolean;
}

export async function list(prefix: string | undefined, flags: LookFlags): Promise<void> {
  const states = await ask(flags, (locks) => locks.list({ prefix }));
  const empty = `No lock is held${prefix ? ` whose name begins with "${clean(prefix)}"` : ''}.\n`;
  print(flags, states, () => (states.length > 0 ? showList(states, Date.now()) : empty));
}

export async function inspect(name: string, flags: LookFlags): Promise<void> {
  const state = await ask(flags, (locks) => locks.inspect(name));
  print(flags, state, () => showState(state, Date.now()));
}

export async function release(name: string, flags: LookFlags): Promise<void> {
  const released = await ask(flags, (locks) => locks.forceRelease(name));
  const what = released === 0 ? 'Nobody had' : `Deleted ${released} ${released === 1 ? 'key' : 'keys'} that had`;
  print(flags, { name, released }, () => `${what} the lock "${clean(name)}".\n`);
}

async function ask<T>(flags: LookFlags, question: (locks: LockService) => Promise<T>): Promise<T> {
  await using locks = openService(flags);
  return await question(locks);
}

function print({ json }: LookFlags, answer: object, text: () => string): void {
  process.stdout.write(json ? `${JSON.stringify(answer, undefined, 2)}\n` : text());
}
