"""``client.socials``: connected social profiles (``/v1/partner-gateway/socials``)."""

from __future__ import annotations

from ..models.socials import SocialProfile
from ..protocol.operations.account import GET_SOCIAL, LIST_SOCIALS
from .api import Api
from .listing import Listing

__all__ = ["Socials"]


class Socials:
    """Social profiles. They are connected in the dashboard; the API only reads them."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, *, limit: int | None = None) -> Listing[SocialProfile]:
        """List the profiles: ``GET /v1/partner-gateway/socials`` (documented; names and envelope are not).

        Args:
            limit: at most so many.

        Raises:
            ConfigurationError: `limit` does not fit. Iterating raises as a `Listing` does, and ``BadGatewayError``.
        """
        return self._api.list(LIST_SOCIALS, SocialProfile, limit=limit)

    async def get(self, platform: str) -> SocialProfile:
        """Return a profile with its linked pages: ``GET /v1/partner-gateway/socials/{platform}``.

        No page of its own could be found: the path is referred to, the answer is a guess.

        Args:
            platform: ``facebook``, ``instagram``, ``linkedin``, ``google`` or ``tiktok`` (documented), or another.

        Raises:
            NotFoundError: none is connected. BadGatewayError: the system behind is down.
        """
        return await self._api.get(GET_SOCIAL, SocialProfile, path={"platform": platform})
