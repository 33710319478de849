import { COLUMNS, type Column, type Order } from './listing.js';

/** What the reader has chosen. It is kept behind the `#` of the address, which browsers tell no server. */
export interface Place {
  readonly query: string;
  readonly order: Order;
  /** Of the table, counted from 0. */
  readonly page: number;
  /** The name of the lock that is shown with everything. */
  readonly open: string | undefined;
  readonly lossesOnly: boolean;
}

export const START: Place = {
  query: '',
  order: { by: 'name', isDescending: false },
  page: 0,
  open: undefined,
  lossesOnly: false,
};

/** The place that stands in the address; what is not understood there is as at the start. */
export function parsePlace(hash: string): Place {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  const by = given.get('sort') as Column;
  const page = Number(given.get('page') ?? 1) - 1;
  return {
    query: given.get('q') ?? START.query,
    order: { by: COLUMNS.includes(by) ? by : START.order.by, isDescending: given.get('order') === 'descending' },
    page: Number.isSafeInteger(page) && page > 0 ? page : 0,
    open: given.get('lock') ?? undefined,
    lossesOnly: given.has('losses'),
  };
}

/** The other way around; empty for the start. */
export function formatPlace({ query, order, page, open, lossesOnly }: Place): string {
  const given = new URLSearchParams();
  if (query) given.set('q', query);
  if (order.by !== START.order.by) given.set('sort', order.by);
  if (order.isDescending) given.set('order', 'descending');
  if (page > 0) given.set('page', String(page + 1));
  if (open !== undefined) given.set('lock', open);
  if (lossesOnly) given.set('losses', '');
  return given.size > 0 ? `#${given}` : '';
}
