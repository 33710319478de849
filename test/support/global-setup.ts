import type { TestProject } from 'vitest/node';
import { findChromium, HOW_TO_GET_CHROMIUM } from '../../scripts/chromium.mjs';
import { givenEndpoints, startEtcd } from '../../scripts/etcd.mjs';
import { etcdState } from './etcd-state.mjs';
import { eventually } from './eventually.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** The etcd that all tests share; each keeps to a namespace of its own, below `test/`. */
    endpoints: string[];
    /** The major version of Nest that the tests run on. */
    nest: string;
  }
}

/** The leases of processes that were killed last have to expire first, in milliseconds. */
const PATIENCE = Number(process.env.LEAK_PATIENCE ?? 10_000);

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Once, and not for each major version.
  if (project.name === 'nest 12' && !findChromium()) {
    process.stderr.write(`Tests in a browser are skipped: ${HOW_TO_GET_CHROMIUM}\n`);
  }
  const given = givenEndpoints();
  const own = given ? undefined : await startEtcd();
  const endpoints = given ?? [own!.endpoint];
  project.provide('endpoints', endpoints);
  return async () => {
    try {
      await eventually(() => checkNothingIsLeft(endpoints[0]!, own !== undefined), PATIENCE);
    } catch (error) {
      // vitest would only print it, and the run pass.
      process.exitCode = 1;
      throw error;
    } finally {
      await own?.stop();
    }
  };
}

/** Where other things live as well, only keys can be told to be ours. */
async function checkNothingIsLeft(endpoint: string, isOwn: boolean): Promise<void> {
  const { keys, leases, watches, streams } = await etcdState(endpoint, isOwn ? '' : 'test/');
  const left = isOwn ? { keys, leases, watches, streams } : { keys };
  if (keys.length === 0 && !(isOwn && leases.length + watches + streams > 0)) return;
  throw new Error(`The tests have left behind in etcd: ${JSON.stringify(left)}`);
}
