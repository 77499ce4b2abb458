"""Who may use the service: random secrets, shown once, kept as their SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, get_args

from curator.errors import CannotWrite, NameTaken, UnknownName, UsageError
from curator.state.database import Database
from curator.state.names import checked, plain

Role = Literal["reader", "reviewer", "admin"]
ROLES: tuple[str, ...] = get_args(Role)
SECRET = re.compile(r"cur_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
LONGEST_S = 100 * 365 * 24 * 3600.0
USED_EVERY_S = 60.0  # the time of the last use is written at most so often
_NOBODY = hashlib.sha256(b"nobody").hexdigest()


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret."""

    id: str  # the public part of the secret
    name: str
    role: str
    created: float  # seconds since 1970
    expires: float | None  # none: never
    revoked: float | None
    used: float | None  # to the minute

    @property
    def is_alive(self) -> bool:
        """Neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or self.expires > time.time())

    @property
    def seconds_left(self) -> int | None:
        """Until it expires; none: never."""
        return None if self.expires is None else max(0, int(self.expires - time.time()))

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"is_alive": self.is_alive}


class Tokens:
    """The tokens of a served root."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, role: Role, expires_s: float | None = None) -> tuple[Token, str]:
        """Make a token; the secret is returned here and never again.

        Raises:
            BadName, UsageError: the name is taken, the role unknown, the time not positive.
        """
        name = checked(name, "token's name")
        if role not in ROLES:
            raise UsageError(f"role {role!r}; expected one of {', '.join(ROLES)}")
        if expires_s is not None and not 0 < expires_s <= LONGEST_S:
            raise UsageError(f"a token that ends in {expires_s:g} s; expected a time above 0, at most {LONGEST_S:g}")
        number, now = secrets.token_hex(6), time.time()
        secret = f"cur_{number}_{secrets.token_urlsafe(32)}"
        token = Token(number, name, role, now, None if expires_s is None else now + expires_s, None, None)
        with self._database.write() as connection:
            taken = connection.execute(
                "SELECT expires FROM tokens WHERE name = ? AND revoked IS NULL", (name,)
            ).fetchall()
            if any(expires is None or expires > now for (expires,) in taken):
                raise NameTaken(f"there is a live token {name!r} already; revoke it first, or take another name")
            connection.execute(
                "INSERT INTO tokens (id, name, role, hash, created, expires) VALUES (?, ?, ?, ?, ?, ?)",
                (number, name, role, _hash(secret), now, token.expires),
            )
        return token, secret

    def verify(self, secret: str) -> Token | None:
        """The live token of this secret, or None; one comparison in constant time whatever was sent."""
        match = SECRET.fullmatch(secret)
        lines = self._database.read(
            "SELECT id, name, role, created, expires, revoked, used, hash FROM tokens WHERE id = ?",
            (match[1] if match else "",),
        )
        expected = lines[0][7] if lines else _NOBODY
        is_right = hmac.compare_digest(_hash(secret), expected)
        if not lines or not is_right:
            return None
        token = Token(*lines[0][:7])
        if not token.is_alive:
            return None
        if token.used is None or time.time() - token.used > USED_EVERY_S:
            with suppress(CannotWrite), self._database.write() as connection:  # a full disk does not lock anybody out
                connection.execute("UPDATE tokens SET used = ? WHERE id = ?", (time.time(), token.id))
        return token

    def revoke(self, name: str) -> Token:
        """End the live token of that name, or id, at once.

        Raises:
            UnknownName: there is none.
        """
        name = plain(name)
        with self._database.write() as connection:
            cursor = connection.execute(
                "UPDATE tokens SET revoked = ? WHERE (name = ? OR id = ?) AND revoked IS NULL",
                (time.time(), name, name),
            )
            if cursor.rowcount == 0:
                raise UnknownName(f"no token {name!r} to revoke; `curator token list` lists them")
        return next(token for token in reversed(self.list()) if name in (token.name, token.id))

    def list(self) -> list[Token]:
        """Every token ever made, oldest first."""
        lines = self._database.read(
            "SELECT id, name, role, created, expires, revoked, used FROM tokens ORDER BY created, id"
        )
        return [Token(*line) for line in lines]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
