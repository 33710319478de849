import assert from 'node:assert/strict';
import * as health from 'nestjs-etcd-lock/health';
import * as metrics from 'nestjs-etcd-lock/metrics';

/** The entries that need an optional peer, where it is installed. */

assert.notEqual(Object.keys(health).length, 0);
assert.notEqual(Object.keys(metrics).length, 0);
