import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { build } from 'rolldown';
import type { Edit } from './broken-engines.js';
import type { Batch, Found } from './worker.js';

const ROOT = new URL('../../', import.meta.url);

/**
 * In so many parts a run is given to the threads: fewer, and one that fails is told later; more, and the threads are
 * never warm.
 */
const PARTS = 20;

/**
 * Makes one file of the simulation and the engine, which threads can run as fast as Node can. `edits` change the source
 * of the engine on the way.
 */
export async function bundle(name: string, edits: readonly Edit[] = []): Promise<URL> {
  const file = new URL(`.cache/simulation/${name}.mjs`, ROOT);
  const open = new Set(edits);
  await build({
    input: fileURLToPath(new URL('test/simulation/worker.ts', ROOT)),
    platform: 'node',
    logLevel: 'warn',
    output: { file: fileURLToPath(file), format: 'esm' },
    plugins: [
      {
        name: 'break-the-engine',
        transform(code, id) {
          let changed = code;
          for (const edit of edits) {
            if (!id.endsWith(`/lib/core/${edit.file}`)) continue;
            if (changed.split(edit.find).length !== 2) throw new Error(`${edit.file} has not once: ${edit.find}`);
            changed = changed.replace(edit.find, () => edit.replace);
            open.delete(edit);
          }
          return changed;
        },
      },
    ],
  });
  if (open.size > 0) throw new Error(`no file of the engine is ${[...open].map((edit) => edit.file).join()}`);
  return file;
}

/** Runs the schedules of so many seeds from `from` on, on all cores, or fewer when one has failed as `isEnough` wants it. */
export async function run(
  file: URL,
  from: number,
  count: number,
  isEnough: (failure: Found['failures'][number]) => boolean = () => true,
): Promise<Found> {
  const sum: Found = { schedules: 0, grants: 0, faults: 0, losses: 0, failures: [] };
  let next = from;
  const end = from + count;
  const size = Math.ceil(count / PARTS);
  const work = async (): Promise<void> => {
    while (next < end && !sum.failures.some(isEnough)) {
      const batch = { from: next, to: Math.min(next + size, end) };
      next = batch.to;
      const found = await runBatch(file, batch);
      sum.schedules += found.schedules;
      sum.grants += found.grants;
      sum.faults += found.faults;
      sum.losses += found.losses;
      sum.failures.push(...found.failures);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return sum;
}

function runBatch(file: URL, batch: Batch): Promise<Found> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(file, { workerData: batch });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`the simulation of ${batch.from} ended with ${code}`)));
  });
}
