import { open as openPut } from './put.mjs';

/**
 * Two bare puts, one after the other: what a lock and an unlock cost that write once each and do nothing else.
 * @param {import('../peers.mjs').Target} target
 * @returns {Promise<import('../peers.mjs').Session>}
 */
export async function open(target) {
  const { cycle: put, close } = await openPut(target);
  return {
    async cycle(name) {
      await put(name);
      await put(name);
    },
    close,
  };
}
