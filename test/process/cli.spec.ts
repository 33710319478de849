import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, inject, onTestFinished, test } from 'vitest';
import { LockService } from '../../lib/index.js';
import { freePort } from '../../scripts/etcd.mjs';
import { Cli } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { secured, startSecureEtcd } from '../support/secure-etcd.js';
import { addUsers, APP } from '../support/users.js';

/** The command, as built, on a real etcd. */

let namespace: string;
let locks: LockService;

beforeEach(() => {
  namespace = `test/${randomUUID()}/`;
  locks = new LockService({ hosts: inject('endpoints'), namespace, shutdownTimeout: 0, waitTimeout: Infinity });
  return () => locks.close();
});

const cli = (...args: string[]) => new Cli(['--namespace', namespace, ...args]);
/** What it has printed, when it has ended well. */
const answer = async (...args: string[]) => {
  const command = cli(...args);
  expect({ code: await command.ended, stderr: command.stderr }).toEqual({ code: 0, stderr: '' });
  return command.stdout;
};
const holders = async (name: string) => (await locks.inspect(name)).holders;
const waiting = (name: string, count: number) =>
  eventually(async () => expect((await locks.inspect(name)).waiters).toHaveLength(count));
/** A command that says when it has begun, and does not end by itself. */
const node = (onTerm = '') => [
  process.execPath,
  '-e',
  `${onTerm}; setInterval(() => {}, 1_000); process.stdout.write('begun\\n');`,
];

describe('looking', () => {
  test('at nothing says so', async () => {
    const [list, state] = await Promise.all([answer('ls'), answer('inspect', 'a')]);
    expect(list).toBe('No lock is held.\n');
    expect(state).toBe('Nobody has the lock "a".\n');
  });

  test('shows who holds, where, in which handler, and who waits, in their order', async () => {
    await locks.acquire('seat/7', { handler: 'Seats.book', metadata: { tenant: 'acme' } });
    await locks.acquire('job');
    for (const tenant of ['first', 'second']) {
      locks.acquire('seat/7', { metadata: { tenant } }).catch(() => {});
      await waiting('seat/7', tenant === 'first' ? 1 : 2);
    }
    const [list, part, state] = await Promise.all([
      answer('ls'),
      answer('ls', 'seat/', '--json'),
      answer('inspect', 'seat/7'),
    ]);
    const who = `${hostname()}:${process.pid}`;
    const words = (text: string) =>
      text
        .trim()
        .split('\n')
        .map((line) => line.split(/ {2,}/));
    expect(words(list)).toEqual([
      ['NAME', 'HOLDER', 'HANDLER', 'AGE', 'WAITING'],
      ['job', who, expect.stringMatching(/^\d+s$/), '0'],
      ['seat/7', who, 'Seats.book', expect.stringMatching(/^\d+s$/), '2'],
    ]);
    expect(words(state).map(([place, person, , , ...about]) => [place, person, ...about])).toEqual([
      ['PLACE', 'WHO', 'HANDLER', 'METADATA'],
      ['holder', who, 'Seats.book', 'tenant=acme'],
      ['1', who, 'tenant=first'],
      ['2', who, 'tenant=second'],
    ]);
    expect(JSON.parse(part)).toEqual(JSON.parse(JSON.stringify(await locks.list({ prefix: 'seat/' }))));
  });
});

test('release takes the lock away, and says from how many', async () => {
  const lock = await locks.acquire('a/b');
  expect(await answer('release', 'a/b')).toBe('Deleted 1 key that had the lock "a/b".\n');
  expect(JSON.parse(await answer('release', 'a/b', '--json'))).toEqual({ name: 'a/b', released: 0 });
  expect(await holders('a/b')).toEqual([]);
  await lock.release();
});

describe('run', () => {
  test('gives the command the lock, its streams and its arguments, and ends with its exit code', async () => {
    const script = 'printf "%s\\n" "$LOCK_NAME" "$LOCK_KEY" "$LOCK_REVISION" "$LOCK_FENCING_TOKEN" "$@"; exit 7';
    const command = cli(
      'run',
      'a/b',
      '--metadata',
      'why=test',
      '--',
      'sh',
      '-c',
      `echo begun >&2; ${script}`,
      '-',
      '-x',
    );
    expect({ code: await command.ended, stderr: command.stderr }).toEqual({ code: 7, stderr: 'begun\n' });
    const [name, key, revision, token, ...args] = command.stdout.trim().split('\n');
    expect([name, ...args]).toEqual(['a/b', '-x']);
    expect(key?.startsWith(`${namespace}a%2Fb/`)).toBe(true);
    expect(BigInt(token!) >> 16n).toBe(BigInt(revision!));
    expect(await holders('a/b')).toEqual([]);
  });

  test('tells who has the lock while it waits, and how many are before it, and then runs', async () => {
    const lock = await locks.acquire('x', { handler: 'Seats.book' });
    const next = locks.acquire('x');
    await waiting('x', 1);
    const command = cli('run', 'x', '--metadata', 'why=test', '--', 'sh', '-c', 'exit 0');
    await command.prints(/waiting/);
    const who = `${hostname()}:${process.pid} \\(Seats\\.book\\), asked \\d+s ago`;
    expect(command.stderr).toMatch(new RegExp(`^waiting for "x": held by ${who}; 1 in line before us\n$`));
    const [, waiter] = (await locks.inspect('x')).waiters;
    expect(waiter).toMatchObject({ pid: command.pid, handler: 'run sh', metadata: { why: 'test' } });
    await lock.release();
    await (await next).release();
    expect(await command.ended).toBe(0);
  });

  test('does not run the command when the lock is busy, and says who has it', async () => {
    await locks.acquire('x', { handler: 'Seats.book' });
    const run = (...flags: string[]) => cli('run', ...flags, 'x', '--', 'echo', 'ran');
    const commands = [run('--nonblock'), run('--timeout', '200ms'), run('-q', '-n', '-E', '3')];
    expect(await Promise.all(commands.map(({ ended }) => ended))).toEqual([75, 75, 3]);
    const [, , quiet] = commands.map(({ stdout, stderr }) => stdout + stderr);
    expect(quiet).toBe('');
    for (const { stdout, stderr } of commands.slice(0, 2)) {
      expect(stdout).toBe('');
      expect(stderr).toMatch(/^nestjs-etcd-lock: The lock "x" is busy: .* It is held by .*\(Seats\.book\).*\n$/);
    }
    expect(await holders('x')).toHaveLength(1);
  });

  test('ends the command and all it has started when the lock is lost, and says why', async () => {
    const friendly = cli(
      'run',
      '--ttl',
      '2s',
      'x',
      '--',
      'sh',
      '-c',
      "trap 'echo told; exit 0' TERM; sleep 60 & echo begun; wait",
    );
    const deaf = cli(
      'run',
      '--ttl',
      '2s',
      '--kill-after',
      '100',
      'y',
      '--',
      'sh',
      '-c',
      "trap '' TERM; sleep 60 & echo begun; wait",
    );
    await Promise.all([friendly.prints(/begun/), deaf.prints(/begun/)]);
    expect(await Promise.all([locks.forceRelease('x'), locks.forceRelease('y')])).toEqual([1, 1]);
    expect(await Promise.all([friendly.ended, deaf.ended])).toEqual([74, 74]);
    expect(friendly.stdout).toBe('begun\ntold\n');
    expect(friendly.stderr).toMatch(/^nestjs-etcd-lock: Lost the lock "x" \(force-released\).* is being ended\.\n$/);
    expect(await holders('x')).toEqual([]);
  });

  test('passes signals on to the command, waits for its end, and tells how it ended', async () => {
    const onTerm = `process.on('SIGTERM', () => { process.stdout.write('told\\n'); process.exit(5); })`;
    const trapping = cli('run', 'x', '--', ...node(onTerm));
    const plain = cli('run', 'y', '--', ...node());
    await Promise.all([trapping.prints(/begun/), plain.prints(/begun/)]);
    trapping.signal('SIGTERM');
    plain.signal('SIGINT');
    expect(await Promise.all([trapping.ended, plain.ended])).toEqual([5, 130]);
    expect(trapping.stdout).toBe('begun\ntold\n');
    expect([trapping.stderr, plain.stderr]).toEqual(['', '']);
    expect(await locks.list()).toEqual([]);
  });

  test('leaves the line when a signal comes while it waits', async () => {
    const lock = await locks.acquire('x');
    const command = cli('run', '-q', 'x', '--', 'echo', 'ran');
    await waiting('x', 1);
    command.signal('SIGINT');
    expect(await command.ended).toBe(130);
    expect([command.stdout, command.stderr]).toEqual(['', '']);
    expect((await locks.inspect('x')).waiters).toEqual([]);
    await lock.release();
  });

  test('says when there is no such command, and gives the lock back', async () => {
    const command = cli('run', 'x', '--', `${namespace}no-such-command`);
    expect(await command.ended).toBe(127);
    expect(command.stderr).toMatch(/^nestjs-etcd-lock: Cannot run .*: there is no such command\.\n$/);
    expect(await holders('x')).toEqual([]);
  });
});

describe('what cannot work', () => {
  test('is told in a line, with the exit code 64', async () => {
    const cases: [string[], RegExp][] = [
      [['run', 'x'], /missing required argument 'command'/],
      [['run', 'x', 'ls', '-la'], /unknown option '-la'/],
      [['run', '--timeout', 'soon', 'x', '--', 'ls'], /number of milliseconds, or 500ms, 30s, 5m, 1h/],
      [['inspect', 'user/undefined'], /The name of a lock has the segment "undefined"/],
      [['lock'], /unknown command 'lock'/],
    ];
    const commands = cases.map(([args]) => cli(...args));
    for (const [place, command] of commands.entries()) {
      expect(await command.ended).toBe(64);
      expect(command.stdout).toBe('');
      expect(command.stderr).toMatch(cases[place]![1]);
      expect(command.stderr.trim().split('\n')).toHaveLength(1);
    }
  });

  test('an etcd that does not answer is told in a line, with the exit code 69', async () => {
    const endpoint = `127.0.0.1:${await freePort()}`;
    const commands = [['ls'], ['run', '--connect-timeout', '300ms', 'x', '--', 'echo', 'ran']].map(
      (args) => new Cli(args, { ETCDCTL_ENDPOINTS: endpoint }),
    );
    expect(await Promise.all(commands.map(({ ended }) => ended))).toEqual([69, 69]);
    for (const { stdout, stderr } of commands) {
      expect(stdout).toBe('');
      expect(stderr).toMatch(/^nestjs-etcd-lock: The .*: etcd does not answer at 127\.0\.0\.1:\d+\. .*\n$/);
    }
  });
});

test('goes to an etcd with TLS and users, with the options and variables of etcdctl', async () => {
  const etcd = await startSecureEtcd();
  onTestFinished(() => etcd.stop());
  const { key, cert } = await etcd.authority.issue('root');
  await addUsers(secured(etcd, { key, cert }) as { hosts: string });
  const folder = mkdtempSync(join(tmpdir(), 'cli-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const stranger = await etcd.authority.issue('stranger');
  const files = { ca: etcd.authority.cert, cert: stranger.cert, key: stranger.key };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content, { mode: 0o600 });
  const flags = ['--endpoints', etcd.endpoint, '--cacert', join(folder, 'ca'), '--cert', join(folder, 'cert')];
  const env = { ETCDCTL_KEY: join(folder, 'key'), ETCDCTL_PASSWORD: APP.password, NODE_NO_WARNINGS: '1' };
  const good = new Cli(['run', ...flags, '--user', APP.username, 'x', '--', 'echo', 'ran'], env);
  const bad = new Cli(['ls', ...flags], env);
  expect(await good.ended, good.stderr).toBe(0);
  expect(good.stdout).toBe('ran\n');
  expect(await bad.ended).toBe(69);
  expect(bad.stderr).toMatch(/^nestjs-etcd-lock: The locks cannot be listed: .*denies it/);
});
