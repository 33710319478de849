import { Logger, type LoggerService } from '@nestjs/common';
import { onTestFinished } from 'vitest';

/** What the package logs from now on, until the test ends. */
export class Log implements LoggerService {
  readonly lines: { level: string; message: string }[] = [];

  static collect(): Log {
    const log = new Log();
    Logger.overrideLogger(log);
    onTestFinished(() => Logger.overrideLogger(false));
    return log;
  }

  of(...levels: readonly string[]): string[] {
    return this.lines.filter(({ level }) => levels.includes(level)).map(({ message }) => message);
  }

  log = (...args: unknown[]): void => this.#note('log', args);
  error = (...args: unknown[]): void => this.#note('error', args);
  warn = (...args: unknown[]): void => this.#note('warn', args);
  debug = (...args: unknown[]): void => this.#note('debug', args);
  verbose = (...args: unknown[]): void => this.#note('verbose', args);
  fatal = (...args: unknown[]): void => this.#note('fatal', args);

  #note(level: string, args: unknown[]): void {
    this.lines.push({ level, message: args.map(String).join(' ') });
  }
}
