// Uses the types that openapi-typescript has made, with openapi-fetch, against running services.
// Its arguments are a URL and a token for each of commerce, projects and events.
import createClient from "openapi-fetch";
import type { components, paths as Commerce } from "./commerce.js";
import type { paths as Events } from "./events.js";
import type { paths as Projects } from "./projects.js";

declare const process: { argv: string[] };

const FAR = 2 ** 52; // an id that nothing has

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

function bearer(token: string): { Authorization: string } {
  return { Authorization: `Bearer ${token}` };
}

async function useCommerce(url: string, token: string): Promise<void> {
  const client = createClient<Commerce>({ baseUrl: url, headers: bearer(token) });
  const { data: user } = await client.POST("/users", {
    body: { username: "tim", opening_balance: 100_000 },
  });
  check(user !== undefined, "a user");
  const body: components["schemas"]["OrderBody"] = {
    items: [{ productId: 1, quantity: 2 }],
    userId: user.user_id,
    reference: "tim-1",
  };
  const { data: order } = await client.POST("/orders", {
    body,
    params: { header: { "Idempotency-Key": "tim-1" } },
  });
  check(order !== undefined, "an order");
  const { data: orders } = await client.GET("/orders", {
    params: { query: { user_id: user.user_id } },
  });
  check(orders?.length === 1 && orders[0]?.id === order.id, "the order in a list");
  const { error, response } = await client.POST("/orders", { body });
  check(response.status === 409 && error?.error === "reference_taken", "an error");
  const asked = await client.POST("/orders", {
    body,
    headers: { Accept: "application/problem+json" },
  });
  check(asked.error !== undefined && "title" in asked.error, "a problem");
  check(asked.error.status === 409 && asked.error.title === "Conflict", "a problem's status");
}

async function useProjects(url: string, token: string): Promise<void> {
  const client = createClient<Projects>({ baseUrl: url, headers: bearer(token) });
  const { data: started } = await client.POST("/projects/{id}/deployment", {
    params: { path: { id: 1 } },
    body: { branch: "main" },
  });
  check(started?.branch === "main", "a deployment");
  const { error } = await client.GET("/projects/{id}", { params: { path: { id: FAR } } });
  check(error?.error === "project_not_found", "an unknown project");
}

async function useEvents(url: string, token: string): Promise<void> {
  const client = createClient<Events>({ baseUrl: url, headers: bearer(token) });
  const { data: stored } = await client.POST("/events", {
    body: { name: "client.generated", subject: "client:typescript", payload: { count: 1 } },
  });
  check(stored !== undefined, "an event");
  const { data: listed } = await client.GET("/events", {
    params: { query: { subject: "client:typescript" } },
  });
  check(listed?.length === 1 && listed[0]?.id === stored.id, "the event in a list");
}

const [commerceUrl, commerceToken, projectsUrl, projectsToken, eventsUrl, eventsToken] =
  process.argv.slice(2) as [string, string, string, string, string, string];
await useCommerce(commerceUrl, commerceToken);
await useProjects(projectsUrl, projectsToken);
await useEvents(eventsUrl, eventsToken);
console.log("used");
