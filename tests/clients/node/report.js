// What every Node program here shares: the addresses to test, small assertions, and the report printed last.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const env = process.env;

export const host = env.MILLPOND_HOST;
export const port = Number(env.MILLPOND_PORT);
export const noHelloPort = Number(env.MILLPOND_NO_HELLO_PORT);
export const password = env.MILLPOND_PASSWORD;
export const mib = 1 << 20;
export const same = assert.deepEqual;

/** Longer than any healthy check: a lost reply must become a failure, not a hang. */
const CHECK_MS = 20_000;

export function passwordAddress() {
  assert.ok(env.MILLPOND_PASSWORD_PORT, 'no server with a password: give --password-address');
  return { host: env.MILLPOND_PASSWORD_HOST, port: Number(env.MILLPOND_PASSWORD_PORT) };
}

export function versionOf(packageName) {
  return JSON.parse(readFileSync(new URL(`node_modules/${packageName}/package.json`, import.meta.url))).version;
}

export function between(low, actual, high) {
  assert.ok(low <= actual && actual <= high, `got ${actual}, wanted ${low} to ${high}`);
}

/** Fails unless the promise is rejected with the text in its message; returns the error. */
export async function rejects(promise, text) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    assert.ok(String(error.message).includes(text), `got ${error}, wanted the text ${text}`);
    return error;
  }
  assert.fail(`got ${JSON.stringify(value)}, wanted an error with ${text}`);
}

/** Calls the function until it gives true, at most for five seconds. */
export async function eventually(what, condition) {
  const deadline = Date.now() + 5000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `${what} is not so after 5 s`);
    await new Promise((done) => setTimeout(done, 5));
  }
}

export class Report {
  constructor(client, version) {
    // A promise that fails after its check was over has no check to fail any more.
    process.on('unhandledRejection', () => {});
    Object.assign(this, { client, version, checks: {} });
  }

  async run(name, check) {
    assert.ok(!(name in this.checks), `two checks are called ${name}`);
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not finished after ${CHECK_MS} ms`)), CHECK_MS);
    });
    try {
      await Promise.race([check(), late]);
      this.checks[name] = 'ok';
    } catch (error) {
      const line = /([\w-]+\.js:\d+):\d+/.exec((error.stack ?? '').split('\n').filter((l) => /\/(clients\/node)\/(?!node_modules|report)/.test(l))[0] ?? '');
      this.checks[name] = `${line?.[1] ?? '?'}: ${String(error).slice(0, 400).replaceAll('\n', ' ')}`;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Prints the report and ends the process: a client that still reconnects must not keep it alive. */
  print() {
    process.stdout.write(`${JSON.stringify(this)}\n`, () => process.exit(0));
  }
}
