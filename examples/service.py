"""A service that sends one-time passwords and hears what customers write: ``python -m examples.service [PORT]``.

Try it: ``curl --json '{"destination": "+390000000001"}' http://127.0.0.1:8080/otp``. It brings a sandbox of its own.

To run it against an account, set ``QLARA_API_KEY``; ``QLARA_PUBLIC_URL``, the HTTPS URL at which the gateway reaches
this service; and ``QLARA_CALLBACK_TOKEN``, the secret part of the callback URL, so that a restart does not change it.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import AsyncIterator

import msgspec
from aiohttp import web

from examples.gateway import open_client
from qlara_async import QlaraClient, RetryPolicy, Sms
from qlara_async.errors import DeliveryUnknownError, InvalidMessageError, QlaraError
from qlara_async.webhooks import Context, Delivery, Inbound, MemoryInbox, Router, UrlToken, WebhookReceiver

QLARA = web.AppKey("qlara", QlaraClient)
OPTED_OUT = web.AppKey("opted_out", set[str])

callbacks = Router()
routes = web.RouteTableDef()

# Somebody waits for the password: better to say within seconds that it was not sent.
IMPATIENT = RetryPolicy(max_attempts=3, max_wait=5, max_elapsed=10)


class OtpRequest(msgspec.Struct):
    """The body of a request for a password."""

    destination: str


@routes.post("/otp")
async def send_otp(request: web.Request) -> web.Response:
    try:
        destination = msgspec.json.decode(await request.read(), type=OtpRequest).destination
    except (msgspec.DecodeError, UnicodeDecodeError):
        return web.json_response({"error": 'the body must be JSON: {"destination": "+39…"}'}, status=400)
    if destination in request.app[OPTED_OUT]:
        return web.json_response({"error": "this customer wants no messages"}, status=409)
    code = f"{secrets.randbelow(10**6):06}"
    qlara = request.app[QLARA].with_options(retry=IMPATIENT)
    try:
        message = Sms(
            destination=destination, sender="ACME", body="{code} è il tuo codice", placeholders={"code": code}
        )
        receipt = await qlara.send(message)
    except InvalidMessageError as error:
        return web.json_response({"error": str(error)}, status=422)
    except DeliveryUnknownError as error:
        return web.json_response({"message_id": error.message_id, "state": "unknown"}, status=202)
    except QlaraError as error:
        return web.json_response({"error": str(error)}, status=502)
    return web.json_response({"message_id": receipt.message_id, "state": "accepted"}, status=202)


@callbacks.on_delivery()
async def delivered(event: Delivery) -> None:
    print(f"{event.message_id} is {event.status}", flush=True)


@callbacks.on_inbound(lambda event: event.text.strip().upper() == "STOP")
async def opt_out(event: Inbound, ctx: Context) -> None:
    if event.source is not None:
        ctx.app[OPTED_OUT].add(event.source)
        print("A customer opted out.", flush=True)


@callbacks.on_inbound()
async def answer(event: Inbound, ctx: Context) -> None:
    if event.source is not None:
        await ctx.app[QLARA].sms.send(destination=event.source, sender="ACME", body="Grazie! Ti rispondiamo presto.")


def make_app(port: int) -> web.Application:
    public_url = os.environ.get("QLARA_PUBLIC_URL")
    if public_url is None:
        if "QLARA_API_KEY" in os.environ:
            sys.exit("Set QLARA_PUBLIC_URL: the gateway cannot reach this machine's loopback.")
        public_url = f"http://127.0.0.1:{port}"
    token = os.environ.get("QLARA_CALLBACK_TOKEN") or UrlToken.generate()
    receiver = WebhookReceiver(auth=UrlToken(token), inbox=MemoryInbox(allow_loss=True))
    receiver.include(callbacks)

    async def with_qlara(app: web.Application) -> AsyncIterator[None]:
        async with open_client() as qlara:
            app[QLARA] = qlara
            await qlara.webhooks.register(f"{public_url}/qlara/{token}")
            yield

    app = web.Application()
    app[OPTED_OUT] = set()
    app.add_routes(routes)
    app.add_subapp("/qlara", receiver.app(app))
    app.cleanup_ctx.append(with_qlara)
    return app


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    web.run_app(make_app(port), host="127.0.0.1", port=port)
