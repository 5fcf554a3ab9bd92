"""Access control of the API.

While there is no key at all, a caller on this machine needs none, so that ``curl -X POST http://localhost:5001/retrain`` works as
it is; `peers` says what such a request looks like. As soon as a key was made or configured, an address alone gives nothing: a
proxy or a tunnel may bring strangers from it. Callers on this machine then send the key of this machine (`local_key`). Everybody
else sends a key: that of the settings, which may do everything, or one that ``defect keys create`` made, which may do what its
role may. `routes` says what each route needs.
"""

import hmac
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from flask import Request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from defect_detection.config import Config
from defect_detection.errors import ConfigError, RecordsError
from defect_detection.records.database import Database
from defect_detection.records.keys import SETTINGS_KEY, THIS_MACHINE, ApiKey, Role, find_key, has_keys
from defect_detection.serving.local_key import FILE, LocalKey, is_of_this_machine
from defect_detection.serving.peers import Proxies, address_of, why_not_local
from defect_detection.serving.routes import GROUPS, need_of

KEY_VARIABLE = "DEFECT_API_KEY"
RECENT_S = 2.0  # so long an answer of the database counts where every caller may
MOST_REMEMBERED = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request.

    name: of a key, `THIS_MACHINE`, or the address of a caller without a key; no key is named like an address.
    role: None without a key. products: that the key is bound to; none: it is good for all.
    """

    name: str
    role: Role | None
    products: tuple[str, ...] = ()


class Access:
    """What is asked of callers."""

    def __init__(self, config: Config, database: Database) -> None:
        key = config.serving.api_key
        self._key = key.get_secret_value() if key else None
        self._proxies = Proxies(config.serving.behind_proxy)
        self.opened = {route for group in config.serving.public for route in GROUPS[group]}
        self._shown = config.serving.public
        self._local = LocalKey(config.root)
        self._has_keys = _Remembered(lambda _: has_keys(database))
        self._found = _Remembered(lambda key: find_key(database, key))

    def need(self, method: str, rule: str) -> Role | None:
        """Return the role that a route needs; None: it is open to everybody."""
        return need_of(method, rule, self.opened)

    def shows(self, group: str, caller: Caller) -> bool:
        """Say whether what belongs to a group of ``serving.public`` may be shown to a caller."""
        return caller.role is not None or group in self._shown

    def require(self, request: Request, role: Role) -> Caller:
        """Return who calls; refuse who neither is on this machine nor sends a key with that role.

        Raises:
            Forbidden: there are no keys at all, or the role of the one that was sent is not enough.
            Unauthorized: there are keys, and the request carries none of them.
            RecordsError: only the database can tell, and it cannot be reached.
        """
        caller = self._known(request, self._found.now)
        if caller is None:
            reason, is_closed = self._why_not_local(request), self._key is not None or self._has_keys.now("")
            if reason is not None or is_closed:
                raise _refusal(reason, is_closed)
            return Caller(THIS_MACHINE, "admin")
        if role == "admin" and caller.role != "admin":
            raise Forbidden(
                f"The key '{caller.name}' has the role operator, but this request needs the role admin. Create such a key "
                "with `defect keys create NAME --role admin`."
            )
        return caller

    def identify(self, request: Request) -> Caller:
        """Return who calls, as far as that is known, where everybody may. Raises nothing, and seldom asks the database."""
        with suppress(Unauthorized):
            if known := self._known(request, lambda key: self._found.recent(key, None)):
                return known
        is_closed = self._key is not None or self._has_keys.recent("", True)
        if not is_closed and self._why_not_local(request) is None:
            return Caller(THIS_MACHINE, "admin")
        return Caller(address_of(request, self._proxies), None)

    def describe(self) -> str:
        """Return in one sentence what local callers may do."""
        try:
            is_closed = self._key is not None or self._has_keys.now("")
        except RecordsError as error:
            return f"the keys cannot be read, so every caller needs one: {error}"
        if is_closed or self._proxies:
            return (
                f"local callers need a key too: `defect page` opens the page, `curl -H @{FILE}` sends the key"
            )
        return (
            "no key exists yet: every user of this machine, and everyone who connects through a proxy or tunnel that ends "
            "on it, may change everything; `defect keys create NAME` prevents this"
        )

    def exchange(self, request: Request) -> str:
        """Return a key for the page in exchange for the code of a link, which was sent as a key.

        Raises:
            Unauthorized: the code is none, was used, or is too old.
        """
        code = _sent_key(request)
        try:
            key = None if why_not_local(request) else self._local.exchange(code)
        except ConfigError as error:
            raise _of_the_file() from error
        if key is None:
            raise _unauthorized(
                "This link was already used, has expired, or is from another machine: create another one with `defect "
                "page`."
            )
        return key

    def _why_not_local(self, request: Request) -> str | None:
        if self._proxies:
            return "may come through a proxy (serving.behind_proxy)"
        return why_not_local(request)

    def _known(self, request: Request, find: Callable[[str], ApiKey | None]) -> Caller | None:
        """Return whose key a request carries; `find` knows those that were made."""
        sent = _sent_key(request)
        if not sent:
            return None
        if self._key is not None and hmac.compare_digest(sent.encode(), self._key.encode()):
            return Caller(SETTINGS_KEY, "admin")
        if is_of_this_machine(sent):
            return self._of_this_machine(request, sent)
        found = find(sent)
        return Caller(found.name, found.role, found.products) if found else None

    def _of_this_machine(self, request: Request, sent: str) -> Caller | None:
        """Return this machine as the caller, if its key was sent from there: elsewhere that key is worth nothing."""
        if why_not_local(request) is not None:
            return None
        try:
            return Caller(THIS_MACHINE, "admin") if self._local.allows(sent) else None
        except ConfigError as error:
            raise _of_the_file() from error


def _refusal(reason: str | None, is_closed: bool) -> Forbidden | Unauthorized:
    if not is_closed:
        return Forbidden(
            f"This request {reason}, so it needs a key, and none exists yet. Create one with `defect keys create NAME`, or "
            f"set {KEY_VARIABLE} in the environment of the server (or serving.api_key in config.yaml) to a long random text "
            "and restart the server. Send the key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
        )
    if reason is None:
        return _unauthorized(
            "Keys exist, so requests from this machine need one too. The user who runs the server can send the header in "
            f"the file {FILE} beside config.yaml (`curl -H @{FILE}`), and open the page with `defect page`. Other users send "
            "a key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
        )
    return _unauthorized(
        f"This request {reason}, and has no valid key. Send a key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
    )


class _Remembered(Generic[T]):
    """Remembers what the database said, so that predictions neither ask it each time nor wait for it while it is lost."""

    def __init__(self, ask: Callable[[str], T]) -> None:
        self._ask = ask
        self._said: dict[str, T] = {}
        self._asked_at: dict[str, float] = {}  # also in vain
        self._asking = threading.Lock()

    def now(self, what: str) -> T:
        """Ask the database. While it is unreachable, its last answer counts.

        Raises:
            RecordsError: there is no earlier answer.
        """
        if len(self._asked_at) >= MOST_REMEMBERED:
            self._said, self._asked_at = {}, {}
        try:
            said = self._said[what] = self._ask(what)
        except RecordsError:
            if what not in self._said:
                raise
            return self._said[what]
        finally:
            self._asked_at[what] = time.monotonic()
        return said

    def recent(self, what: str, otherwise: T) -> T:
        """Return the answer of the last seconds, or `otherwise`. Only one thread at a time asks again. The others wait for it only if
        there is no earlier answer.
        """
        if self._is_recent(what) or not self._asking.acquire(blocking=what not in self._asked_at):
            return self._said.get(what, otherwise)
        try:
            return self._said.get(what, otherwise) if self._is_recent(what) else self.now(what)
        except RecordsError:
            return otherwise
        finally:
            self._asking.release()

    def _is_recent(self, what: str) -> bool:
        return time.monotonic() - self._asked_at.get(what, -RECENT_S) < RECENT_S


def _sent_key(request: Request) -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "")


def _of_the_file() -> Unauthorized:
    return _unauthorized(f"The local key is refused: `defect page` says what is wrong with the file {FILE}.")


def _unauthorized(detail: str) -> Unauthorized:
    return Unauthorized(detail, www_authenticate=WWWAuthenticate("bearer", {"realm": "defect-detection"}))
