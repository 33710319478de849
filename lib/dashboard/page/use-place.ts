import { useCallback, useEffect, useLayoutEffect, useState } from 'preact/hooks';
import { formatPlace, parsePlace, type Place } from './place.js';

/** Goes to another place: with these parts of it, and with the others as they are. */
export type Go = (to: Partial<Place>) => void;

/** The place that the address tells, so that it is the same one after a reload and behind a link. */
export function usePlace(): [Place, Go] {
  const [place, setPlace] = useState(() => parsePlace(location.hash));
  useEffect(() => {
    const read = (): void => setPlace(parsePlace(location.hash));
    addEventListener('hashchange', read);
    return () => removeEventListener('hashchange', read);
  }, []);
  // At once, or a reload right after a click would not know of it.
  useLayoutEffect(() => {
    // Not a step back for each letter of the filter.
    history.replaceState(null, '', formatPlace(place) || location.pathname + location.search);
  }, [place]);
  return [place, useCallback((to) => setPlace((from) => ({ ...from, ...to })), [])];
}
