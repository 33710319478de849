import type { DynamicModule, INestApplication, LoggerService, ModuleMetadata, Type } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test, type TestingModule } from '@nestjs/testing';
import { EtcdLockModule, LockService, type EtcdLockModuleOptions } from '../../lib/index.js';
import type { Backend } from './backend.js';

export const PLATFORMS = ['express', 'fastify'] as const;
export type Platform = (typeof PLATFORMS)[number];

export const silent: LoggerService = { log() {}, error() {}, warn() {} };

/** A module of the given parts and of the lock module, whose service stands on the given backend. */
export async function compile(
  backend: Backend,
  parts: ModuleMetadata,
  options: EtcdLockModuleOptions = {},
): Promise<TestingModule> {
  return await Test.createTestingModule({ ...parts, imports: [...(parts.imports ?? []), EtcdLockModule.forRoot()] })
    .overrideProvider(LockService)
    .useValue(backend.service(options))
    .setLogger(silent)
    .compile();
}

/** A provider of an initialised application. */
export async function provide<T extends object>(
  backend: Backend,
  provider: Type<T>,
  ...imports: (Type | DynamicModule)[]
): Promise<T> {
  const module = await compile(backend, { providers: [provider], imports });
  await module.init();
  return await module.resolve(provider).catch(() => module.get(provider));
}

/** An application that listens, and its address. */
export async function listen(
  module: TestingModule,
  platform: Platform,
): Promise<{ app: INestApplication; url: string }> {
  const options = { forceCloseConnections: true, logger: false as const };
  const app =
    platform === 'express'
      ? module.createNestApplication(options)
      : module.createNestApplication(new FastifyAdapter({ forceCloseConnections: true }), options);
  await app.listen(0, '127.0.0.1');
  return { app, url: (await app.getUrl()).replace('[::1]', '127.0.0.1') };
}
