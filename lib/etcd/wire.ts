import type { ICompare, IEvent, IKeyValue, IRangeRequest, IRequestOp, IResponseHeader, IResponseOp } from 'etcd3';
import type { Compare, Header, KeyRange, KeyValue, Op, OpResult, RangeRequest, WatchEvent } from '../core/port.js';

/** The engine's words in etcd's protocol and back. int64 travels as a string, never as a JavaScript number. */

const bytes = (text: string): Buffer => Buffer.from(text, 'utf8');

export function keyRange({ key, end }: KeyRange): { key: Buffer; range_end?: Buffer } {
  return end === undefined ? { key: bytes(key) } : { key: bytes(key), range_end: bytes(end) };
}

export function rangeRequest(request: RangeRequest): IRangeRequest {
  return {
    ...keyRange(request),
    ...(request.limit && { limit: request.limit }),
    ...(request.sort && { sort_target: 'Create', sort_order: request.sort === 'oldest' ? 'Ascend' : 'Descend' }),
    ...(request.keysOnly && { keys_only: true }),
    ...(request.maxCreateRevision !== undefined && { max_create_revision: String(request.maxCreateRevision) }),
  };
}

export function requestOp(op: Op): IRequestOp {
  if ('range' in op) return { request_range: rangeRequest(op.range) };
  if ('delete' in op) return { request_delete_range: { key: bytes(op.delete.key) } };
  const { key, value, lease } = op.put;
  return { request_put: { key: bytes(key), value: bytes(value), lease: String(lease) } };
}

export function compare({ target, revision, atMost = false, ...range }: Compare): ICompare {
  const bound = String(atMost ? revision + 1n : revision);
  const operand = target === 'create' ? { create_revision: bound } : { mod_revision: bound };
  const result = atMost ? 'Less' : 'Equal';
  return { ...keyRange(range), result, target: target === 'create' ? 'Create' : 'Mod', ...operand };
}

export function header(from: IResponseHeader): Header {
  return { revision: BigInt(from.revision), raftTerm: BigInt(from.raft_term) };
}

export function keyValue(kv: IKeyValue): KeyValue {
  return {
    key: kv.key.toString('utf8'),
    value: kv.value.toString('utf8'),
    createRevision: BigInt(kv.create_revision),
    modRevision: BigInt(kv.mod_revision),
    lease: BigInt(kv.lease),
  };
}

export function watchEvent({ type, kv }: IEvent): WatchEvent {
  if (type !== 'Delete') return { type: 'put', ...keyValue(kv) };
  return { type: 'delete', key: kv.key.toString('utf8'), modRevision: BigInt(kv.mod_revision) };
}

export function opResult(response: IResponseOp): OpResult {
  return response.response_range?.kvs.map(keyValue) ?? [];
}
