import { Command, CommanderError, Option } from 'commander';
import { readFileSync } from 'node:fs';
import { EXIT, exitCodeFor } from './exit.js';
import { count, duration, exitCode, pair } from './flags.js';
import type { LookFlags } from './look.js';
import type { RunFlags } from './run.js';

/** What can be typed. What does it is loaded when it is needed, so that help comes at once. */

const EXAMPLES = `
Examples:
  nestjs-etcd-lock ls billing/
  nestjs-etcd-lock inspect billing/nightly
  nestjs-etcd-lock run --timeout 5m billing/nightly -- ./nightly.sh --all`;

/** Resolves with the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  let code = 0;
  const program = build((of) => (code = of));
  try {
    await program.parseAsync(argv);
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT.usage;
    const { message } = error as Error;
    if (message !== '') process.stderr.write(`nestjs-etcd-lock: ${message}\n`);
    return exitCodeFor(error);
  }
}

function build(end: (code: number) => void): Command {
  const program = new Command('nestjs-etcd-lock')
    .description('Looks at distributed locks on etcd, takes them away, and runs commands under them.')
    .version(versionOf())
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', EXAMPLES);
  addConnection(program);

  addJson(program.command('ls'))
    .description('list the locks that somebody has, and who')
    .argument('[prefix]', 'only those whose names begin with it')
    .action(async (prefix: string | undefined, _flags, command: Command) => {
      const { list } = await import('./look.js');
      await list(prefix, command.optsWithGlobals<LookFlags>());
    });
  addJson(program.command('inspect'))
    .description('show who has a lock and who waits for it, in their order')
    .argument('<name>', 'the name of the lock')
    .action(async (name: string, _flags, command: Command) => {
      const { inspect } = await import('./look.js');
      await inspect(name, command.optsWithGlobals<LookFlags>());
    });
  addJson(program.command('release'))
    .description('take a lock away from those who have it; they are told, and may work until then')
    .argument('<name>', 'the name of the lock')
    .action(async (name: string, _flags, command: Command) => {
      const { release } = await import('./look.js');
      await release(name, command.optsWithGlobals<LookFlags>());
    });
  addRun(program.command('run'))
    .description('run a command under a lock, and end it if the lock is lost')
    .argument('<name>', 'the name of the lock')
    .argument('<command...>', 'what to run, behind --')
    .action(async (name: string, words: string[], _flags, command: Command) => {
      const { run } = await import('./run.js');
      end(await run(name, words, command.optsWithGlobals<RunFlags>()));
    });
  return program;
}

function versionOf(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

/** With the names and the variables of etcdctl. */
function addConnection(command: Command): void {
  const fallback = process.env.ETCDCTL_ENDPOINTS || '127.0.0.1:2379';
  command
    .addOption(new Option('--endpoints <list>', 'the members of etcd').env('ETCD_ENDPOINTS').default(fallback))
    .addOption(new Option('--namespace <prefix>', 'the key prefix of the locks (default: "locks/")'))
    .addOption(new Option('--cacert <file>', 'the authority of the certificate of etcd').env('ETCDCTL_CACERT'))
    .addOption(new Option('--cert <file>', 'the certificate of this client').env('ETCDCTL_CERT'))
    .addOption(new Option('--key <file>', 'the key of that').env('ETCDCTL_KEY'))
    .addOption(
      new Option('--user <name[:password]>', 'the password is better given as ETCDCTL_PASSWORD').env('ETCDCTL_USER'),
    );
}

function addJson(command: Command): Command {
  return command.option('--json', 'answer with one JSON document on standard output');
}

function addRun(command: Command): Command {
  return command
    .addOption(
      new Option('--timeout <duration>', 'how long to wait for the lock, such as 30s')
        .argParser(duration)
        .default(Infinity, 'for ever'),
    )
    .option('-n, --nonblock', 'do not wait')
    .option('-E, --conflict-exit-code <code>', 'exit code when somebody else has the lock', exitCode, EXIT.busy)
    .option('--shared', 'hold it together with others who say so')
    .option('--limit <n>', 'so many may hold it at a time; all who use the name have to agree', count)
    .option('--min-hold <duration>', 'it stays taken for at least so long', duration)
    .option('--max-hold <duration>', 'after so long the command is ended', duration)
    .option('--metadata <key=value>', 'shown to others; may be repeated', pair)
    .option('--ttl <duration>', 'how long it stays taken when this process dies (default: 15s)', duration)
    .option('--connect-timeout <duration>', 'how long to look for an etcd that answers (default: 5s)', duration)
    .addOption(
      new Option('--kill-after <duration>', 'after a loss, the time between SIGTERM and SIGKILL')
        .argParser(duration)
        .default(5_000, '5s'),
    )
    .option('-q, --quiet', 'do not tell on standard error who has the lock');
}
