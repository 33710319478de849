/** What there is in an etcd, asked over its HTTP gateway and its metrics. */

/**
 * @typedef {object} EtcdState
 * @property {string[]} keys
 * @property {string[]} leases in hex
 * @property {number} watches those that clients have created and not canceled
 * @property {number} streams of clients: for watches, and to keep leases alive
 */

/**
 * @param {string} endpoint
 * @param {string} [prefix] of the keys; all keys by default
 * @returns {Promise<EtcdState>}
 */
export async function etcdState(endpoint, prefix = '') {
  const url = endpoint.includes('://') ? endpoint : `http://${endpoint}`;
  const [{ kvs = [] }, { leases = [] }, metrics] = await Promise.all([
    ask(url, 'kv/range', { ...range(prefix), keys_only: true }),
    ask(url, 'lease/leases', {}),
    fetch(`${url}/metrics`).then((response) => response.text()),
  ]);
  /** @param {RegExp} metric */
  const sum = (metric) => [...metrics.matchAll(metric)].reduce((total, [, value]) => total + Number(value), 0);
  return {
    keys: kvs.map(({ key }) => Buffer.from(key, 'base64').toString()),
    leases: leases.map(({ ID }) => BigInt(ID).toString(16)),
    watches: sum(/^etcd_debugging_mvcc_watcher_total (\S+)$/gm),
    streams:
      sum(/^grpc_server_started_total\{.*"bidi_stream"\} (\S+)$/gm) -
      sum(/^grpc_server_handled_total\{.*"bidi_stream"\} (\S+)$/gm),
  };
}

/**
 * Revokes a lease, as an operator would.
 * @param {string} endpoint
 * @param {bigint} lease
 */
export async function revoke(endpoint, lease) {
  await ask(endpoint, 'lease/revoke', { ID: String(lease) });
}

/**
 * Deletes a key, as an operator would.
 * @param {string} endpoint
 * @param {string} key
 */
export async function remove(endpoint, key) {
  await ask(endpoint, 'kv/deleterange', { key: base64(key) });
}

/**
 * Forgets everything about the past.
 * @param {string} endpoint
 */
export async function compact(endpoint) {
  const { header } = await ask(endpoint, 'kv/range', range(''));
  await ask(endpoint, 'kv/compaction', { revision: header.revision, physical: true });
}

/** @param {string} prefix */
function range(prefix) {
  if (prefix === '') return { key: base64('\0'), range_end: base64('\0') };
  const end = String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
  return { key: base64(prefix), range_end: base64(prefix.slice(0, -1) + end) };
}

/** @param {string} text */
function base64(text) {
  return Buffer.from(text).toString('base64');
}

/**
 * @typedef {object} Answer
 * @property {{ revision: string }} header
 * @property {{ key: string }[]} [kvs]
 * @property {{ ID: string }[]} [leases]
 */

/**
 * @param {string} endpoint
 * @param {string} method
 * @param {object} request
 */
async function ask(endpoint, method, request) {
  const response = await fetch(`${endpoint}/v3/${method}`, { method: 'POST', body: JSON.stringify(request) });
  if (!response.ok) throw new Error(`etcd refuses ${method}: ${await response.text()}`);
  return /** @type {Answer} */ (await response.json());
}
