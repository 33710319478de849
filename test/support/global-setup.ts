import type { TestProject } from 'vitest/node';
import { givenEndpoints, startEtcd } from '../../scripts/etcd.mjs';

declare module 'vitest' {
  interface ProvidedContext {
    /** The etcd that all tests share; each keeps to a namespace of its own. */
    endpoints: string[];
  }
}

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = givenEndpoints();
  if (given) {
    project.provide('endpoints', given);
    return undefined;
  }
  const etcd = await startEtcd();
  project.provide('endpoints', [etcd.endpoint]);
  return () => etcd.stop();
}
