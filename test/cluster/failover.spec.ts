import { setTimeout as sleep } from 'node:timers/promises';
import { failoverSuite } from '../support/failover.js';

/**
 * One member fails, under the traffic of services on every member: locks are kept, places in the line as well, and locks
 * are granted again within 3 s of a new leader. FAILOVER_RUNS=n does it n times and prints what was measured; see
 * test/support/traffic.ts for what goes on meanwhile.
 */

const fault = failoverSuite();

fault('leader killed', async ({ cluster }) => {
  const leader = await cluster.leader();
  await cluster.kill(leader);
  await cluster.leader();
  await sleep(2_000);
});

/** The nasty one: its connections stay open, and its followers wait for it. */
fault('leader paused', async (failover) => {
  const { cluster, traffics } = failover;
  const leader = await cluster.leader();
  const end = sleep(8_000);
  cluster.signal(leader, 'SIGSTOP');
  await cluster.leader();
  await end;
  for (const traffic of traffics) failover.expectHeld(traffic);
  failover.isRevocable = true;
  cluster.signal(leader, 'SIGCONT');
  await sleep(1_000);
});

fault('follower paused', async ({ cluster }) => {
  const leader = await cluster.leader();
  cluster.signal((leader + 1) % cluster.endpoints.length, 'SIGSTOP');
  await sleep(4_000);
});
