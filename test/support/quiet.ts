import { Logger } from '@nestjs/common';

/** Tests that look at the log put a logger of their own in place. */
Logger.overrideLogger(false);
