// ioredis in both protocols: every shared check, the fallback when HELLO is refused, and automatic pipelines.

import Redis from 'ioredis';
import { Report, between, eventually, host, mib, noHelloPort, password, passwordAddress, port, rejects, same, versionOf } from './report.js';

const opened = [];

function connect(protocol, options = {}) {
  const client = new Redis({ host, port, protocol, ...options });
  // Lost connections are part of the checks; the commands themselves carry the errors that matter.
  client.on('error', () => {});
  opened.push(client);
  return client;
}

/** A client that gives up at the first refusal. */
const once = (protocol, options) => connect(protocol, { ...options, retryStrategy: null, maxRetriesPerRequest: 0 });

const shared = {
  async connect({ client, protocol }) {
    const named = connect(protocol, { connectionName: 'pond-skater' });
    same(await named.ping(), 'PONG');
    same(await named.ping('hi'), 'hi');
    same(await named.echo('frog'), 'frog');
    same(await named.client('GETNAME'), 'pond-skater');
    const info = await named.client('INFO');
    same(/ name=pond-skater /.test(info) && info.includes(` resp=${protocol}`), true);
    const [major, minor] = /redis_version:(\d+)\.(\d+)/.exec(await client.info('server')).slice(1).map(Number);
    if (major > 7 || (major === 7 && minor >= 2)) {
      await eventually('the library name', async () => (await named.client('INFO')).includes('lib-name=ioredis'));
    }
    same(named.status, 'ready');
  },

  async password({ protocol }) {
    const at = passwordAddress();
    const client = connect(protocol, { ...at, password });
    same(await client.set('secret', 'kept'), 'OK');
    same(await client.get('secret'), 'kept');
    same(await connect(protocol, { ...at, username: 'default', password }).get('secret'), 'kept');
    for (const [options, text] of [[{}, 'NOAUTH'], [{ password: 'guess' }, 'WRONGPASS']]) {
      const refused = once(protocol, { ...at, ...options });
      const seen = [];
      refused.on('error', (error) => seen.push(error.message));
      await rejects(refused.get('secret'), '');
      refused.disconnect();
      if (options.password) same(seen.some((message) => message.includes(text)), true);
    }
    const bare = once(2, { ...at, enableReadyCheck: false });
    await rejects(bare.get('secret'), 'NOAUTH Authentication required.');
    await rejects(bare.call('AUTH', 'guess'), 'WRONGPASS invalid username-password pair or user is disabled.');
    same(await bare.call('AUTH', password), 'OK');
    same(await bare.get('secret'), 'kept');
    // Only a warning here: the connection works although the server has no password.
    same(await connect(2, { password: 'superfluous' }).ping(), 'PONG');
  },

  async database({ client, protocol }) {
    const five = connect(protocol, { db: 5 });
    await client.set('where', 'zero');
    same(await five.get('where'), null);
    await five.set('where', 'five');
    same([await client.get('where'), await client.dbsize(), await five.dbsize()], ['zero', 1, 1]);
    await client.set('walker', 1);
    same(await client.move('walker', 5), 1);
    same([await client.exists('walker'), await five.exists('walker')], [0, 1]);
    same(await client.swapdb(0, 5), 'OK');
    same([await client.get('where'), await five.get('where')], ['five', 'zero']);
    same(await client.flushdb(), 'OK');
    same([await client.dbsize(), await five.dbsize()], [0, 1]);
    await rejects(client.select(16), 'ERR DB index is out of range');
  },

  async values({ client }) {
    const everyByte = Buffer.from(Array.from({ length: 1280 }, (_, i) => i % 256));
    for (const value of [Buffer.alloc(0), Buffer.from('\r\n$-1\r\n'), everyByte, Buffer.alloc(mib, 0xff)]) {
      same(await client.set('value', value), 'OK');
      same((await client.getBuffer('value')).equals(value), true);
      same(await client.strlen('value'), value.length);
    }
    same(await client.set(everyByte, 'under a binary key'), 'OK');
    same(await client.get(everyByte), 'under a binary key');
    same(await client.set('', 'empty key'), 'OK');
    same(await client.get(''), 'empty key');
    same(await client.set('text', 'Wörter ☔'), 'OK');
    same(await client.get('text'), 'Wörter ☔');
    same([await client.getset('text', 'b'), await client.getdel('text'), await client.get('text')], ['Wörter ☔', 'b', null]);
  },

  async 'mget and mset'({ client }) {
    const pairs = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`m${i}`, `${i}`]));
    same(await client.mset(pairs), 'OK');
    same(await client.mget([...Object.keys(pairs), 'none']), [...Object.values(pairs), null]);
    same(await client.msetnx({ m0: 'x', fresh: 'y' }), 0);
    same(await client.get('fresh'), null);
    same(await client.msetnx({ fresh: 'y' }), 1);
    same(await client.exists('m0', 'm0', 'none'), 2);
    same(await client.del(Object.keys(pairs).slice(0, 50)), 50);
    same(await client.unlink(...Object.keys(pairs)), 50);
  },

  async 'set options'({ client }) {
    const soon = Math.floor(Date.now() / 1000) + 100;
    same(await client.set('k', '1', 'NX'), 'OK');
    same(await client.set('k', '2', 'NX'), null);
    same(await client.set('none', '2', 'XX'), null);
    same(await client.set('k', '2', 'EX', 50, 'XX'), 'OK');
    same(await client.set('k', '3', 'KEEPTTL'), 'OK');
    between(45, await client.ttl('k'), 50);
    same(await client.set('k', '4'), 'OK');
    same(await client.ttl('k'), -1);
    same(await client.set('k', '5', 'PX', 50_000), 'OK');
    between(45_000, await client.pttl('k'), 50_000);
    same(await client.set('k', '6', 'EXAT', soon), 'OK');
    same(await client.expiretime('k'), soon);
    same(await client.set('k', '7', 'PXAT', soon * 1000 + 7), 'OK');
    same(await client.pexpiretime('k'), soon * 1000 + 7);
    same(await client.set('k', '8', 'GET'), '7');
    same(await client.set('k', '9', 'NX', 'GET'), '8');
    same(await client.set('fresh', '9', 'NX', 'GET'), null);
    same(await client.set('k', 'old', 'PXAT', 1), 'OK');
    same(await client.exists('k'), 0);
    await rejects(client.set('k', 'v', 'EX', 0), "ERR invalid expire time in 'set' command");
    await rejects(client.call('SET', 'k', 'v', 'EX', 1, 'PX', 1), 'ERR syntax error');
    same([await client.setnx('nx', 1), await client.setnx('nx', 2)], [1, 0]);
    same([await client.setex('sx', 60, 'v'), await client.psetex('sx', 60_000, 'v')], ['OK', 'OK']);
  },

  async expiry({ client }) {
    const soon = Math.floor(Date.now() / 1000) + 100;
    same([await client.ttl('none'), await client.pttl('none')], [-2, -2]);
    await client.set('k', 'v');
    same([await client.expire('k', 100, 'XX'), await client.expire('k', 100, 'NX')], [0, 1]);
    same([await client.expire('k', 50, 'GT'), await client.expire('k', 50, 'LT')], [0, 1]);
    same(await client.pexpire('k', 90_000), 1);
    between(85_000, await client.pttl('k'), 90_000);
    same([await client.expireat('k', soon), await client.expiretime('k')], [1, soon]);
    same([await client.pexpireat('k', soon * 1000 + 1), await client.pexpiretime('k')], [1, soon * 1000 + 1]);
    same([await client.persist('k'), await client.persist('k')], [1, 0]);
    same(await client.getex('k', 'EX', 40), 'v');
    between(35, await client.ttl('k'), 40);
    same(await client.getex('k', 'PERSIST'), 'v');
    same([await client.ttl('k'), await client.expire('k', 0), await client.exists('k')], [-1, 1, 0]);
    await client.set('short', 'v', 'PX', 30);
    await eventually('expiry', async () => (await client.get('short')) === null);
    same(await client.ttl('short'), -2);
  },

  async counters({ client }) {
    same([await client.incr('n'), await client.incrby('n', 41), await client.decr('n'), await client.decrby('n', 40)], [1, 42, 41, 1]);
    await client.set('n', '9223372036854775807');
    await rejects(client.incr('n'), 'ERR increment or decrement would overflow');
    same([await client.incrbyfloat('f', 10.5), await client.incrbyfloat('f', '-10.25')], ['10.5', '0.25']);
    await client.set('f', '5.0e3');
    same(await client.incrbyfloat('f', '2.0e2'), '5200');
    await client.set('text', 'frog');
    await rejects(client.incr('text'), 'ERR value is not an integer or out of range');
    await rejects(client.incrbyfloat('text', 1), 'ERR value is not a valid float');
  },

  async ranges({ client }) {
    same([await client.append('s', 'Hello '), await client.append('s', 'World')], [6, 11]);
    same([await client.getrange('s', 0, 4), await client.getrange('s', -5, -1), await client.getrange('s', 5, 2)], ['Hello', 'World', '']);
    same([await client.setrange('s', 6, 'Ponds'), await client.get('s')], [11, 'Hello Ponds']);
    same([await client.setrange('pad', 3, 'x'), (await client.getBuffer('pad')).toString('hex')], [4, '00000078']);
    await rejects(client.setrange('s', -1, 'x'), 'ERR offset is out of range');
  },

  async keyspace({ client, protocol }) {
    await client.set('a', 1, 'EX', 100);
    same(await client.rename('a', 'b'), 'OK');
    between(90, await client.ttl('b'), 100);
    await rejects(client.rename('a', 'b'), 'ERR no such key');
    await client.set('c', 3);
    same([await client.renamenx('b', 'c'), await client.renamenx('b', 'd')], [0, 1]);
    same([await client.copy('d', 'c'), await client.copy('d', 'c', 'REPLACE'), await client.copy('d', 'd', 'DB', 3)], [0, 1, 1]);
    same(await connect(protocol, { db: 3 }).get('d'), '1');
    same([await client.type('c'), await client.type('none'), await client.touch('c', 'd', 'none')], ['string', 'none', 2]);
    same(['c', 'd'].includes(await client.randomkey()), true);
    same([await client.object('ENCODING', 'c'), await client.object('ENCODING', 'none')], ['int', null]);
    between(1, await client.memory('USAGE', 'c'), 1000);
    same([await client.flushall(), await client.randomkey(), await client.dbsize()], ['OK', null, 0]);
  },

  async pipeline({ client }) {
    const pipe = client.pipeline();
    for (let i = 0; i < 1000; i++) pipe.set(`p${i}`, i).get(`p${i}`);
    const replies = await pipe.exec();
    same(replies.every(([error, reply], i) => error === null && reply === (i % 2 ? `${(i - 1) / 2}` : 'OK')), true);
    same(replies.length, 2000);
    const mixed = await client.pipeline().set('text', 'frog').incr('text').call('NOSUCH').get('text').exec();
    same([mixed[0][1], mixed[3][1]], ['OK', 'frog']);
    same([mixed[1][0].message.split(' ')[0], mixed[2][0].message.startsWith('ERR unknown command')], ['ERR', true]);
  },

  async 'large pipeline'({ client }) {
    const pipe = client.pipeline();
    for (let i = 0; i < 30_000; i++) pipe.incr('big');
    same((await pipe.exec()).every(([error, n], i) => error === null && n === i + 1), true);
    const blocks = Array.from({ length: 16 }, (_, i) => Buffer.alloc(mib, i));
    same(new Set(await Promise.all(blocks.map((block, i) => client.set(`block${i}`, block)))), new Set(['OK']));
    const back = await client.mgetBuffer(blocks.map((_, i) => `block${i}`));
    same(back.every((block, i) => block.equals(blocks[i])), true);
    await client.del(blocks.map((_, i) => `block${i}`));
  },

  async transaction({ client, protocol }) {
    same(await client.multi().set('a', 1).incr('a').get('none').exec(), [[null, 'OK'], [null, 2], [null, null]]);
    const partly = await client.multi().set('text', 'frog').incr('text').set('after', 'done').exec();
    same([partly[1][0].message, await client.get('after')], ['ERR value is not an integer or out of range', 'done']);
    const error = await rejects(client.multi().set('aborted', 1).call('NOSUCH').exec(), 'EXECABORT Transaction discarded because of previous errors.');
    same([error.name, await client.exists('aborted')], ['ReplyError', 0]);
    const one = connect(protocol);
    same([await one.multi({ pipeline: false }), await one.set('dropped', 1)], ['OK', 'QUEUED']);
    await rejects(one.call('MULTI'), 'ERR MULTI calls can not be nested');
    same([await one.discard(), await one.exists('dropped')], ['OK', 0]);
    await rejects(one.call('EXEC'), 'ERR EXEC without MULTI');
    await rejects(one.call('DISCARD'), 'ERR DISCARD without MULTI');
  },

  async watch({ client, protocol }) {
    const one = connect(protocol);
    await client.set('w', 1);
    same(await one.watch('w'), 'OK');
    await client.set('w', 2);
    same(await one.multi().set('w', 3).exec(), null);
    await one.watch('w');
    await client.set('w', 4);
    same(await one.unwatch(), 'OK');
    same(await one.multi().set('w', 5).exec(), [[null, 'OK']]);
    await client.set('sum', 0);
    await Promise.all(Array.from({ length: 8 }, async () => {
      const mine = connect(protocol);
      for (let added = 0; added < 25;) {
        await mine.watch('sum');
        const next = Number(await mine.get('sum')) + 1;
        if (await mine.multi().set('sum', next).exec()) added += 1;
      }
    }));
    same(await client.get('sum'), '200');
  },

  async scan({ client }) {
    for (let part = 0; part < 5; part++) {
      await client.mset(...Array.from({ length: 1000 }, (_, i) => [`scan:${part * 1000 + i}`, 'v']).flat());
    }
    await client.mset(...Array.from({ length: 500 }, (_, i) => [`other:${i}`, 'v']).flat());
    const all = async (options) => {
      const keys = [];
      for await (const page of client.scanStream(options)) keys.push(...page);
      return keys;
    };
    same(new Set(await all({ match: 'scan:*', count: 100 })).size, 5000);
    same(new Set(await all({ count: 1000 })).size, 5500);
    same(new Set(await all({ match: 'other:?' })).size, 10);
    same(new Set(await all({ type: 'string', count: 500 })).size, 5500);
    same(await all({ type: 'list', count: 500 }), []);
    same((await client.keys('scan:*')).length, 5000);
    same((await client.keys('other:[12]')).sort(), ['other:1', 'other:2']);
    for await (const page of client.scanStream({ match: 'scan:*', count: 50 })) if (page.length) await client.unlink(page);
    same([await client.dbsize(), await client.keys('scan:*')], [500, []]);
    await rejects(client.scan('frog'), 'ERR invalid cursor');
  },

  async errors({ client }) {
    const error = await rejects(client.call('GET'), "ERR wrong number of arguments for 'get' command");
    same(error.name, 'ReplyError');
    await rejects(client.call('DEL'), "ERR wrong number of arguments for 'del' command");
    await rejects(client.call('NOSUCH', 'a', 'b'), "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b'");
    await rejects(client.client('NOSUCH'), "ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.");
    await rejects(client.expire('k', 'soon'), 'ERR value is not an integer or out of range');
    await rejects(client.call('SET', 'k', 'v', 'SOMEHOW'), 'ERR syntax error');
    await rejects(client.call('HELLO', 9), 'NOPROTO unsupported protocol version');
    same(await client.ping(), 'PONG');
  },

  async server({ client, protocol }) {
    await client.set('k', 'v');
    const info = await client.info();
    for (const line of ['redis_mode:standalone', 'role:master', 'cluster_enabled:0', 'db0:keys=1,expires=0,avg_ttl=0']) {
      same(info.split('\r\n').includes(line), true, line);
    }
    const before = flat(await client.config('GET', 'maxmemory'));
    same(before[0], 'maxmemory');
    same(await client.config('SET', 'maxmemory', '300mb'), 'OK');
    same(flat(await client.config('GET', 'maxmem*ry')), ['maxmemory', `${300 * mib}`]);
    same(await client.config('SET', ...before), 'OK');
    same(flat(await client.config('GET', 'nosuch*')), []);
    await rejects(client.config('SET', 'nosuch', 1), 'CONFIG SET');
    same((await client.command('INFO', 'get'))[0].slice(0, 2), ['get', 2]);
    same(await client.command('GETKEYS', 'MSET', 'a', 1, 'b', 2), ['a', 'b']);
    same((await client.role())[0], 'master');
    same(await client.module('LIST'), []);
    between(Date.now() / 1000 - 5, Number((await client.time())[0]), Date.now() / 1000 + 5);
    same([await client.slowlog('RESET'), Array.isArray(await client.slowlog('GET', 10))], ['OK', true]);
    same(await client.latency('LATEST'), []);
    same(protocol === client.options.protocol, true);
  },

  async clients({ client, protocol }) {
    const connectionName = `victim-${protocol}`;
    const victim = connect(protocol, { connectionName });
    const id = await victim.client('ID');
    const list = () => client.client('LIST');
    same((await list()).split('\n').filter((line) => line.includes(` name=${connectionName} `)).length, 1);
    same((await client.client('LIST', 'ID', id)).startsWith(`id=${id} `), true);
    const closed = new Promise((done) => victim.once('close', done));
    same(await client.client('KILL', 'ID', id), 1);
    await closed;
    same(await client.client('KILL', 'ID', id), 0);
    await rejects(client.client('KILL', '127.0.0.1:1'), 'ERR No such client');
    same([await client.client('NO-EVICT', 'ON'), await client.client('NO-EVICT', 'OFF')], ['OK', 'OK']);
  },

  async reconnect({ client, protocol }) {
    const connectionName = `again-${protocol}`;
    const victim = connect(protocol, { connectionName, db: 2, retryStrategy: () => 1 });
    await victim.set('before', 1);
    for (let round = 0; round < 3; round++) {
      const id = await victim.client('ID');
      const closed = new Promise((done) => victim.once('close', done));
      await client.client('KILL', 'ID', id);
      await closed;
      same(await victim.get('before'), '1');
      same((await victim.client('ID')) > id, true);
      same(await victim.client('GETNAME'), connectionName);
    }
  },

  async workers({ client, protocol }) {
    const pool = Array.from({ length: 50 }, () => connect(protocol));
    await Promise.all(pool.map(async (one) => {
      for (let i = 0; i < 100; i++) await one.incr('total');
    }));
    same(await client.get('total'), '5000');
  },

  async 'cluster refused'({ client, protocol }) {
    for (const question of ['INFO', 'SLOTS', 'NODES', 'SHARDS']) {
      await rejects(client.cluster(question), 'ERR This instance has cluster support disabled');
    }
    await rejects(client.readonly(), 'ERR This instance has cluster support disabled');
    await rejects(client.call('SENTINEL', 'MASTERS'), 'ERR unknown command');
    const cluster = new Redis.Cluster([{ host, port }], { redisOptions: { protocol }, clusterRetryStrategy: null });
    cluster.on('error', () => {});
    await rejects(cluster.get('k'), '');
    cluster.disconnect();
    same(await client.wait(0, 10), 0);
  },

  async timeout({ client, protocol }) {
    const slow = connect(protocol, { commandTimeout: 100 });
    await slow.set('t', 'right');
    same(await client.client('PAUSE', 400), 'OK');
    await rejects(slow.get('wrong answer'), 'Command timed out');
    // The late reply belongs to the question that was given up.
    await eventually('the end of the pause', async () => {
      try {
        same(await slow.get('t'), 'right');
        return true;
      } catch (error) {
        if (error.message !== 'Command timed out') throw error;
        return false;
      }
    });
  },
};

/** A map of either protocol as the flat list that RESP2 sends. */
function flat(reply) {
  if (Array.isArray(reply)) return reply.flat();
  return reply instanceof Map ? [...reply].flat() : Object.entries(reply).flat();
}

const own = {
  async 'resp3 hello refused'() {
    const client = connect(3, { port: noHelloPort, connectionName: 'fallback', db: 4 });
    same(await client.set('old', 'way'), 'OK');
    same([await client.get('old'), await client.client('GETNAME')], ['way', 'fallback']);
    same((await client.client('INFO')).includes(' resp=2'), true);
    same((await client.client('INFO')).includes(' db=4'), true);
  },

  async 'resp3 automatic pipelines'() {
    const client = connect(3, { enableAutoPipelining: true });
    await client.flushall();
    same(await Promise.all(Array.from({ length: 2000 }, () => client.incr('auto'))), Array.from({ length: 2000 }, (_, i) => i + 1));
  },
};

const report = new Report('ioredis', versionOf('ioredis'));
for (const protocol of [2, 3]) {
  for (const [name, check] of Object.entries(shared)) {
    const client = connect(protocol);
    await report.run(`resp${protocol} ${name}`, async () => {
      await client.flushall();
      await check({ client, protocol });
    });
    for (const one of opened.splice(0)) one.disconnect();
  }
}
for (const [name, check] of Object.entries(own)) await report.run(name, check);
report.print();
