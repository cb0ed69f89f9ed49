"""How many images a device takes at once, as far as that is known."""

import logging

log = logging.getLogger(__name__)

UNKNOWN = 2**31
"""Images at once where nothing is known of a limit."""

PATIENCE = 64
"""Passes after which a device is tried with more: what filled it may be gone."""


class Capacity:
    """The limit on the images of a forward pass.

    Attributes:
        most: images at once.
    """

    def __init__(self, device: str) -> None:
        self.most = self._told = UNKNOWN
        self._device, self._passes = device, 0

    def passed(self) -> None:
        """Note a pass that fitted."""
        if self.most < UNKNOWN:
            self._passes += 1
            if self._passes % PATIENCE == 0:
                self.most *= 2

    def shrink(self, count: int) -> None:
        """Note that so many images did not fit; half of them are tried next. It is told once."""
        self.most, self._passes = (count + 1) // 2, 0
        if self.most < self._told:
            self._told = self.most
            log.warning("%d images at once do not fit on %s; going on with %d.", count, self._device, self.most)
