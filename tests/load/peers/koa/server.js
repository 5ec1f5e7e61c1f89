// The peer in Node: Koa, knex and pg, one transaction per request.
//
// Serves the benefit orders and the payment of invoices with the answers of the service, writing
// the same rows under the same locks: what a careful team would write with these libraries.
// Usage: DATABASE_URL=postgresql://… PORT=… node server.js

import { bodyParser } from '@koa/bodyparser'
import Router from '@koa/router'
import knexFactory from 'knex'
import Koa from 'koa'
import pg from 'pg'

const POOL_CONNECTIONS = 10
const ACTOR = 'anonymous'

pg.types.setTypeParser(pg.types.builtins.INT8, Number)

const knex = knexFactory({
  client: 'pg',
  connection: { connectionString: process.env.DATABASE_URL },
  pool: { min: 0, max: POOL_CONNECTIONS },
})

const router = new Router()

router.get('/healthz', (ctx) => {
  ctx.body = { status: 'ok' }
})

router.post('/api/orders', async (ctx) => {
  const { items: slugs, user_id: username } = readOrder(ctx)
  const { orderId, total } = await knex.transaction(async (trx) => {
    const user = await trx('users').where({ username }).forNoKeyUpdate().first()
    ctx.assert(user, 404, 'user_not_found')
    const found = await trx('products').whereIn('slug', slugs)
    const catalogue = new Map(found.map((product) => [product.slug, product]))
    ctx.assert(slugs.every((slug) => catalogue.has(slug)), 400, 'products_not_found')
    const products = slugs.map((slug) => catalogue.get(slug))
    const ids = [...new Set(products.map(({ id }) => id))]
    const owned = await trx('owned_products')
      .where({ user_id: user.id })
      .whereIn('product_id', ids)
      .first()
    ctx.assert(!owned && ids.length === slugs.length, 400, 'products_already_purchased')
    const total = products.reduce((sum, { price }) => sum + price, 0)
    ctx.assert(user.balance >= total, 400, 'insufficient_balance')

    const balance = user.balance - total
    const [order] = await trx('orders')
      .insert({ user_id: user.id, status: 'approved', amount: total, settled_at: trx.fn.now() })
      .returning('id')
    await trx('order_items').insert(
      products.map(({ id, price }) => ({ order_id: order.id, product_id: id, quantity: 1, price })),
    )
    await trx('owned_products').insert(ids.map((id) => ({ user_id: user.id, product_id: id })))
    await move(trx, user, -total, 'benefit_order', ['order', order.id], 'sales')
    await append(trx, 'benefit_order.placed', `order:${order.id}`, {
      order_id: order.id,
      user_id: user.id,
      items: products.map(({ id, slug, price }) => ({ product_id: id, slug, price })),
      total,
      balance_after: balance,
    })
    return { orderId: order.id, total }
  })
  ctx.body = { order: { order_id: String(orderId), data: { items: slugs, total: total / 100 } } }
})

router.post('/invoices/:id/pay', async (ctx) => {
  ctx.body = await knex.transaction(async (trx) => {
    const invoice = await trx('invoices').where({ id: ctx.params.id }).forNoKeyUpdate().first()
    ctx.assert(invoice, 404, 'invoice_not_found')
    ctx.assert(invoice.status === 'pending', 409, 'invoice_already_paid')
    const user = await trx('users').where({ id: invoice.user_id }).forNoKeyUpdate().first()
    const [paid] = await trx('invoices')
      .where({ id: invoice.id })
      .update({ status: 'paid', paid_at: trx.fn.now() })
      .returning('*')
    await move(trx, user, paid.amount, 'invoice', ['invoice', paid.id], 'payables')
    await append(trx, 'invoice.paid', `invoice:${paid.id}`, {
      invoice_id: paid.id,
      user_id: paid.user_id,
      amount: paid.amount,
      label: paid.label,
      invoice_created_at: paid.created_at,
      paid_at: paid.paid_at,
      balance_after: user.balance + paid.amount,
    })
    return paid
  })
})

function readOrder(ctx) {
  const order = ctx.request.body?.order
  const valid =
    typeof order?.user_id === 'string' &&
    Array.isArray(order.items) &&
    order.items.length > 0 &&
    order.items.every((slug) => typeof slug === 'string')
  ctx.assert(valid, 400, 'invalid_request')
  return order
}

async function move(trx, user, amount, reason, [kind, id], contra) {
  const balance = user.balance + amount
  await trx('users').where({ id: user.id }).update({ balance })
  await trx('ledger_entries').insert({
    user_id: user.id, amount, balance_after: balance, reason, reference: `${kind}:${id}`,
    document_kind: kind, document_id: id, contra, actor: ACTOR,
  })
}

async function append(trx, name, subject, payload) {
  await trx('outbox').insert({ name, subject, payload, actor: ACTOR })
}

async function showErrors(ctx, next) {
  try {
    await next()
  } catch (error) {
    if (!error.expose) throw error
    ctx.status = error.status
    ctx.body = { error: error.message }
  }
}

const app = new Koa()
app.use(showErrors).use(bodyParser()).use(router.routes()).use(router.allowedMethods())
app.listen(Number(process.env.PORT), '127.0.0.1')
