// What both servers here have in common: the schemas, the connection, errors, start.
//
// Fastify compiles the schemas, those of bodies and those of answers. Usage of a server:
// DATABASE_URL=postgresql://… PORT=… node server.js

import Fastify from 'fastify'
import postgres from 'postgres'

const POOL_CONNECTIONS = 10

const STATUSES = {
  user_not_found: 404,
  products_not_found: 400,
  products_already_purchased: 400,
  insufficient_balance: 400,
  invoice_not_found: 404,
  invoice_already_paid: 409,
}

const slugs = {
  type: 'array',
  minItems: 1,
  maxItems: 100,
  items: { type: 'string', minLength: 1, maxLength: 100 },
}

const object = (properties) => ({
  type: 'object',
  required: Object.keys(properties),
  additionalProperties: false,
  properties,
})

export const orderSchema = {
  body: object({
    order: object({ items: slugs, user_id: { type: 'string', minLength: 1, maxLength: 100 } }),
  }),
  response: {
    200: object({
      order: object({
        order_id: { type: 'string' },
        data: object({ items: slugs, total: { type: 'number' } }),
      }),
    }),
  },
}

const integer = { type: 'integer' }
const time = { type: 'string', format: 'date-time' }

export const invoiceSchema = {
  params: object({ id: { type: 'integer', minimum: 1 } }),
  response: {
    200: object({
      id: integer, user_id: integer, amount: integer, label: { type: 'string' },
      status: { type: 'string' }, created_at: time, paid_at: time,
    }),
  },
}

// postgres.js does not understand a URL that names a socket's folder.
const [, username, database, host] =
  /^postgresql:\/\/([^:@]+):?@\/(\w+)\?host=(.+)$/.exec(process.env.DATABASE_URL)

export const sql = postgres({
  host: decodeURIComponent(host),
  database,
  username,
  max: POOL_CONNECTIONS,
  connection: { TimeZone: 'UTC' },
  types: {
    bigint: { to: 20, from: [20], serialize: String, parse: Number },
    // Not as Date, which has milliseconds only.
    time: {
      to: 1184,
      from: [1184],
      serialize: String,
      parse: (text) => text.replace(' ', 'T').replace(/\+00$/, 'Z'),
    },
  },
})

export const app = Fastify()

app.setErrorHandler((error, _request, reply) => {
  if (!error.validation) console.error(error)
  return reply.send(error)
})

app.get('/healthz', () => ({ status: 'ok' }))

export function refuse(reply, error) {
  return reply.code(STATUSES[error]).send({ error })
}

export function orderAnswer(id, items, total) {
  return { order: { order_id: String(id), data: { items, total: total / 100 } } }
}

export function listen() {
  return app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
}
