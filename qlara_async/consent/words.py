"""What customers write to stop messages, and to have them again. The lists are ours: the API documents none.

A word counts only if it is the whole message: case, accents, punctuation and emoji around it aside. Words that answer
questions too ("no", "yes", "annulla") are left out, but for the English CANCEL, END and QUIT, which carriers demand.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

__all__ = ["START_WORDS", "STOP_WORDS", "Wish", "Words"]

Wish = Literal["stop", "start"]

STOP_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "en": (
            *("stop", "stop all", "stopall", "stop sms", "unsubscribe", "unsubscribe me", "cancel", "end", "quit"),
            *("opt out", "optout", "revoke", "remove me"),
        ),
        "it": (
            *("stop", "basta", "disiscrivi", "disiscrivimi", "disiscriviti", "disiscrizione", "cancellami"),
            *("cancella iscrizione", "annulla iscrizione", "rimuovimi", "revoca consenso", "non voglio più messaggi"),
        ),
        "es": (
            *("alto", "baja", "parar", "dar de baja", "darme de baja", "darse de baja", "desuscribir", "desuscribirme"),
            *("cancelar suscripción", "no más", "no más mensajes"),
        ),
        "fr": (
            *("arrêt", "arrêter", "arrêtez", "désabonner", "désabonnement", "me désabonner", "désinscrire"),
            *("désinscription", "me désinscrire", "stop pub"),
        ),
        "de": ("stopp", "abmelden", "abmeldung", "abbestellen", "austragen", "aufhören", "keine nachrichten mehr"),
        "pt": (
            "parar",
            "pare",
            "sair",
            "descadastrar",
            "cancelar inscrição",
            "cancelar subscrição",
            "remover",
            "não mais",
        ),
    }
)
"""By language; "stop" is understood in all."""

START_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "en": ("start", "unstop", "subscribe", "resubscribe", "opt in", "optin", "resume"),
        "it": ("inizia", "riprendi", "riattiva", "iscrivimi", "iscriviti"),
        "es": ("alta", "dar de alta", "darme de alta", "reanudar", "suscribir", "suscribirme"),
        "fr": ("reprendre", "abonner", "me réabonner", "m'abonner", "réabonner"),
        "de": ("anmelden", "anmeldung", "fortsetzen", "abonnieren"),
        "pt": ("voltar", "retomar", "cadastrar", "inscrever", "subscrever"),
    }
)
"""By language; "start" is understood in all."""


class Words:
    """Tells what a message wishes.

    Args:
        stop: the words that stop; those of all languages if not given.
        start: the words that lift a stop, likewise. A word in both stops.
    """

    def __init__(self, stop: Iterable[str] | None = None, start: Iterable[str] | None = None) -> None:
        self._stop = _plain_set(_all(STOP_WORDS) if stop is None else stop)
        self._start = _plain_set(_all(START_WORDS) if start is None else start)

    def wish(self, text: str) -> Wish | None:
        """Say what a whole message asks for, if it is one of the words."""
        if len(text) > 64:
            return None
        plain = _plain(text)
        if plain in self._stop:
            return "stop"
        return "start" if plain in self._start else None


def _all(by_language: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [word for words in by_language.values() for word in words]


def _plain_set(words: Iterable[str]) -> frozenset[str]:
    return frozenset(map(_plain, words)) - {""}


def _plain(text: str) -> str:
    """Reduce to letters and digits, without case and accents, words apart by one blank."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    letters = "".join(one if one.isalnum() else " " for one in decomposed if not unicodedata.combining(one))
    return " ".join(letters.split())
