import { setTimeout as sleep } from 'node:timers/promises';
import { failoverSuite, type Failover } from '../support/failover.js';

/**
 * All members fail, one after the other or together: locks are kept where there is time enough to renew them, else lost
 * once and in time, and nobody who waits is forgotten. FAILOVER_RUNS=n as in failover.spec.ts.
 */

const fault = failoverSuite();

fault('all members restarted in turn', async ({ cluster }) => {
  for (const index of cluster.endpoints.keys()) {
    await cluster.kill(index);
    await cluster.leader();
    await cluster.heal();
    await sleep(1_000);
  }
});

const killAll = async ({ cluster }: Failover, ms: number) => {
  const members = [...cluster.endpoints.keys()];
  await Promise.all(members.map((index) => cluster.kill(index)));
  await sleep(ms);
  await Promise.all(members.map((index) => cluster.restart(index)));
  await cluster.leader();
  await sleep(2_000);
};

fault('cluster down for 2 s', (failover) => killAll(failover, 2_000));
fault('cluster down for 6 s', (failover) => killAll(failover, 6_000));
