// The peer "Node, batches": the idea of the service in Node. Requests that come while a batch is
// under way make the next one; a batch is one transaction of the service's own statements.

import { readFileSync } from 'node:fs'

import { app, listen, orderAnswer, orderSchema, refuse, sql } from './shop.js'

const [lockUsers, findWanted, placeOrders] = [
  'accounts/lock_users_by_name',
  'benefits/find_wanted',
  'benefits/place_orders',
].map((name) => readFileSync(new URL(`../../../../sql/${name}.sql`, import.meta.url), 'utf8'))

const ACTOR = 'anonymous'

let waiting = []
let isRunning = false

function submit(command) {
  return new Promise((resolve, reject) => {
    waiting.push({ ...command, resolve, reject })
    if (!isRunning) drain()
  })
}

async function drain() {
  isRunning = true
  while (waiting.length) {
    const batch = waiting
    waiting = []
    try {
      const outcomes = await sql.begin((transaction) => placeAll(transaction, batch))
      batch.forEach(({ resolve }, index) => resolve(outcomes[index]))
    } catch (error) {
      batch.forEach(({ reject }) => reject(error))
    }
  }
  isRunning = false
}

async function placeAll(transaction, batch) {
  const run = (text, ...values) => transaction.unsafe(text, values, { prepare: true })
  const accounts = await run(lockUsers, [...new Set(batch.map(({ buyer }) => buyer))], [])
  const users = new Map(accounts.map((account) => [account.username, account]))

  const pairs = new Map()
  for (const { buyer, items } of batch) {
    const user = users.get(buyer)
    if (user) for (const slug of items) pairs.set(`${user.id} ${slug}`, [user.id, slug])
  }
  const wanted = [...pairs.values()]
  const found = await run(findWanted, wanted.map(([id]) => id), wanted.map(([, slug]) => slug))
  const catalogue = new Map(found.map((product) => [product.slug, product]))
  const owned = new Set(found.filter((each) => each.owned).map((each) => `${each.user_id} ${each.id}`))

  const outcomes = batch.map((command) => decide(command, users, catalogue, owned))
  const orders = outcomes.filter(({ error }) => !error)
  if (orders.length) await write(run, orders)
  return outcomes
}

function decide({ buyer, items }, users, catalogue, owned) {
  const user = users.get(buyer)
  if (!user) return { error: 'user_not_found' }
  const products = items.map((slug) => catalogue.get(slug))
  if (products.includes(undefined)) return { error: 'products_not_found' }
  const pairs = new Set(products.map(({ id }) => `${user.id} ${id}`))
  if (pairs.size < items.length || [...pairs].some((pair) => owned.has(pair))) {
    return { error: 'products_already_purchased' }
  }
  const total = products.reduce((sum, { price }) => sum + price, 0)
  if (user.balance < total) return { error: 'insufficient_balance' }
  user.balance -= total
  pairs.forEach((pair) => owned.add(pair))
  return { user, products, total, balanceAfter: user.balance }
}

async function write(run, orders) {
  const each = (value) => orders.map(value)
  const items = orders.flatMap(({ products }, index) => products.map((each) => [index + 1, each]))
  const placed = await run(
    placeOrders,
    each(({ user }) => user.id), each(({ total }) => total), each((order) => order.balanceAfter),
    each(payload), each(() => null), each(() => ACTOR), each(() => null),
    items.map(([ordinal]) => ordinal), items.map(([, { id }]) => id),
    items.map(([, { price }]) => price),
  )
  orders.forEach((order, index) => Object.assign(order, placed[index]))
}

function payload({ user, products, total, balanceAfter }) {
  return {
    user_id: user.id,
    items: products.map(({ id, slug, price }) => ({ product_id: id, slug, price })),
    total,
    balance_after: balanceAfter,
  }
}

app.post('/api/orders', { schema: orderSchema }, async (request, reply) => {
  const { items, user_id: buyer } = request.body.order
  const { error, id, total } = await submit({ buyer, items })
  return error ? refuse(reply, error) : orderAnswer(id, items, total)
})

await listen()
