import { Etcd3 } from 'etcd3';
import { now } from './clock.mjs';

/** Sees from outside when a key goes: a connection of its own, straight to a member that no fault touches. */
export class Observer {
  /** When each key went, as soon as it has. @type {Map<string, number>} */
  gone = new Map();

  /** @param {string} endpoint */
  constructor(endpoint) {
    this.client = new Etcd3({ hosts: endpoint });
  }

  /** @param {string} prefix */
  async watch(prefix) {
    const watcher = await this.client.watch().prefix(prefix).create();
    watcher.on('delete', ({ key }) => this.gone.set(key.toString(), now()));
    this.watcher = watcher;
  }

  /**
   * Revokes the lease that a key hangs on.
   * @param {string} key
   */
  async revoke(key) {
    const { kvs } = await this.client.get(key).exec();
    const lease = kvs[0]?.lease;
    if (lease === undefined) throw new Error(`${key} is not there`);
    await this.client.leaseClient.leaseRevoke({ ID: lease });
  }

  /** @param {string} key */
  async delete(key) {
    await this.client.delete().key(key);
  }

  async close() {
    await this.watcher?.cancel();
    this.client.close();
  }
}
