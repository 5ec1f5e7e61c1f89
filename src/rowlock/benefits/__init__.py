"""The benefits shop: each user buys each product once, from their balance.

An order is approved and paid as it is placed, or it is refused and not stored. An unknown user gets
an account with an opening balance.
"""

from collections.abc import Callable, Sequence

from rowlock.accounts import Accounts, names
from rowlock.accounts.rules import CreateUser
from rowlock.benefits.reads import find_shoppers, list_products
from rowlock.benefits.rules import CatalogueProduct, PlacedOrder, PlaceOrder, Shopper
from rowlock.benefits.transactions import place_orders
from rowlock.engine.aside import LockingLane
from rowlock.engine.database import Database
from rowlock.engine.lanes import Feature, Lane, WriteLane
from rowlock.engine.lists import ListLane
from rowlock.errors import InvalidRequest
from rowlock.origin import Origin
from rowlock.rejections import Rejection
from rowlock.settings.features import BenefitSettings
from rowlock.settings.groups import BatchSettings
from rowlock.settings.money import MoneySettings


class Benefits(Feature):
    """The benefits shop."""

    def __init__(
        self,
        database: Database,
        batches: BatchSettings,
        settings: BenefitSettings,
        money: MoneySettings,
        accounts: Accounts,
    ) -> None:
        super().__init__(database, batches)
        self.settings = settings
        self._opening_balance = money.minor_units(settings.opening_balance)
        self._accounts = accounts
        self.find_shopper: Lane[str, Shopper | None] = self._reads("find_shopper", find_shoppers)
        self.list_products: Lane[None, Sequence[CatalogueProduct] | None] = self._add(
            ListLane("list_products", database, list_products, batches)
        )
        self.place_order: WriteLane[PlaceOrder, PlacedOrder | Rejection] = self._add(
            LockingLane("place_order", database, place_orders, batches)
        )

    async def find_or_open(
        self, username: str, origin: Origin, may_open: Callable[[], None]
    ) -> Shopper | None:
        """Return the user of that name; open an account for an unknown one.

        None for an unknown one if the settings say that no account is opened, or if it was
        anonymised meanwhile. `may_open` raises what keeps this caller from opening one.
        Raises InvalidRequest for a name that no new user may have, and what the lanes raise.
        """
        shopper = await self.find_shopper.submit(username)
        if shopper is None:
            await self.check_name(username)
            if not self.settings.benefits_open_accounts:
                return None
            may_open()
            command = CreateUser(username, self._opening_balance, origin)
            await self._accounts.create.submit(command)
            shopper = await self.find_shopper.submit(username)
        return shopper

    async def check_name(self, username: str) -> None:
        """Raise InvalidRequest for a name that no user has and no new user may have.

        Such a name is that of a user if an earlier release took it. Raises what the lane raises.
        """
        problem = names.problem(username)
        if problem is not None and await self.find_shopper.submit(username) is None:
            raise InvalidRequest(f"The username is not valid: {problem}")
