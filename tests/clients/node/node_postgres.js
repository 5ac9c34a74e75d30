// node-postgres with its defaults: a pool and clients, named statements, cursors, query streams, COPY streams, LISTEN, a query's
// cancellation by its timeout, types, transactions. More clients than there are server connections.
'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { pipeline } = require('node:stream/promises');
const { Readable } = require('node:stream');
const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');
const QueryStream = require('pg-query-stream');
const copy = require('pg-copy-streams');

const CLIENTS = 12;
const TURNS = 15;

async function transaction(client, me, turn) {
  await client.query('BEGIN');
  await client.query('INSERT INTO log VALUES ($1, $2)', [me, { turn, words: ['a', "b'c"] }]);
  const { rows } = await client.query('SELECT facts FROM log WHERE owner = $1 AND facts @> $2', [me, { turn }]);
  assert.deepStrictEqual(rows, [{ facts: { turn, words: ['a', "b'c"] } }]);
  await client.query(turn % 3 === 0 ? 'ROLLBACK' : 'COMMIT');
}

async function fails(client, sql, code) {
  await assert.rejects(client.query(sql), (error) => error.code === code);
}

async function life(pool, me) {
  for (let turn = 0; turn < TURNS; turn++) {
    const { rows } = await pool.query('SELECT $1::int AS me, $2::text AS turn', [me, turn]);
    assert.deepStrictEqual(rows, [{ me, turn: String(turn) }]);
    const client = await pool.connect();
    try {
      // Prepared at its first use, by a name that every client gives to a statement of its own.
      const named = { name: 'mine', text: `SELECT ${me} + $1::int AS sum`, values: [turn] };
      if (client.mine === undefined || client.mine === me) {
        client.mine = me;
        assert.strictEqual((await client.query(named)).rows[0].sum, me + turn);
      }
      await transaction(client, me, turn);
      await fails(client, 'SELECT 1/0', '22012');
      // Queued at once, answered in order.
      const answers = await Promise.all([1, 2, 3].map((n) => client.query('SELECT $1::int AS n', [me * n])));
      assert.deepStrictEqual(answers.map((answer) => answer.rows[0].n), [me, me * 2, me * 3]);
    } finally {
      client.release();
    }
  }
}

async function reads(pool, me) {
  const client = await pool.connect();
  const cursor = client.query(new Cursor('SELECT n, $1::int AS me FROM generate_series(1, 250) n', [me]));
  let seen = 0;
  for (let rows = await cursor.read(40); rows.length > 0; rows = await cursor.read(40)) {
    assert(rows.every((row) => row.me === me && row.n > seen));
    seen += rows.length;
  }
  assert.strictEqual(seen, 250);
  await cursor.close();
  // One that is left before its end.
  const left = client.query(new Cursor('SELECT generate_series(1, 100000)'));
  assert.strictEqual((await left.read(10)).length, 10);
  await left.close();
  seen = 0;
  for await (const row of client.query(new QueryStream('SELECT n, $1::int AS me FROM generate_series(1, 3000) n', [me]))) {
    assert.strictEqual(row.me, me);
    seen++;
  }
  assert.strictEqual(seen, 3000);
  client.release();
}

async function copies(pool, me) {
  const client = await pool.connect();
  const lines = Readable.from((function* () {
    for (let n = 0; n < 2000; n++) yield `${me}\t${n}\n`;
  })());
  await pipeline(lines, client.query(copy.from('COPY copied FROM STDIN')));
  let text = '';
  const out = client.query(copy.to(`COPY (SELECT n FROM copied WHERE owner = ${me} ORDER BY n) TO STDOUT`));
  for await (const chunk of out) text += chunk;
  assert.deepStrictEqual(text.trim().split('\n').map(Number), [...Array(2000).keys()]);
  await assert.rejects(
    pipeline(Readable.from(['x\ty\n']), client.query(copy.from('COPY copied FROM STDIN'))),
    (error) => error.code === '22P02',
  );
  assert.strictEqual((await client.query('SELECT 1 AS one')).rows[0].one, 1);
  client.release();
}

async function listens(pool) {
  const listener = new Client();
  await listener.connect();
  await listener.query('LISTEN here');
  const heard = once(listener, 'notification');
  await pool.query("SELECT pg_notify('here', 'hello')");
  assert.strictEqual((await heard)[0].payload, 'hello');
  await listener.query('UNLISTEN here');
  await listener.end();
}

async function sets() {
  const client = new Client({ statement_timeout: 100, application_name: 'set', options: '-c search_path=nowhere' });
  await client.connect();
  for (let turn = 0; turn < 10; turn++) {
    const shown = await client.query("SELECT current_setting('statement_timeout') AS a, current_setting('search_path') AS b");
    assert.deepStrictEqual(shown.rows, [{ a: '100ms', b: 'nowhere' }]);
  }
  await fails(client, 'SELECT pg_sleep(30)', '57014');
  await client.end();
}

async function main() {
  const pool = new Pool({ max: 8 });
  await pool.query('CREATE TABLE log (owner int, facts jsonb); CREATE TABLE copied (owner int, n int)');
  const all = (work) => Promise.all([...Array(CLIENTS).keys()].map((me) => work(pool, me)));
  await all(life);
  const kept = [...Array(TURNS).keys()].filter((turn) => turn % 3 !== 0).length;
  const { rows } = await pool.query('SELECT owner, count(*)::int AS n FROM log GROUP BY 1 ORDER BY 1');
  assert.deepStrictEqual(rows, [...Array(CLIENTS).keys()].map((owner) => ({ owner, n: kept })));
  await all(reads);
  await all(copies);
  await listens(pool);
  await Promise.all([...Array(4).keys()].map(sets));
  await pool.end();
  console.log('lived');
}

main().catch((failure) => {
  console.error(failure);
  process.exit(1);
});
