// postgres.js with its defaults: pipelined and prepared everywhere, transactions and savepoints, cursors, COPY streams, listeners,
// cancellation, arrays fetched from the catalogue. More queries at once than there are server connections.
'use strict';

const assert = require('node:assert');
const { pipeline } = require('node:stream/promises');
const { Readable } = require('node:stream');
const postgres = require('postgres');

const CLIENTS = 12;
const TURNS = 15;

async function transaction(sql, me, turn) {
  await sql.begin(async (sql) => {
    const row = { owner: me, facts: sql.json({ turn }), tags: [`${me}`, `${turn}`] };
    await sql`INSERT INTO log ${sql(row)}`;
    await sql
      .savepoint(async (sql) => {
        await sql`INSERT INTO log ${sql({ owner: me, tags: ['undone'] })}`;
        await sql`SELECT 1/0`;
      })
      .catch((error) => assert.strictEqual(error.code, '22012'));
    const found = await sql`SELECT owner, facts, tags FROM log WHERE owner = ${me} AND tags[2] = ${`${turn}`}`;
    assert.deepStrictEqual([...found], [{ owner: me, facts: { turn }, tags: [`${me}`, `${turn}`] }]);
  });
  await assert.rejects(
    sql.begin('isolation level serializable', async (sql) => {
      const [shown] = await sql`SHOW transaction_isolation`;
      assert.strictEqual(shown.transaction_isolation, 'serializable');
      await sql`INSERT INTO log ${sql({ owner: me, tags: ['undone'] })}`;
      throw new Error('not kept');
    }),
    /not kept/,
  );
}

async function life(sql, me) {
  for (let turn = 0; turn < TURNS; turn++) {
    const answers = await Promise.all([1, 2, 3, 4].map((n) => sql`SELECT ${me}::int AS me, ${turn * n}::int AS n`));
    assert.deepStrictEqual(answers.map((rows) => rows[0]), [1, 2, 3, 4].map((n) => ({ me, n: turn * n })));
    await transaction(sql, me, turn);
    const several = await sql.unsafe(`SELECT ${me} AS a; SELECT ${turn} AS b`);
    assert.deepStrictEqual(several.map((rows) => ({ ...rows[0] })), [{ a: me }, { b: turn }]);
    await assert.rejects(sql`SELECT * FROM nowhere`, (error) => error.code === '42P01');
  }
}

async function reads(sql, me) {
  let seen = 0;
  await sql`SELECT n, ${me}::int AS me FROM generate_series(1, 250) n`.cursor(40, (rows) => {
    assert(rows.every((row) => row.me === me));
    seen += rows.length;
  });
  assert.strictEqual(seen, 250);
  for await (const [row] of sql`SELECT generate_series(1, 100000) AS n`.cursor(1)) {
    if (row.n === 5) break;
  }
  seen = 0;
  await sql`SELECT n, ${me}::int AS me FROM generate_series(1, 1000) n`.forEach((row) => {
    assert.strictEqual(row.me, me);
    seen++;
  });
  assert.strictEqual(seen, 1000);
}

async function copies(sql, me) {
  // Of its own, for postgres.js pipelines others' queries behind a COPY, which the server does not like.
  const reserved = await sql.reserve();
  const lines = Readable.from([...Array(1000).keys()].map((n) => `${me}\t${n}\n`));
  await pipeline(lines, await reserved`COPY copied FROM STDIN`.writable());
  let text = '';
  for await (const chunk of await reserved.unsafe(`COPY (SELECT n FROM copied WHERE owner = ${me} ORDER BY n) TO STDOUT`).readable()) {
    text += chunk;
  }
  assert.deepStrictEqual(text.trim().split('\n').map(Number), [...Array(1000).keys()]);
  reserved.release();
}

async function listens(sql) {
  let hear;
  const heard = new Promise((resolve) => (hear = resolve));
  const listening = await sql.listen('here', hear);
  await sql.notify('here', 'hello');
  assert.strictEqual(await heard, 'hello');
  await listening.unlisten();
}

async function cancels(sql) {
  const query = sql`SELECT pg_sleep(30)`;
  const ended = assert.rejects(query, (error) => error.code === '57014');
  setTimeout(() => query.cancel(), 200);
  await ended;
  const [row] = await sql`SELECT 1 AS one`;
  assert.strictEqual(row.one, 1);
}

async function reserves(sql, me) {
  const reserved = await sql.reserve();
  await reserved`SELECT set_config('work_mem', ${`${me + 1}MB`}, false)`;
  for (let turn = 0; turn < TURNS; turn++) {
    const [shown] = await reserved`SHOW work_mem`;
    assert.strictEqual(shown.work_mem, `${me + 1}MB`);
  }
  await reserved`RESET work_mem`;
  reserved.release();
}

async function main() {
  const sql = postgres({ onnotice: () => {}, max: 8 });
  await sql`CREATE TABLE log (owner int, facts jsonb, tags text[])`;
  await sql`CREATE TABLE copied (owner int, n int)`;
  const all = (work) => Promise.all([...Array(CLIENTS).keys()].map((me) => work(sql, me)));
  await all(life);
  const counts = await sql`SELECT owner, count(*)::int AS n FROM log GROUP BY 1 ORDER BY 1`;
  assert.deepStrictEqual([...counts], [...Array(CLIENTS).keys()].map((owner) => ({ owner, n: TURNS })));
  await all(reads);
  await all(copies);
  await listens(sql);
  await Promise.all([1, 2, 3].map(() => cancels(sql)));
  await Promise.all([1, 2, 3, 4].map((me) => reserves(sql, me)));
  await sql.end();
  console.log('lived');
}

main().catch((failure) => {
  console.error(failure);
  process.exit(1);
});
