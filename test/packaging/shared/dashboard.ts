import assert from 'node:assert/strict';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EtcdLockDashboardModule } from 'nestjs-etcd-lock/dashboard';
import { EtcdLockTestingModule, TestEtcd } from 'nestjs-etcd-lock/testing';

/** The dashboard with the page that lies in the package. */

const etcd = new TestEtcd();

@Module({
  imports: [EtcdLockTestingModule.forRoot({ etcd }), EtcdLockDashboardModule.forRoot({ authorize: () => true })],
})
class AppModule {}

void main();

async function main(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'], forceCloseConnections: true });
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();

  const page = await fetch(`${url}/locks`);
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'none'/);
  const files = [...(await page.text()).matchAll(/(?:src|href)="\.\/(locks\/[\w.]+)"/g)].map(([, file]) => file);
  assert.deepEqual(files.sort(), ['locks/page.css', 'locks/page.js', 'locks/page.svg']);
  for (const file of files) assert.equal((await fetch(`${url}/${file}`)).status, 200, file);

  await app.close();
  await etcd.close();
}
