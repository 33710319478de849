import { tryOut } from './app';

void tryOut();
