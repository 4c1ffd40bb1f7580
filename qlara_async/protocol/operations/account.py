"""Subscription, quota and credit, and social profiles (API tags "Subscription" and "Socials").

Their prefix is the other way round than everywhere else: ``/api/v1/partner-gateway``.
"""

from __future__ import annotations

from ...models.account import ContactQuota, Credit, Subscription
from ...models.socials import SocialProfile
from .operation import Operation

__all__ = ["GET_CONTACT_QUOTA", "GET_CREDIT", "GET_SOCIAL", "GET_SUBSCRIPTION", "LIST_SOCIALS", "OPERATIONS"]

_PREFIX = "/v1/partner-gateway"

GET_SUBSCRIPTION = Operation(
    id="subscription.get",
    method="GET",
    path=f"{_PREFIX}/subscription",
    summary="Read the active subscription",
    source="qlara/it/api/get-active-subscription",
    answer=Subscription,
    errors=(404, 502),
    guess="the fields are described, and not all of them named",
)
GET_CONTACT_QUOTA = Operation(
    id="subscription.contacts",
    method="GET",
    path=f"{_PREFIX}/subscription/contacts",
    summary="Read how many contacts the plan allows",
    source="qlara/api/subscription",
    answer=ContactQuota,
    errors=(502,),
    guess="the path is a use case's",
)
GET_CREDIT = Operation(
    id="subscription.credit",
    method="GET",
    path=f"{_PREFIX}/subscription/credit",
    summary="Read the credit",
    source="qlara/api/get-credit",
    answer=Credit,
    errors=(502,),
)
LIST_SOCIALS = Operation(
    id="socials.list",
    method="GET",
    path=f"{_PREFIX}/socials",
    summary="List the connected social profiles",
    source="qlara/api/list-socials",
    answer=list[SocialProfile],
    errors=(502,),
    guess="the envelope, and the names of the fields, are not shown",
)
GET_SOCIAL = Operation(
    id="socials.get",
    method="GET",
    path=f"{_PREFIX}/socials/{{platform}}",
    summary="Read a social profile with its linked pages",
    source="qlara/api/list-socials",
    answer=SocialProfile,
    errors=(404, 502),
    guess="it is only referred to: the answer and 404 are not shown",
)

OPERATIONS = (GET_SUBSCRIPTION, GET_CONTACT_QUOTA, GET_CREDIT, LIST_SOCIALS, GET_SOCIAL)
