"""What a message must have to fit a template that is known: its values, against the template as last seen."""

from __future__ import annotations

from collections.abc import Collection

from ..errors import InvalidMessageError
from ..models.variables import TRACKED_LINK, Variables

__all__ = ["check_values", "still_known"]


def check_values(variables: Variables, given: Collection[str], *, used_elsewhere: Collection[str] | None) -> None:
    """Require a value for each variable of a template, and a use for each value.

    Which placeholder stands for Meta's ``{{1}}`` no page says: where a template is known by such numbers only, there
    must be at least as many values as it has numbers. A tracked link may be one of a button's, which texts do not show.

    Args:
        variables: of the template.
        given: the names of the message's placeholders.
        used_elsewhere: names that the message's other texts use; ``None`` if that cannot be told.

    Raises:
        InvalidMessageError: a value is missing, or one has no use.
    """
    names = set(given)
    for name in sorted(variables.names - names):
        raise InvalidMessageError("is a variable of the template and has no value", field=f"placeholders.{name}")
    others = names - variables.names
    if len(others) < variables.numbered:
        raise InvalidMessageError(
            f"has fewer values than the template has variables ({variables.numbered})", field="placeholders"
        )
    if variables.numbered or used_elsewhere is None:
        return
    for name in sorted(others.difference(used_elsewhere)):
        if not TRACKED_LINK.fullmatch(name):
            raise InvalidMessageError("has a value, and the template does not use it", field=f"placeholders.{name}")


def still_known(before: Variables | None, now: Variables | None) -> Variables | None:
    """Return what is known of a template's variables after another look at it.

    A list shows numbers (use case) where the names were known before: those are kept, if there are enough of them.
    """
    if now is None:
        return before
    if before is not None and now.numbered and not now.names and len(before.names) >= now.numbered:
        return before
    return now
