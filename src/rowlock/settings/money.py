"""The group of settings that says what the money is."""

from dataclasses import dataclass
from decimal import Decimal

from rowlock.currencies import DECIMALS
from rowlock.settings.kinds import currency


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneySettings:
    """What the money is."""

    currency: str = currency(
        "EUR", "what all amounts are in; another one later converts nothing: choose it at the start"
    )

    @property
    def decimals(self) -> int:
        """How many decimals an amount in major units has."""
        return DECIMALS[self.currency]

    def minor_units(self, major: Decimal) -> int:
        """Return an amount of major units, which has no more decimals, in minor ones."""
        return int(major.scaleb(self.decimals))
