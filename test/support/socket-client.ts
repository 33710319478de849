import { once } from 'node:events';
import { io } from 'socket.io-client';
import { expect } from 'vitest';
import { WebSocket } from 'ws';
import { eventually } from './eventually.js';

export const SOCKETS = ['ws', 'socket.io'] as const;
export type Sockets = (typeof SOCKETS)[number];

/** A client of a gateway, over one of both adapters of Nest. */
export interface SocketClient {
  /** What it has been sent, in order. */
  readonly messages: { event: string; data: unknown }[];
  send(event: string, data: unknown): void;
  close(): void;
}

export async function connect(sockets: Sockets, url: string): Promise<SocketClient> {
  const messages: SocketClient['messages'] = [];
  if (sockets === 'ws') {
    const socket = new WebSocket(url);
    socket.on('message', (text) => messages.push(JSON.parse(String(text as Buffer)) as (typeof messages)[number]));
    await once(socket, 'open');
    return {
      messages,
      send: (event, data) => socket.send(JSON.stringify({ event, data })),
      close: () => socket.close(),
    };
  }
  const socket = io(url, { transports: ['websocket'], reconnection: false, forceNew: true });
  socket.onAny((event: string, data: unknown) => messages.push({ event, data }));
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
  return { messages, send: (event, data) => void socket.emit(event, data), close: () => void socket.close() };
}

/** Resolves with what it has been sent, as soon as it is so much. */
export async function received(client: SocketClient, count: number): Promise<SocketClient['messages']> {
  await eventually(() => expect(client.messages.length).toBeGreaterThanOrEqual(count));
  return client.messages;
}
