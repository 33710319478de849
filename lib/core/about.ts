/** What a caller says about himself, for people who look at the lock. */
export interface About {
  /** In which handler the lock is wanted, such as `BillingService.charge`. */
  readonly handler?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/**
 * Callers who came together share one ticket and its value, which has to stay small: beyond so many of them, and so many
 * characters, nothing is said about the others.
 */
const MOST_CALLS = 16;
const MOST_CHARACTERS = 4096;

/** A fragment of JSON, made once per call, which is what a waiter carries; undefined if there is nothing to say. */
export function aboutCall({ handler, metadata }: About): string | undefined {
  if (handler === undefined && metadata === undefined) return undefined;
  return JSON.stringify({ handler, metadata }).slice(1, -1);
}

/** What stands in the value of a ticket: once, if it is the same for all its callers, else a list in their order. */
export function aboutTicket(callers: Iterable<Caller>): string {
  let first: string | undefined;
  for (const { options } of callers) {
    const about = options.about ?? '';
    first ??= about;
    if (about !== first) return `,"each":[${listOf(callers)}]`;
  }
  return first ? `,${first}` : '';
}

interface Caller {
  options: { about?: string | undefined };
}

function listOf(callers: Iterable<Caller>): string {
  const told: string[] = [];
  let room = MOST_CHARACTERS;
  for (const { options } of callers) {
    const about = options.about ?? '';
    room -= about.length;
    if (room < 0 || told.push(`{${about}}`) === MOST_CALLS) break;
  }
  return told.join();
}

/** What {@link aboutCall} has made. */
export function readAbout(about: string | undefined): About | undefined {
  return about === undefined ? undefined : (JSON.parse(`{${about}}`) as About);
}

/** What the value of a ticket says about each of its calls, as far as it does; `calls`: how many they were. */
export function aboutEach({ each, ...all }: Record<string, unknown>, calls: number): readonly About[] {
  if (Array.isArray(each)) return each.slice(0, calls).map((one) => pick(Object(one) as Record<string, unknown>));
  const same = pick(all);
  return Array.from({ length: calls }, () => same);
}

/** What can be said about one of the calls of a ticket when it is not known which one: what is true of all of them. */
export function aboutAny(fields: Record<string, unknown>, calls: number): About {
  if (fields.each === undefined) return pick(fields);
  const each = aboutEach(fields, calls);
  const [first] = each;
  if (!first || each.length < calls) return {};
  const { handler, metadata } = first;
  const text = JSON.stringify(metadata);
  return {
    ...(handler !== undefined && each.every((one) => one.handler === handler) && { handler }),
    ...(metadata && each.every((one) => JSON.stringify(one.metadata) === text) && { metadata }),
  };
}

/** Other clients may have written something of their own there. */
function pick({ handler, metadata }: Record<string, unknown>): About {
  return { ...(typeof handler === 'string' && { handler }), ...(isRecord(metadata) && { metadata }) };
}

function isRecord(value: unknown): value is Record<string, string> {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject && Object.values(value).every((entry) => typeof entry === 'string');
}
