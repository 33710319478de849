import type { KeyRange, RangeRequest, RangeResponse } from './port.js';

/** So many keys are read at once; with the longest names, handlers and metadata that is below 4 MiB. */
export const PAGE = 500;

/** Reads a range page by page, each of them by `read`; etcd may change between two of them. */
export async function* pagesOf(
  { key: start, end }: Required<KeyRange>,
  read: (request: RangeRequest) => Promise<RangeResponse>,
): AsyncGenerator<RangeResponse, void, void> {
  for (let key = start; ;) {
    const page = await read({ key, end, limit: PAGE });
    yield page;
    if (page.kvs.length < PAGE) return;
    key = `${page.kvs.at(-1)!.key}\0`;
  }
}
