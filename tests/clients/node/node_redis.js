// node-redis in both protocols: every shared check with the library's typed commands, and its own pool.

import { ErrorReply, RESP_TYPES, WatchError, createClient, createClientPool } from 'redis';
import { Report, between, eventually, host, mib, password, passwordAddress, port, rejects, same, versionOf } from './report.js';

const opened = [];

async function connect(protocol, { socket, ...options } = {}) {
  const client = createClient({ RESP: protocol, socket: { host, port, reconnectStrategy: 1, ...socket }, ...options });
  client.on('error', () => {});
  opened.push(client);
  return client.connect();
}

const binary = (client) => client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
const expire = (type, value) => ({ expiration: { type, value } });

const shared = {
  async connect({ protocol }) {
    const named = await connect(protocol, { name: 'pond-skater' });
    same([await named.ping(), await named.ping('hi'), await named.echo('frog')], ['PONG', 'hi', 'frog']);
    same(await named.clientGetName(), 'pond-skater');
    const info = await named.clientInfo();
    same([info.name, info.resp, info.id], ['pond-skater', protocol, await named.clientId()]);
    const [major, minor] = /redis_version:(\d+)\.(\d+)/.exec(await named.info('server')).slice(1).map(Number);
    if (major > 7 || (major === 7 && minor >= 2)) {
      same((await named.sendCommand(['CLIENT', 'INFO'])).toString().includes('lib-name=node-redis'), true);
    }
    same((await named.hello(protocol)).mode, 'standalone');
  },

  async password({ protocol }) {
    const socket = passwordAddress();
    const client = await connect(protocol, { socket, password });
    same([await client.set('secret', 'kept'), await client.get('secret')], ['OK', 'kept']);
    same(await (await connect(protocol, { socket, username: 'default', password })).get('secret'), 'kept');
    const once = { ...socket, reconnectStrategy: false };
    await rejects(connect(protocol, { socket: once, password: 'guess' }), 'WRONGPASS invalid username-password pair or user is disabled.');
    if (protocol === 3) {
      await rejects(connect(protocol, { socket: once }), 'NOAUTH HELLO must be called with the client already authenticated');
    } else {
      const bare = await connect(protocol, { socket: once });
      await rejects(bare.get('secret'), 'NOAUTH Authentication required.');
      same([await bare.auth({ password }), await bare.get('secret')], ['OK', 'kept']);
    }
    const plain = await connect(protocol);
    await rejects(plain.auth({ password }), 'without any password configured for the default user');
  },

  async database({ client, protocol }) {
    const five = await connect(protocol, { database: 5 });
    await client.set('where', 'zero');
    same(await five.get('where'), null);
    await five.set('where', 'five');
    same([await client.get('where'), await client.dbSize(), await five.dbSize()], ['zero', 1, 1]);
    await client.set('walker', '1');
    same(await client.move('walker', 5), 1);
    same([await client.exists('walker'), await five.exists('walker')], [0, 1]);
    same(await client.swapDb(0, 5), 'OK');
    same([await client.get('where'), await five.get('where')], ['five', 'zero']);
    same(await client.flushDb(), 'OK');
    same([await client.dbSize(), await five.dbSize()], [0, 1]);
    await rejects(client.select(16), 'ERR DB index is out of range');
  },

  async values({ client }) {
    const everyByte = Buffer.from(Array.from({ length: 1280 }, (_, i) => i % 256));
    for (const value of [Buffer.alloc(0), Buffer.from('\r\n$-1\r\n'), everyByte, Buffer.alloc(mib, 0xff)]) {
      same(await client.set('value', value), 'OK');
      same((await binary(client).get('value')).equals(value), true);
      same(await client.strLen('value'), value.length);
    }
    same([await client.set(everyByte, 'binary key'), await client.get(everyByte)], ['OK', 'binary key']);
    same([await client.set('', 'empty key'), await client.get('')], ['OK', 'empty key']);
    same([await client.set('text', 'Wörter ☔'), await client.get('text')], ['OK', 'Wörter ☔']);
    same([await client.getSet('text', 'b'), await client.getDel('text'), await client.get('text')], ['Wörter ☔', 'b', null]);
  },

  async 'mget and mset'({ client }) {
    const pairs = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`m${i}`, `${i}`]));
    same(await client.mSet(pairs), 'OK');
    same(await client.mGet([...Object.keys(pairs), 'none']), [...Object.values(pairs), null]);
    same([await client.mSetNX({ m0: 'x', fresh: 'y' }), await client.get('fresh'), await client.mSetNX({ fresh: 'y' })], [0, null, 1]);
    same(await client.exists(['m0', 'm0', 'none']), 2);
    same(await client.del(Object.keys(pairs).slice(0, 50)), 50);
    same(await client.unlink(Object.keys(pairs)), 50);
  },

  async 'set options'({ client }) {
    const soon = Math.floor(Date.now() / 1000) + 100;
    same(await client.set('k', '1', { condition: 'NX' }), 'OK');
    same(await client.set('k', '2', { condition: 'NX' }), null);
    same(await client.set('none', '2', { condition: 'XX' }), null);
    same(await client.set('k', '2', { condition: 'XX', ...expire('EX', 50) }), 'OK');
    same(await client.set('k', '3', { expiration: 'KEEPTTL' }), 'OK');
    between(45, await client.ttl('k'), 50);
    same([await client.set('k', '4'), await client.ttl('k')], ['OK', -1]);
    same(await client.set('k', '5', expire('PX', 50_000)), 'OK');
    between(45_000, await client.pTTL('k'), 50_000);
    same([await client.set('k', '6', expire('EXAT', soon)), await client.expireTime('k')], ['OK', soon]);
    same([await client.set('k', '7', expire('PXAT', soon * 1000 + 7)), await client.pExpireTime('k')], ['OK', soon * 1000 + 7]);
    same(await client.set('k', '8', { GET: true }), '7');
    same(await client.set('k', '9', { GET: true, condition: 'NX' }), '8');
    same(await client.set('fresh', '9', { GET: true, condition: 'NX' }), null);
    same([await client.set('k', 'old', expire('PXAT', 1)), await client.exists('k')], ['OK', 0]);
    await rejects(client.set('k', 'v', expire('EX', 0)), "ERR invalid expire time in 'set' command");
    await rejects(client.sendCommand(['SET', 'k', 'v', 'EX', '1', 'PX', '1']), 'ERR syntax error');
    same([await client.setNX('nx', '1'), await client.setNX('nx', '2')], [1, 0]);
    same([await client.setEx('sx', 60, 'v'), await client.pSetEx('sx', 60_000, 'v')], ['OK', 'OK']);
  },

  async expiry({ client }) {
    const soon = Math.floor(Date.now() / 1000) + 100;
    same([await client.ttl('none'), await client.pTTL('none')], [-2, -2]);
    await client.set('k', 'v');
    same([await client.expire('k', 100, 'XX'), await client.expire('k', 100, 'NX')], [0, 1]);
    same([await client.expire('k', 50, 'GT'), await client.expire('k', 50, 'LT')], [0, 1]);
    same(await client.pExpire('k', 90_000), 1);
    between(85_000, await client.pTTL('k'), 90_000);
    same([await client.expireAt('k', soon), await client.expireTime('k')], [1, soon]);
    same([await client.pExpireAt('k', soon * 1000 + 1), await client.pExpireTime('k')], [1, soon * 1000 + 1]);
    same([await client.persist('k'), await client.persist('k')], [1, 0]);
    same(await client.getEx('k', { type: 'EX', value: 40 }), 'v');
    between(35, await client.ttl('k'), 40);
    same(await client.getEx('k', { type: 'PERSIST' }), 'v');
    same([await client.ttl('k'), await client.expire('k', 0), await client.exists('k')], [-1, 1, 0]);
    await client.set('short', 'v', expire('PX', 30));
    await eventually('expiry', async () => (await client.get('short')) === null);
    same(await client.ttl('short'), -2);
  },

  async counters({ client }) {
    same([await client.incr('n'), await client.incrBy('n', 41), await client.decr('n'), await client.decrBy('n', 40)], [1, 42, 41, 1]);
    await client.set('n', '9223372036854775807');
    await rejects(client.incr('n'), 'ERR increment or decrement would overflow');
    same([await client.incrByFloat('f', 10.5), await client.incrByFloat('f', -10.25)], ['10.5', '0.25']);
    await client.set('f', '5.0e3');
    same(await client.incrByFloat('f', 200), '5200');
    await client.set('text', 'frog');
    await rejects(client.incr('text'), 'ERR value is not an integer or out of range');
    await rejects(client.incrByFloat('text', 1), 'ERR value is not a valid float');
  },

  async ranges({ client }) {
    same([await client.append('s', 'Hello '), await client.append('s', 'World')], [6, 11]);
    same([await client.getRange('s', 0, 4), await client.getRange('s', -5, -1), await client.getRange('s', 5, 2)], ['Hello', 'World', '']);
    same([await client.setRange('s', 6, 'Ponds'), await client.get('s')], [11, 'Hello Ponds']);
    same([await client.setRange('pad', 3, 'x'), (await binary(client).get('pad')).toString('hex')], [4, '00000078']);
    await rejects(client.setRange('s', -1, 'x'), 'ERR offset is out of range');
  },

  async keyspace({ client, protocol }) {
    await client.set('a', '1', expire('EX', 100));
    same(await client.rename('a', 'b'), 'OK');
    between(90, await client.ttl('b'), 100);
    await rejects(client.rename('a', 'b'), 'ERR no such key');
    await client.set('c', '3');
    same([await client.renameNX('b', 'c'), await client.renameNX('b', 'd')], [0, 1]);
    same([await client.copy('d', 'c'), await client.copy('d', 'c', { REPLACE: true }), await client.copy('d', 'd', { DB: 3 })], [0, 1, 1]);
    same(await (await connect(protocol, { database: 3 })).get('d'), '1');
    same([await client.type('c'), await client.type('none'), await client.touch(['c', 'd', 'none'])], ['string', 'none', 2]);
    same(['c', 'd'].includes(await client.randomKey()), true);
    same([await client.objectEncoding('c'), await client.objectEncoding('none')], ['int', null]);
    same([typeof (await client.objectIdleTime('c')), typeof (await client.objectRefCount('c'))], ['number', 'number']);
    between(1, await client.memoryUsage('c'), 1000);
    same([await client.flushAll(), await client.randomKey(), await client.dbSize()], ['OK', null, 0]);
  },

  async pipeline({ client }) {
    const pipe = client.multi();
    for (let i = 0; i < 1000; i++) pipe.set(`p${i}`, `${i}`).get(`p${i}`);
    const replies = await pipe.execAsPipeline();
    same(replies.every((reply, i) => reply === (i % 2 ? `${(i - 1) / 2}` : 'OK')) && replies.length, 2000);
    const mixed = await Promise.allSettled([client.set('text', 'frog'), client.incr('text'), client.sendCommand(['NOSUCH']), client.get('text')]);
    same(mixed.map((one) => one.status), ['fulfilled', 'rejected', 'rejected', 'fulfilled']);
    same(mixed[3].value, 'frog');
  },

  async 'large pipeline'({ client }) {
    same(await Promise.all(Array.from({ length: 30_000 }, () => client.incr('big'))), Array.from({ length: 30_000 }, (_, i) => i + 1));
    const blocks = Array.from({ length: 16 }, (_, i) => Buffer.alloc(mib, i));
    await Promise.all(blocks.map((block, i) => client.set(`block${i}`, block)));
    const back = await binary(client).mGet(blocks.map((_, i) => `block${i}`));
    same(back.every((block, i) => block.equals(blocks[i])), true);
    await client.del(blocks.map((_, i) => `block${i}`));
  },

  async transaction({ client, protocol }) {
    same(await client.multi().set('a', '1').incr('a').get('none').exec(), ['OK', 2, null]);
    const partly = await rejects(client.multi().set('text', 'frog').incr('text').set('after', 'done').exec(), 'commands failed');
    same([partly.replies[1].message, await client.get('after')], ['ERR value is not an integer or out of range', 'done']);
    const error = await rejects(client.multi().set('aborted', '1').addCommand(['NOSUCH']).exec(), '');
    same([error instanceof ErrorReply, await client.exists('aborted')], [true, 0]);
    const one = await connect(protocol);
    const say = (...words) => one.sendCommand(words);
    same([await say('MULTI'), await say('SET', 'dropped', '1')], ['OK', 'QUEUED']);
    await rejects(say('MULTI'), 'ERR MULTI calls can not be nested');
    same([await say('DISCARD'), await one.exists('dropped')], ['OK', 0]);
    await rejects(say('EXEC'), 'ERR EXEC without MULTI');
    await rejects(say('DISCARD'), 'ERR DISCARD without MULTI');
    await say('MULTI');
    await rejects(say('GET'), 'ERR wrong number of arguments');
    await rejects(say('EXEC'), 'EXECABORT Transaction discarded because of previous errors.');
  },

  async watch({ client, protocol }) {
    const one = await connect(protocol);
    await client.set('w', '1');
    same(await one.watch('w'), 'OK');
    await client.set('w', '2');
    same((await rejects(one.multi().set('w', '3').exec(), '')) instanceof WatchError, true);
    await one.watch('w');
    await client.set('w', '4');
    same([await one.unwatch(), await one.multi().set('w', '5').exec()], ['OK', ['OK']]);
    await client.set('sum', '0');
    await Promise.all(Array.from({ length: 8 }, async () => {
      const mine = await connect(protocol);
      for (let added = 0; added < 25;) {
        await mine.watch('sum');
        const next = Number(await mine.get('sum')) + 1;
        try {
          await mine.multi().set('sum', `${next}`).exec();
          added += 1;
        } catch (error) {
          if (!(error instanceof WatchError)) throw error;
        }
      }
    }));
    same(await client.get('sum'), '200');
  },

  async scan({ client }) {
    const fill = (prefix, count) => client.mSet(Object.fromEntries(Array.from({ length: count }, (_, i) => [`${prefix}:${i}`, 'v'])));
    await fill('scan', 5000);
    await fill('other', 500);
    const all = async (options) => {
      const keys = [];
      for await (const page of client.scanIterator(options)) keys.push(...page);
      return keys;
    };
    same(new Set(await all({ MATCH: 'scan:*', COUNT: 100 })).size, 5000);
    same(new Set(await all({ COUNT: 1000 })).size, 5500);
    same(new Set(await all({ MATCH: 'other:?' })).size, 10);
    same(new Set(await all({ TYPE: 'string', COUNT: 500 })).size, 5500);
    same(await all({ TYPE: 'list', COUNT: 500 }), []);
    same([(await client.keys('scan:*')).length, (await client.keys('other:[12]')).sort()], [5000, ['other:1', 'other:2']]);
    for await (const page of client.scanIterator({ MATCH: 'scan:*', COUNT: 50 })) if (page.length) await client.unlink(page);
    same([await client.dbSize(), await client.keys('scan:*')], [500, []]);
    await rejects(client.scan('frog'), 'ERR invalid cursor');
  },

  async errors({ client }) {
    const error = await rejects(client.sendCommand(['GET']), "ERR wrong number of arguments for 'get' command");
    same(error instanceof ErrorReply, true);
    await rejects(client.sendCommand(['DEL']), "ERR wrong number of arguments for 'del' command");
    await rejects(client.sendCommand(['NOSUCH', 'a', 'b']), "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b'");
    await rejects(client.sendCommand(['CLIENT', 'NOSUCH']), "ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.");
    await rejects(client.sendCommand(['EXPIRE', 'k', 'soon']), 'ERR value is not an integer or out of range');
    await rejects(client.sendCommand(['SET', 'k', 'v', 'SOMEHOW']), 'ERR syntax error');
    await rejects(client.sendCommand(['HELLO', '9']), 'NOPROTO unsupported protocol version');
    same(await client.ping(), 'PONG');
  },

  async server({ client }) {
    await client.set('k', 'v');
    const info = (await client.info()).split('\r\n');
    for (const line of ['redis_mode:standalone', 'role:master', 'cluster_enabled:0', 'db0:keys=1,expires=0,avg_ttl=0']) {
      same(info.includes(line), true, line);
    }
    const before = (await client.configGet('maxmemory')).maxmemory;
    same(await client.configSet('maxmemory', '300mb'), 'OK');
    same({ ...(await client.configGet(['maxmem*ry', 'databases'])) }, { maxmemory: `${300 * mib}`, databases: '16' });
    same(await client.configSet({ maxmemory: before, 'slowlog-max-len': '128' }), 'OK');
    same({ ...(await client.configGet('nosuch*')) }, {});
    await rejects(client.configSet('nosuch', '1'), 'CONFIG SET');
    same(await client.configResetStat(), 'OK');
    same([(await client.commandInfo(['get']))[0].arity, await client.commandGetKeys(['MSET', 'a', '1', 'b', '2'])], [2, ['a', 'b']]);
    between(50, await client.commandCount(), 1000);
    same((await client.commandList()).map(String).includes('get'), true);
    same([(await client.role()).role, await client.moduleList(), await client.latencyLatest()], ['master', [], []]);
    between(Date.now() / 1000 - 5, Number((await client.time())[0]), Date.now() / 1000 + 5);
    same((await client.memoryStats())['keys.count'], 1);
    same([await client.sendCommand(['SLOWLOG', 'RESET']), await client.sendCommand(['SLOWLOG', 'LEN'])], ['OK', 0]);
  },

  async clients({ client, protocol }) {
    const name = `victim-${protocol}`;
    const victim = await connect(protocol, { name });
    const id = await victim.clientId();
    same((await client.clientList()).filter((entry) => entry.name === name).map((entry) => entry.id), [id]);
    const lost = new Promise((done) => victim.once('reconnecting', done));
    same(await client.clientKill({ filter: 'ID', id }), 1);
    await lost;
    same(await client.clientKill({ filter: 'ID', id }), 0);
    await rejects(client.clientKill({ filter: 'ADDR', address: '127.0.0.1:1' }).then((count) => { if (count === 0) throw new Error('none killed'); }), 'none killed');
    same([await client.clientNoEvict(true), await client.clientNoEvict(false)], ['OK', 'OK']);
    same([await client.clientSetName('renamed'), await client.clientGetName()], ['OK', 'renamed']);
  },

  async reconnect({ client, protocol }) {
    const name = `again-${protocol}`;
    const victim = await connect(protocol, { name, database: 2 });
    await victim.set('before', '1');
    for (let round = 0; round < 3; round++) {
      const id = await victim.clientId();
      const lost = new Promise((done) => victim.once('reconnecting', done));
      await client.clientKill({ filter: 'ID', id });
      await lost;
      same(await victim.get('before'), '1');
      same([(await victim.clientId()) > id, await victim.clientGetName()], [true, name]);
    }
  },

  async workers({ client, protocol }) {
    const pool = createClientPool({ RESP: protocol, socket: { host, port } }, { minimum: 1, maximum: 20, acquireTimeout: 15_000 });
    pool.on('error', () => {});
    await pool.connect();
    await Promise.all(Array.from({ length: 50 }, async () => {
      for (let i = 0; i < 100; i++) await pool.incr('total');
    }));
    same(await client.get('total'), '5000');
    pool.destroy();
  },

  async 'cluster refused'({ client }) {
    for (const question of ['INFO', 'SLOTS', 'NODES', 'SHARDS']) {
      await rejects(client.sendCommand(['CLUSTER', question]), 'ERR This instance has cluster support disabled');
    }
    await rejects(client.readonly(), 'ERR This instance has cluster support disabled');
    await rejects(client.sendCommand(['SENTINEL', 'MASTERS']), 'ERR unknown command');
    same(await client.wait(0, 10), 0);
  },

  async timeout({ client, protocol }) {
    const slow = await connect(protocol, { socket: { socketTimeout: 100 } });
    await slow.set('t', 'right');
    const lost = new Promise((done) => slow.once('reconnecting', done));
    same(await client.clientPause(400, 'ALL'), 'OK');
    slow.get('wrong answer').catch(() => {});
    await lost;
    // The connection is new; no late reply of the old one may arrive on it.
    await eventually('the end of the pause', async () => (await slow.get('t').catch(() => 'late')) === 'right');
  },
};

const report = new Report('node-redis', versionOf('redis'));
for (const protocol of [2, 3]) {
  for (const [name, check] of Object.entries(shared)) {
    await report.run(`resp${protocol} ${name}`, async () => {
      const client = await connect(protocol);
      await client.flushAll();
      await check({ client, protocol });
    });
    for (const one of opened.splice(0)) if (one.isOpen) one.destroy();
  }
}
report.print();
