import { render } from 'preact';

render(<h1>Locks</h1>, document.getElementById('app')!);
