import { render } from 'preact';
import { App } from './components/app.js';
import { Clock } from './clock.js';
import { Connection } from './connection.js';
import { Page } from './page.js';
import { Store } from './store.js';

// Below whatever path or proxy: the server's addresses stand beside that of this script.
const base = import.meta.url;
const store = new Store();
const clock = new Clock();

const connection = new Connection(base, {
  receive(type, message) {
    clock.set(message.now);
    store.receive(type, message);
  },
  setLink: (link) => store.setLink(link),
});

store.subscribe(() => {
  const { link, pulse } = store.state;
  clock.stop(link.is === 'live' && !pulse?.cluster.problem ? undefined : clock.now());
});

render(
  <Page.Provider value={{ store, clock, base, again: () => connection.again() }}>
    <App />
  </Page.Provider>,
  document.getElementById('app')!,
);
connection.open();
