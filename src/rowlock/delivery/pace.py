"""How many events a delivery has: fewer while the relay looks for one that can't be delivered."""

from rowlock.settings.groups import DeliverySettings


class Pace:
    """The size of the next delivery, by what became of those before.

    Of events that could not be delivered together, half are tried next. So an event that alone is
    at fault is found in few deliveries. Afterwards deliveries grow again.
    """

    def __init__(self, settings: DeliverySettings) -> None:
        self._settings = settings
        self._suspects = 0  # the next so many events have one that is at fault
        self._failures = 0  # in a row, of what is tried now
        self.size = settings.relay_batch_events

    @property
    def gives_up(self) -> bool:
        """Whether an event alone has failed so often that it may be what is at fault."""
        return self.size == 1 and self._failures >= self._settings.relay_event_attempts

    def stored(self, count: int) -> None:
        """Note that the next `count` events are stored."""
        self._failures = 0
        self._suspects = max(0, self._suspects - count)
        if self._suspects:
            self.size = max(1, self._suspects // 2)
        else:
            self.size = min(self.size * 5 // 4 + 1, self._settings.relay_batch_events)

    def failed(self, count: int) -> None:
        """Note that `count` events were not taken, for a reason that may pass."""
        self._failures += 1
        if self._suspects or self._failures >= self._settings.relay_batch_attempts:
            self.split(count)

    def split(self, count: int) -> None:
        """Look for what is at fault among `count` events; one alone is tried again."""
        if count > 1:
            self._suspects = count
            self._failures = 0
        self.size = max(1, count // 2)

    def parked(self) -> None:
        """Note that what was at fault is out of the way; the next one may be, too."""
        self._suspects = self._failures = 0
        self.size = min(2, self._settings.relay_batch_events)
