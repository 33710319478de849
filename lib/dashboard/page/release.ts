import type { ReleaseRequest } from '../protocol.js';

/**
 * Takes a lock away from those who have it.
 *
 * @returns how many have lost it
 * @throws Error with what the server says
 */
export async function release(base: string, request: ReleaseRequest): Promise<number> {
  const token = document.querySelector<HTMLMetaElement>('meta[name="csrf-token"]')?.content ?? '';
  const response = await fetch(new URL('release', base), {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-csrf-token': token },
    body: JSON.stringify(request),
  });
  const answer = (await response.json().catch(() => ({}))) as { released?: number; message?: string };
  if (response.ok) return answer.released ?? 0;
  throw new Error(`${answer.message ?? 'The server does not say why.'} (${response.status})`);
}
