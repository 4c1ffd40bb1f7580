"""Social profiles, as the platform API answers them (API tag "Socials").

The API page describes the fields in prose only, so that their names are guesses; a use case shows others.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .record import Id, Record

__all__ = ["SocialProfile"]


class SocialProfile(Record, frozen=True, kw_only=True):
    """A profile connected in the dashboard. Its ``repr`` shows the platform and whether it is connected.

    Attributes:
        platform: such as ``facebook``.
        id: ``profileId`` (a use case); ``""`` if the answer named none.
        username: its user name there.
        name: its name there.
        picture_url: its picture. Nothing vouches for the URL.
        connected_at: as given.
        disconnected: whether it must be connected again.
        page_count: how many pages are linked to it.
        pages: those pages, as given; only where a single profile is read.
        status: ``CONNECTED`` or ``TOKEN_EXPIRED`` (a use case).
        token_expires_at: as given (a use case).
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {
        "id": ("profileId",),
        "name": ("profileName",),
        "picture_url": ("profilePictureUrl", "profilePicture", "picture"),
        "connected_at": ("connectionDate",),
        "page_count": ("linkedPagesCount", "linkedPageCount", "pagesCount"),
        "pages": ("linkedPages",),
    }
    shown: ClassVar[tuple[str, ...]] = ("platform", "status", "disconnected")

    platform: str | None = None
    id: Id = ""
    username: str | None = None
    name: str | None = None
    picture_url: str | None = None
    connected_at: str | None = None
    disconnected: bool | None = None
    page_count: int | None = None
    pages: tuple[Any, ...] = ()
    status: str | None = None
    token_expires_at: str | None = None
