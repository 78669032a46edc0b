// keyv with @keyv/redis, and cache-manager on top of it: deadlines as PXAT, namespaces cleared by SCAN and UNLINK.

import KeyvRedis, { createKeyv } from '@keyv/redis';
import { createCache } from 'cache-manager';
import Keyv from 'keyv';
import { createClient } from 'redis';
import { Report, between, eventually, host, passwordAddress, password, port, rejects, same, versionOf } from './report.js';

const url = `redis://${host}:${port}`;
const plain = await createClient({ url }).connect();

function store(namespace, options = {}) {
  const keyv = new Keyv(new KeyvRedis(`${url}/1`, options), { namespace, useKeyPrefix: false });
  keyv.on('error', () => {});
  return keyv;
}

const checks = {
  async 'set and get'() {
    const keyv = store('a');
    for (const value of [0, '', 'Weiher', null, { deep: [1, { b: false }] }, 'x'.repeat(300_000)]) {
      same(await keyv.set('k', value), true);
      same(await keyv.get('k'), value);
    }
    same([await keyv.has('k'), await keyv.has('none'), await keyv.get('none')], [true, false, undefined]);
    same([await keyv.delete('k'), await keyv.delete('k'), await keyv.get('k')], [true, false, undefined]);
  },

  async 'time to live'() {
    const keyv = store('a');
    await plain.select(1);
    await keyv.set('k', 'v', 50_000);
    const [key] = await plain.keys('*k');
    between(45_000, await plain.pTTL(key), 50_000);
    await keyv.set('soon', 'v', 40);
    await eventually('expiry', async () => (await keyv.get('soon')) === undefined);
  },

  async 'many keys'() {
    const keyv = store('a');
    const entries = Array.from({ length: 500 }, (_, i) => ({ key: `k${i}`, value: i, ttl: 60_000 }));
    await keyv.setMany(entries);
    same(await keyv.getMany(['k0', 'none', 'k499']), [0, undefined, 499]);
    same(await keyv.hasMany(['k0', 'none']), [true, false]);
    await keyv.deleteMany(['k0', 'k1']);
    same(await keyv.getMany(['k0', 'k1', 'k2']), [undefined, undefined, 2]);
  },

  async 'clear a namespace'() {
    const [one, two] = [store('one'), store('two', { clearBatchSize: 100 })];
    for (let i = 0; i < 300; i++) await Promise.all([one.set(`k${i}`, i), two.set(`k${i}`, i)]);
    await two.clear();
    same([await two.get('k7'), await one.get('k7')], [undefined, 7]);
    await one.clear();
    await plain.select(1);
    same(await plain.dbSize(), 0);
  },

  async iterator() {
    const keyv = store('walk');
    const other = store('other');
    await other.set('no', 1);
    for (let i = 0; i < 200; i++) await keyv.set(`k${i}`, i);
    const seen = new Map();
    for await (const [key, value] of keyv.iterator('walk')) seen.set(key, value);
    same([seen.size, [...seen.values()].sort((a, b) => a - b)[199]], [200, 199]);
  },

  async 'cache-manager'() {
    const cache = createCache({ stores: [createKeyv(`${url}/2`, { namespace: 'managed' })], ttl: 60_000, refreshThreshold: 0 });
    same(await cache.set('k', { n: 1 }), { n: 1 });
    same(await cache.get('k'), { n: 1 });
    await cache.mset([{ key: 'a', value: 1 }, { key: 'b', value: 2, ttl: 30_000 }]);
    same(await cache.mget(['a', 'b', 'none']), [1, 2, undefined]);
    between(Date.now() + 25_000, await cache.ttl('b'), Date.now() + 30_500);
    let calls = 0;
    const compute = () => { calls += 1; return 'made'; };
    same(await Promise.all(Array.from({ length: 20 }, () => cache.wrap('w', compute, 60_000))), Array(20).fill('made'));
    same([await cache.wrap('w', compute, 60_000), calls], ['made', 1]);
    await cache.mdel(['a', 'b']);
    same([await cache.get('a'), await cache.del('k'), await cache.get('k')], [undefined, true, undefined]);
    await cache.clear();
    same(await cache.get('w'), undefined);
    await cache.disconnect();
  },

  async password() {
    const at = passwordAddress();
    const keyv = new Keyv(new KeyvRedis(`redis://:${password}@${at.host}:${at.port}`), { namespace: 'p' });
    same([await keyv.set('k', 'v'), await keyv.get('k')], [true, 'v']);
    const guess = new KeyvRedis({ url: `redis://:guess@${at.host}:${at.port}`, socket: { reconnectStrategy: false } }, { throwOnConnectError: true, throwOnErrors: true });
    guess.on('error', () => {});
    await rejects(guess.get('k'), '');
  },
};

const report = new Report('keyv', `${versionOf('keyv')} (@keyv/redis ${versionOf('@keyv/redis')}, cache-manager ${versionOf('cache-manager')})`);
for (const [name, check] of Object.entries(checks)) {
  await plain.flushAll();
  await report.run(name, check);
}
report.print();
