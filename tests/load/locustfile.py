"""A realistic mix of requests, for Locust: people who shop, pay each other, bill, book and deploy.

    locust -f tests/load/locustfile.py --headless --users 200 --spawn-rate 50 --run-time 1m

Where things are: COMMERCE_URL, PROJECTS_URL, ROWLOCK_PROJECTS_TOKEN; LOAD_USERS is how many
`rowlock seed --users` has loaded. Refusals that the rules provide for, such as a time that is
taken, are no failures.
"""

import os
import random
import uuid
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from locust import FastHttpUser, between, task

LOAD_USERS = int(os.environ.get("LOAD_USERS", "10000"))
CATALOGUE = ("netflix", "spotify", "amazon-prime", "disney-plus", "apple-music", "audible", "gym")
SERVICES = ("123", "456", "789")
TOKEN = os.environ.get("ROWLOCK_PROJECTS_TOKEN", "development-projects-token")


class Customer(FastHttpUser):
    """Looks at the account, buys, gives some of it back, and pays others."""

    host = os.environ.get("COMMERCE_URL", "http://127.0.0.1:4000")
    weight = 8
    wait_time = between(0.5, 2)

    def on_start(self) -> None:
        self.user_id = random.randint(1, LOAD_USERS)
        self.username = f"load-{random.randint(1, LOAD_USERS)}"

    @task(6)
    def look_at_the_account(self) -> None:
        self.client.get(f"/api/users/{self.username}", name="/api/users/{username}")
        self.client.get(f"/user/{self.user_id}", name="/user/{id}")

    @task(3)
    def browse(self) -> None:
        self.client.get("/api/products")

    @task(2)
    def buy_a_benefit(self) -> None:
        order = {"items": [random.choice(CATALOGUE)], "user_id": self.username}
        with self.client.post("/api/orders", json={"order": order}, catch_response=True) as answer:
            # The catalogue is small, so many own what they choose.
            if answer.json().get("error") == "products_already_purchased":
                answer.success()
        if answer.ok and random.random() < 0.1:
            self._refund(answer.json()["order"]["order_id"])

    @task(3)
    def order_products(self) -> None:
        items = [{"productId": product, "quantity": 1} for product in random.sample(range(1, 8), 3)]
        body = {"items": items, "userId": self.user_id}
        order_id = self.client.post("/orders", json=body, headers=once()).json()["id"]
        self.client.get(f"/orders/{order_id}", name="/orders/{id}")
        if random.random() < 0.1:
            self._refund(order_id, amountCents=1)

    @task(1)
    def pay_somebody(self) -> None:
        other = self.user_id % LOAD_USERS + 1
        amount = random.randint(1, 1_000)
        parties = {"from_user_id": self.user_id, "to_user_id": other}
        body = parties | {"amount": amount, "label": "Lunch"}
        with self.client.post(
            "/transfers", json=body, headers=once(), catch_response=True
        ) as answer:
            if answer.json().get("error") == "insufficient_balance":
                answer.success()
        self.client.get(f"/transfers?user_id={self.user_id}", name="/transfers?user_id=")

    @task(1)
    def read_the_ledger(self) -> None:
        self.client.get(f"/user/{self.user_id}/ledger", name="/user/{id}/ledger")
        self.client.get(f"/user/{self.user_id}/statement?limit=20", name="/user/{id}/statement")

    def _refund(self, order_id: int | str, **part: int) -> None:
        """Refund an order, whole or in part; one that is not settled yet is refused."""
        with self.client.post(
            f"/orders/{order_id}/refunds",
            json=part,
            headers=once(),
            name="/orders/{id}/refunds",
            catch_response=True,
        ) as answer:
            if answer.json().get("error") == "order_not_refundable":
                answer.success()


class Freelancer(FastHttpUser):
    """Issues invoices, and sees them paid."""

    host = Customer.host
    weight = 3
    wait_time = between(1, 3)

    @task
    def bill(self) -> None:
        user_id = random.randint(1, LOAD_USERS)
        body = {"user_id": user_id, "amount": random.randint(100, 100_000), "label": "Work"}
        invoice_id = self.client.post("/invoices", json=body, headers=once()).json()["id"]
        self.client.get(f"/invoices?user_id={user_id}", name="/invoices?user_id=")
        name = "/invoices/{id}/pay"
        self.client.post(f"/invoices/{invoice_id}/pay", headers=once(), name=name)


class Receptionist(FastHttpUser):
    """Books times, takes another one where the first is taken, and cancels some."""

    host = Customer.host
    weight = 1
    wait_time = between(1, 3)

    @task(3)
    def book(self) -> None:
        at = datetime.now(UTC) + timedelta(minutes=random.randint(0, 365 * 24 * 60))
        wanted: str | None = at.isoformat(timespec="milliseconds")
        booked = self._book(wanted)
        if booked.status_code == HTTPStatus.CONFLICT:
            wanted = booked.json()["details"]["free_after"]
            booked = self._book(wanted) if wanted else booked
        if booked.status_code == HTTPStatus.CREATED and random.random() < 0.3:
            path = f"/service-orders/{booked.json()['id']}"
            self.client.delete(path, name="/service-orders/{id}")

    @task(2)
    def look_at_the_week(self) -> None:
        day = datetime.now(UTC).date() + timedelta(days=random.randint(0, 365))
        end = day + timedelta(days=7)
        path = f"/service-orders?from={day}T00:00:00Z&to={end}T00:00:00Z"
        self.client.get(path, name="/service-orders?from=&to=")

    def _book(self, at: str | None) -> Any:
        body = {"datetime": at, "totalfee": 100, "services": [random.choice(SERVICES)]}
        with self.client.post("/service-orders", json=body, catch_response=True) as answer:
            if answer.status_code == HTTPStatus.CONFLICT:
                answer.success()
            return answer


class Developer(FastHttpUser):
    """Watches projects, deploys, and changes their mind."""

    host = os.environ.get("PROJECTS_URL", "http://127.0.0.1:3000")
    weight = 3
    wait_time = between(1, 3)
    default_headers = {"Authorization": f"Bearer {TOKEN}"}  # noqa: RUF012

    @task(5)
    def watch(self) -> None:
        self.client.get(f"/projects?page={random.randint(1, 3)}", name="/projects?page=")
        self.client.get("/deployments")

    @task(2)
    def deploy(self) -> None:
        project_id = random.randint(1, 20)
        path = f"/projects/{project_id}/deployment"
        deployment_id = self.client.post(path, name="/projects/{id}/deployment").json()["id"]
        self.client.get(f"/deployments/{deployment_id}", name="/deployments/{id}")
        path = f"/deployments/{deployment_id}/cancel"
        self.client.post(path, name="/deployments/{id}/cancel")

    @task(1)
    def read_statistics(self) -> None:
        path = f"/users/{random.randint(1, 4)}/deployment-stats"
        self.client.get(path, name="/users/{id}/deployment-stats")


def once() -> dict[str, str]:
    """Return a header that makes the request safe to send again."""
    return {"Idempotency-Key": str(uuid.uuid4())}
