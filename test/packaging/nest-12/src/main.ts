import { tryOut } from './app.js';

await tryOut();
