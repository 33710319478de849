import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { findChromium } from '../../scripts/chromium.mjs';

/** Tests in a browser are left out rather than that they fail for a browser that cannot be started. */

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'nestjs-etcd-lock-chromium-'))));
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

function program(name: string, script: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

test('the one of CHROMIUM, and no other', () => {
  const runs = program('runs', 'echo Chromium');
  vi.stubEnv('CHROMIUM', runs);
  expect(findChromium()?.executablePath).toBe(runs);
  for (const broken of [join(folder, 'missing'), folder, program('fails', 'exit 1')]) {
    vi.stubEnv('CHROMIUM', broken);
    expect(findChromium()).toBeUndefined();
  }
});

test('the first one on the PATH that runs: that of Ubuntu only says what to install', () => {
  vi.stubEnv('CHROMIUM', '');
  vi.stubEnv('PATH', folder);
  const stub = program('chromium-browser', 'exit 1');
  expect(findChromium()?.executablePath).not.toBe(stub);
  const runs = program('google-chrome', 'echo Chrome');
  expect(findChromium()?.executablePath).toBe(runs);
});
