// The peer "Fastify": one call of a PL/pgSQL function per request, ../functions.sql.

import { app, invoiceSchema, listen, orderAnswer, orderSchema, refuse, sql } from './shop.js'

app.post('/api/orders', { schema: orderSchema }, async (request, reply) => {
  const { items, user_id: buyer } = request.body.order
  const [{ error, order_id: id, total }] = await sql`
    SELECT error, order_id, total FROM peer.place_order(${buyer}, ${items})`
  return error ? refuse(reply, error) : orderAnswer(id, items, total)
})

app.post('/invoices/:id/pay', { schema: invoiceSchema }, async (request, reply) => {
  const [{ error, ...paid }] = await sql`
    SELECT error, (paid).* FROM peer.pay_invoice(${request.params.id})`
  return error ? refuse(reply, error) : paid
})

await listen()
