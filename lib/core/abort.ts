/** Those who listen to one signal, and the one listener that tells them. */
interface Audience {
  listeners: Set<() => void>;
  tell: () => void;
}

const audiences = new WeakMap<AbortSignal, Audience>();

/**
 * Calls `listener` when the signal aborts: now if it has. Returns what takes the listener away. However many listen to a
 * signal, it has one listener, because Node warns of a leak when there are more than ten; and none when they have left,
 * because a signal of `AbortSignal.any` lives for as long as it has one.
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  if (signal.aborted) {
    listener();
    return () => {};
  }
  const { listeners, tell } = audiences.get(signal) ?? openAudience(signal);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    signal.removeEventListener('abort', tell);
    audiences.delete(signal);
  };
}

function openAudience(signal: AbortSignal): Audience {
  const listeners = new Set<() => void>();
  const tell = (): void => {
    for (const listener of listeners) listener();
  };
  signal.addEventListener('abort', tell, { once: true });
  const audience = { listeners, tell };
  audiences.set(signal, audience);
  return audience;
}
