import { ConfigService } from '@nestjs/config';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
import { replicas } from './replicas.js';

const app = await NestFactory.create(AppModule, { abortOnError: false });
// The page of one process speaks to the others as well.
app.enableCors({ origin: replicas(app.get(ConfigService)) });
// Without it a SIGTERM leaves the locks of this process to their TTL.
app.enableShutdownHooks();
await app.listen(process.env.PORT ?? 3000, '127.0.0.1');
console.log(`listening on ${await app.getUrl()}`);
