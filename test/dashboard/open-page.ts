import { get, type ClientRequest, type IncomingMessage } from 'node:http';
import { onTestFinished } from 'vitest';
import type { HistoryEntry, LockView, Messages, PulseMessage, StateMessage } from '../../lib/dashboard/protocol.js';

type Message = { [Type in keyof Messages]: { type: Type; data: Messages[Type] } }[keyof Messages];

/** What a browser knows of a dashboard from its events. It is closed at the end of the test. */
export class OpenPage {
  readonly messages: Message[] = [];
  readonly locks = new Map<string, LockView>();
  readonly history: HistoryEntry[] = [];
  readonly headers: IncomingMessage['headers'];
  state: StateMessage | undefined;
  pulse: PulseMessage | undefined;
  isEnded = false;
  #text = '';

  private constructor(
    readonly url: string,
    readonly request: ClientRequest,
    readonly response: IncomingMessage,
  ) {
    this.headers = response.headers;
    response.setEncoding('utf8');
    response.on('data', (text: string) => this.#read(text));
    response.on('close', () => (this.isEnded = true));
    response.on('error', () => {});
    onTestFinished(() => this.leave());
  }

  /** @param url of the page */
  static async at(url: string): Promise<OpenPage> {
    const request = get(`${url}/events`, { agent: false });
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request.on('response', resolve).on('error', reject);
    });
    return new OpenPage(url, request, response);
  }

  /** How many messages of that kind have come. */
  count(type: keyof Messages): number {
    return this.messages.filter((message) => message.type === type).length;
  }

  /** Who holds a lock and who waits for it, by their handlers. */
  queue(name: string): { holders: (string | undefined)[]; waiters: (string | undefined)[] } {
    const { holders = [], waiters = [] } = this.locks.get(name) ?? {};
    return { holders: holders.map(({ handler }) => handler), waiters: waiters.map(({ handler }) => handler) };
  }

  /** What has happened to a lock. */
  past(name: string): string[] {
    return this.history
      .filter(({ lock }) => lock === name)
      .map(({ what, handler, reason }) => [what, handler, reason].filter((each) => each !== undefined).join(' '));
  }

  leave(): void {
    this.request.destroy();
  }

  #read(text: string): void {
    this.#text += text;
    const events = this.#text.split('\n\n');
    this.#text = events.pop()!;
    for (const event of events) {
      const [, type, json] = /^event: (\w+)\ndata: (.*)$/.exec(event) ?? [];
      if (type) this.#hear({ type, data: JSON.parse(json!) } as Message);
    }
  }

  #hear(message: Message): void {
    this.messages.push(message);
    if (message.type === 'pulse') return void (this.pulse = message.data);
    if (message.type === 'state') {
      this.state = message.data;
      this.locks.clear();
      this.history.length = 0;
    } else {
      for (const name of message.data.gone) this.locks.delete(name);
    }
    for (const lock of message.data.locks) this.locks.set(lock.name, lock);
    this.history.push(...message.data.history);
  }
}
