"""NATS server addresses and credentials."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from flow_client._core.secret import Secret
from flow_client.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ssl import SSLContext

_SCHEMES = ("nats", "tls")


@dataclass(frozen=True)
class Servers:
    """The servers of a cluster, and the credentials for all of them.

    Attributes:
        urls: the servers' addresses, without credentials.
        user: the user name from a URL.
        password: the password from a URL.
        token: the token from a URL.
        credentials_file: the path of a file with a user's JWT and seed.
        seed_file: the path of a file with an nkey's seed.
        tls: the certificate files, None if the system's certificates are enough.
    """

    urls: tuple[str, ...]
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    credentials_file: str | None = None
    seed_file: str | None = None
    tls: TlsFiles | None = None

    def __str__(self) -> str:
        return ",".join(self.urls)

    @property
    def require_tls(self) -> bool:
        """Whether all servers must speak TLS: one `tls://` URL is enough, since all get the same credentials."""
        return self.tls is not None or any(url.startswith("tls://") for url in self.urls)

    def login(self) -> dict[str, Any]:
        """Return the credentials as arguments of nats-py's `connect`.

        Raises:
            ConfigurationError: a certificate file is not valid.
        """
        return {
            "user": self.user,
            "password": self.password,
            "token": self.token,
            "user_credentials": self.credentials_file,
            "nkeys_seed": self.seed_file,
            "tls": None if self.tls is None else self.tls.context(),
        }


@dataclass(frozen=True)
class TlsFiles:
    """Paths of certificate files. `authorities` replaces the system's; `certificate` and `key` are the client's own."""

    authorities: str | None
    certificate: str | None
    key: str | None

    def context(self) -> SSLContext:
        """Return the context for a connection; raise `ConfigurationError` if a file is not valid."""
        import ssl  # noqa: PLC0415 - gevent has to patch it before it is imported

        try:
            context = ssl.create_default_context(cafile=self.authorities)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"a file of NATS_CA, NATS_CERT or NATS_KEY cannot be used: {error}") from error
        return context


def resolve_servers(nats_url: str | None, environ: Mapping[str, str] | None = None) -> Servers:
    """Return the servers in `nats_url`, or else in the variable `NATS_URL`, separated by commas.

    The first credentials found in a URL are used for all servers, including those that a cluster announces later.
    `NATS_CREDS` and `NATS_NKEY_SEED` name files to use in their place; `NATS_CA`, `NATS_CERT` and `NATS_KEY` are for
    TLS. With `NATS_CA`, `NATS_CERT` or one `tls://` URL, all servers must speak TLS.

    Raises:
        ConfigurationError: the URL is missing or not valid, or a file does not exist. The message does not repeat the
            URL, which may contain a password.
    """
    env = os.environ if environ is None else environ
    value = nats_url or env.get("NATS_URL")
    if not value:
        raise ConfigurationError("nats_url is missing: pass nats_url=… or set NATS_URL")
    text = value.reveal() if isinstance(value, Secret) else value
    parts = [_split(url) for url in text.split(",") if url.strip()]
    credentials = next((part for part in parts if part and part.username), None)
    urls = tuple(_address(part) for part in parts if part)
    if not urls or len(urls) < len(parts):
        raise ConfigurationError(
            "nats_url is not valid: it must look like nats://nats.example.com:4222, several separated by commas "
            "(argument nats_url, variable NATS_URL)"
        )
    return Servers(urls, **_login(credentials), **_key_files(env), tls=_tls_files(env))


def _key_files(env: Mapping[str, str]) -> dict[str, str | None]:
    files = {"credentials_file": _file(env, "NATS_CREDS"), "seed_file": _file(env, "NATS_NKEY_SEED")}
    if all(files.values()):
        raise ConfigurationError("NATS_CREDS and NATS_NKEY_SEED are both set; set only one of them")
    if any(files.values()) and find_spec("nkeys") is None:
        raise ConfigurationError("NATS_CREDS and NATS_NKEY_SEED need nkeys: pip install 'flow-client[nkeys]'")
    return files


def _tls_files(env: Mapping[str, str]) -> TlsFiles | None:
    files = TlsFiles(_file(env, "NATS_CA"), _file(env, "NATS_CERT"), _file(env, "NATS_KEY"))
    if files.key is not None and files.certificate is None:
        raise ConfigurationError("NATS_KEY is set but NATS_CERT is not; set NATS_CERT to the certificate of that key")
    if not files.authorities and not files.certificate:
        return None
    files.context()  # so that an error is raised now, not by the first connection
    return files


def _file(env: Mapping[str, str], variable: str) -> str | None:
    path = env.get(variable)
    if path and not os.path.isfile(path):  # noqa: PTH113 - it never raises
        given = "the secret itself, which is not shown" if holds_secret(path) else repr(path)
        raise ConfigurationError(f"{variable} is {given}; it must be the path of a file")
    return path or None


def holds_secret(path: str) -> bool:
    """Return whether `path`, which should name a file, is what should be in it: a seed, or the lines of a key."""
    return "-----BEGIN" in path or re.fullmatch(r"\s*S[A-Z2-7]{57}\s*", path) is not None


def _split(url: str) -> SplitResult | None:
    """Return the parts of `url`, None if it is not valid."""
    url = url.strip()
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        usable = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def _address(parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or 4222}"


def _login(parts: SplitResult | None) -> dict[str, str]:
    if parts is None or parts.username is None:
        return {}
    if parts.password is None:
        return {"token": unquote(parts.username)}
    return {"user": unquote(parts.username), "password": unquote(parts.password)}
