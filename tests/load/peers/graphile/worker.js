// The peer of the order processor in Node: graphile-worker, a job per order, its two writes in one
// transaction. Usage: node worker.js URL COUNT. Prints the seconds that COUNT jobs took.

import { runMigrations, runOnce } from 'graphile-worker'
import pg from 'pg'

const CONCURRENCY = 20
const [url, count] = process.argv.slice(2)

const CREATE = `
  INSERT INTO orders (status, amount, next_attempt_at)
  SELECT 'pending', 100, 'infinity' FROM generate_series(1, $1) RETURNING id`
const ENQUEUE = `
  SELECT graphile_worker.add_jobs(
    array_agg(
      json_populate_record(
        NULL::graphile_worker.job_spec,
        json_build_object('identifier', 'settle', 'payload', json_build_object('id', id))
      )
    )
  )
  FROM unnest($1::bigint[]) AS id`
const SETTLE = `
  UPDATE orders SET status = 'approved', settled_at = now() WHERE id = $1 AND status = 'pending'`
const APPEND = `
  INSERT INTO outbox (name, subject, payload)
  VALUES ('order.approved', 'order:' || $1::bigint,
          jsonb_build_object('order_id', $1::bigint, 'user_id', NULL, 'amount', 100))`
const SETTLED = `SELECT count(*) FROM orders WHERE id = ANY ($1) AND status = 'approved'`

const settle = ({ id }, { withPgClient }) =>
  withPgClient(async (client) => {
    await client.query('BEGIN')
    await client.query({ name: 'settle', text: SETTLE, values: [id] })
    await client.query({ name: 'append', text: APPEND, values: [id] })
    await client.query('COMMIT')
  })

const pool = new pg.Pool({ connectionString: url, max: CONCURRENCY + 2 })
const logger = { scope: () => logger, error: console.error, warn() {}, info() {}, debug() {} }
await runMigrations({ pgPool: pool })
const ids = (await pool.query(CREATE, [count])).rows.map(({ id }) => id)
await pool.query(ENQUEUE, [ids])
await pool.query('ANALYZE')

const started = performance.now()
await runOnce({ pgPool: pool, taskList: { settle }, concurrency: CONCURRENCY, logger })
const elapsed = (performance.now() - started) / 1000
const settled = (await pool.query(SETTLED, [ids])).rows[0].count
if (settled !== count) throw new Error(`${settled} of ${count} orders are settled`)
console.log(elapsed)
await pool.end()
