"""Chat, mail and some hundred other ways to reach people, through Apprise."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from interlock.errors import Unavailable, Unusable
from interlock.ports import Message


@dataclass(frozen=True)
class Apprise:
    """The Notifier port over one address of Apprise, as `slack://...` or `mailtos://...`.

    Raises `Unusable` for an address that Apprise does not know, and `Unavailable` when the
    package is not installed. No message of an error holds the address: it is a secret.
    """

    name: str
    url: str
    timeout: float = 10.0

    def tell(self, message: Message) -> None:
        try:
            import apprise
        except ModuleNotFoundError as error:
            raise Unavailable(
                "apprise is not installed", help="pip install 'interlock-ml[notify]'"
            ) from error
        # It logs addresses, with what is secret in them.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        asset = apprise.AppriseAsset(app_id="Interlock", http_redirects=False)
        told = apprise.Apprise(asset=asset)
        mark = "&" if "?" in self.url else "?"
        if not told.add(f"{self.url}{mark}cto={self.timeout:g}&rto={self.timeout:g}"):
            raise Unusable(f"the address of {self.name} is not one of Apprise", help="mend it")
        if not told.notify(title=message.title, body=message.text):
            raise Unavailable(f"{self.name} did not take it", help="is the address still good?")
