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
  const html = await page.text();
  for (const file of ['page.css', 'page.js', 'page.svg']) {
    assert.ok(html.includes(`="./locks/${file}"`), `the page refers to ${file}`);
    assert.equal((await fetch(`${url}/locks/${file}`)).status, 200);
  }

  await app.close();
  await etcd.close();
}
