#!/usr/bin/env node
import { main } from './program.js';

/** The command `nestjs-etcd-lock`; see docs/cli.md. It ends by itself, when nothing is left to be done. */

// Who reads only the beginning of the answer, as `head` does, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});
process.exitCode = await main(process.argv);
