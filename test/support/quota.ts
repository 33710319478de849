import type { Etcd3 } from 'etcd3';
import { eventually } from './eventually.js';

/** Below what etcd takes in one request. */
const CHUNK = 2 ** 20;

/**
 * Writes until etcd takes no more, and has raised its alarm. etcd looks at its size ten times a second, in which time a
 * fast disk takes more than the quota.
 */
export async function fill(admin: Etcd3, quota: number): Promise<void> {
  for (let i = 0; i <= (10 * quota) / CHUNK; i++) {
    const refusal = await admin
      .put(`filling/${i}`)
      .value(Buffer.alloc(CHUNK))
      .then(
        () => '',
        (error: Error) => error.message,
      );
    if (refusal.includes('space exceeded')) return await alarmed(admin);
    if (refusal) throw new Error(refusal);
  }
  throw new Error('etcd has no quota');
}

/** The alarm is a proposal of its own, a moment later; from then on small puts are refused, too. */
async function alarmed(admin: Etcd3): Promise<void> {
  await eventually(async () => {
    const { alarms } = await admin.maintenance.alarm({ action: 'Get', memberID: '0', alarm: 'Nospace' });
    if (alarms.length === 0) throw new Error('there is no alarm yet');
  });
}
