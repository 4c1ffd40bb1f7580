"""``python -m qlara_async.sandbox``: the gateway in a terminal, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from ..errors import ConfigurationError
from ..loggers import sandbox_logger
from ..models.options import RateLimit
from .callbacks import CallbackPolicy
from .faults import Fault, Faults
from .gateway import Life
from .server import Sandbox

_RATES = {"production": RateLimit.PRODUCTION, "trial": RateLimit.TRIAL, "off": None}

_BANNER = """\
Qlara sandbox on {url} with key {key}

    QlaraClient(api_key="{key}", base_url="{url}")

    curl -H 'X-Api-Key: {key}' -H 'Content-Type: application/json' {url}/message-server/sms/send \\
         -d '{{"destination": "+393201234567", "sender": "MyBrand", "body": "Ciao"}}'

{callbacks}
Ctrl-C stops it.
"""

_REGISTERED = "Callbacks are posted to the URL given."
_UNREGISTERED = "No callback URL is registered: callbacks are dropped until one is (--callback-url, or by request)."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sandbox; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        sandbox = _sandbox(options)
    except (ConfigurationError, msgspec.ValidationError) as error:
        parser.error(str(error))
    _log_to_stderr(quiet=options.quiet)
    try:
        asyncio.run(_run(sandbox, options.callback_url))
    except OSError as error:
        sys.stderr.write(f"cannot listen on port {options.port}: {error.strerror}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m qlara_async.sandbox", description="The Qlara gateway, locally.")
    parser.add_argument("--port", type=_port, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument(
        "--api-key", type=_api_key, default="sandbox-key", help="the key to take (default: %(default)s)"
    )
    parser.add_argument(
        "--rate", type=_rate, default=RateLimit.PRODUCTION, help="production (default), trial, off, or N a second"
    )
    parser.add_argument("--callback-url", type=_callback_url, help="register this URL at once")
    parser.add_argument("--callback-shape", default="channel", choices=["channel", "unified", "legacy", "mix"])
    parser.add_argument(
        "--callback", **_pairs("duplicate=0.1", "reorder, lost, attempts, backoff, timeout, concurrency ...")
    )
    parser.add_argument("--life", **_pairs("final=2", "received, read (seconds); errors, expiries, reads (shares)"))
    parser.add_argument(
        "--fault", **_pairs("drop_after=0.05", f"{', '.join(Fault)} (shares); delay, late, retry_after (seconds)")
    )
    parser.add_argument("--seed", type=int, default=0, help="of all chance (default: %(default)s)")
    parser.add_argument("--keep", type=int, help="remember this many messages only")
    parser.add_argument("--quiet", action="store_true", help="no line for each request")
    return parser


def _pairs(example: str, names: str) -> dict[str, Any]:
    return {
        "action": "append",
        "default": [],
        "type": _pair,
        "metavar": "NAME=NUMBER",
        "help": f"such as {example}; {names}; may be repeated",
    }


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError("give a port from 1 to 65535, or 0 for a free one")
    return int(text)


def _api_key(text: str) -> str:
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError("give printable ASCII without spaces, as an HTTP header carries it")
    return text


def _callback_url(text: str) -> str:
    try:
        url = urlsplit(text)
        usable = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError("give an http:// or https:// URL with a host")
    return text


def _pair(text: str) -> tuple[str, float]:
    name, _, digits = text.partition("=")
    try:
        number = float(digits)
    except ValueError as error:
        raise argparse.ArgumentTypeError("give NAME=NUMBER") from error
    return name.replace("-", "_"), int(number) if number.is_integer() else number


def _rate(text: str) -> RateLimit | None:
    if text in _RATES:
        return _RATES[text]
    try:
        per_second = int(text)
        return RateLimit(per_second=per_second, per_minute=60 * per_second)
    except ValueError as error:
        raise argparse.ArgumentTypeError("give production, trial, off, or requests a second") from error


def _sandbox(options: argparse.Namespace) -> Sandbox:
    return Sandbox(
        api_key=options.api_key,
        port=options.port,
        rate_limit=options.rate,
        life=_convert(options.life, Life),
        callbacks=_convert([*options.callback, ("shape", options.callback_shape)], CallbackPolicy),
        faults=_convert(options.fault, Faults),
        seed=options.seed,
        keep=options.keep,
    )


T = TypeVar("T", bound=msgspec.Struct)


def _convert(pairs: Sequence[tuple[str, Any]], kind: type[T]) -> T:
    known = {field.name for field in msgspec.structs.fields(kind)}
    unknown = [name for name, _ in pairs if name not in known]
    if unknown:
        raise ConfigurationError(f"{kind.__name__} has no {unknown[0]!r}; it has {', '.join(sorted(known))}")
    return msgspec.convert(dict(pairs), kind)


def _log_to_stderr(*, quiet: bool) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    sandbox_logger.addHandler(handler)
    sandbox_logger.setLevel(logging.WARNING if quiet else logging.INFO)


async def _run(sandbox: Sandbox, callback_url: str | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    async with sandbox:
        if callback_url is not None:
            sandbox.register(callback_url)
        callbacks = _UNREGISTERED if callback_url is None else _REGISTERED
        sys.stdout.write(_BANNER.format(url=sandbox.url, key=sandbox.api_key, callbacks=callbacks))
        sys.stdout.flush()
        await stop.wait()
    sys.stdout.write(f"stopped; {_summary(sandbox)}\n")


def _summary(sandbox: Sandbox) -> str:
    counts = sandbox.callbacks
    callbacks = {"without a URL": counts.unregistered, "given up": counts.abandoned}
    told = [f"{count:,} callbacks {what}" for what, count in callbacks.items() if count]
    return ", ".join([f"{sandbox.accepted.total():,} messages accepted", *told])


if __name__ == "__main__":
    sys.exit(main())
