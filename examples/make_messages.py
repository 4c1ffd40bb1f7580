"""Writes ``messages.csv``, the file that the examples send: ``python -m examples.make_messages``.

2,000 messages of an imaginary shop, the same at every run. The numbers cannot exist: no Italian number begins with 000.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from random import Random

CSV = Path(__file__).with_name("messages.csv")
ROWS = 2_000

COLUMNS = (
    "channel",
    "destination",
    "sender",
    "agent_id",
    "phone_number_id",
    "body",
    "template.name",
    "template.language",
    "placeholders.nome",
    "placeholders.codice",
    "placeholders.data",
    "fallback_rcs",
    "fallback_sms.sender",
    "fallback_sms.text",
    "campaign_id",
    "scheduled_date",
)

Row = dict[str, str]

NAMES = ("Giulia", "Niccolò", "Zoë", "Matteo", "Désirée", "Salvatore", "Chiara", "Anna Maria", "Joël", "Beatrice")
DAYS = ("lunedì 30 novembre", "martedì 1 dicembre", "mercoledì 2 dicembre", "giovedì 3 dicembre", "sabato 5 dicembre")

SMS: tuple[Row, ...] = (
    {"body": "{codice} è il tuo codice di verifica ACME. Scade tra 10 minuti, non comunicarlo a nessuno."},
    {"body": "Ciao {nome}, ti ricordiamo l'appuntamento di {data}. Per disdire rispondi NO."},
    {"body": "Ordine {codice} spedito: consegna prevista {data}, tra le 9 e le 13."},
    {"body": 'Gentile {nome}, il tuo reso "{codice}" è stato accettato. Il rimborso arriverà entro 5 giorni.'},
    {
        "body": "🎄 {nome}, solo fino a {data}: -30% su tutto, spedizione gratuita! Info in negozio o su acme.example",
        "campaign_id": "natale-2026",
        "scheduled_date": "2026-11-30T09:00:00+01:00",
    },
    {
        "body": "ACME Ottica: i tuoi occhiali sono pronti.\nOrari: lun-ven 9-19, sab 9-13.\nA presto!",
        "campaign_id": "ritiri",
    },
    {"body": "Bolletta {codice}: € 48,90, scadenza {data}. Paga online, in posta o dal tabaccaio.", "sender": "00000"},
)

RCS: tuple[Row, ...] = (
    {"body": "Buongiorno {nome}! 👋 La tua visita è confermata per {data}, alle 10:30."},
    {
        "body": "Il tuo pacco {codice} è in consegna oggi 📦, tra le 14 e le 18.",
        "fallback_sms.sender": "ACME",
        "fallback_sms.text": "Pacco {codice} in consegna oggi, tra le 14 e le 18.",
    },
    {
        "body": "{nome}, il Black Friday è qui:\n• scarpe -40%\n• borse -25%\n• tutto il resto -15%\nTi aspettiamo!",
        "campaign_id": "black-friday-2026",
        "scheduled_date": "2026-11-27T08:30:00+01:00",
    },
    {"body": "Com'è andata con noi, {nome}? Rispondi con un voto da 1 a 5 ⭐", "campaign_id": "sondaggio"},
)

WHATSAPP: tuple[Row, ...] = (
    {"template.name": "codice_accesso", "template.language": "it", "placeholders.codice": "{codice}"},
    {
        "template.name": "promemoria_visita",
        "template.language": "it",
        "placeholders.nome": "{nome}",
        "placeholders.data": "{data}",
        "fallback_rcs": "true",
    },
    {
        "template.name": "ordine_spedito",
        "template.language": "it",
        "placeholders.nome": "{nome}",
        "placeholders.codice": "{codice}",
        "fallback_sms.sender": "ACME",
        "fallback_sms.text": "{nome}, il tuo ordine {codice} è stato spedito.",
    },
    {"template.name": "winter_sale", "template.language": "en_US", "campaign_id": "natale-2026"},
    {"body": "Certo {nome}, la taglia M è disponibile 😊 Te la mettiamo da parte fino a {data}?"},
    {"body": 'Abbiamo ricevuto la foto, grazie! Pratica "{codice}": ti rispondiamo entro domani, promesso 🤝'},
)

CHANNELS: Mapping[str, tuple[Row, tuple[Row, ...]]] = {
    "SMS": ({"sender": "ACME"}, SMS),
    "RCS": ({"agent_id": "41"}, RCS),
    "WHATSAPP": ({"phone_number_id": "7"}, WHATSAPP),
}
SHARES = (50, 25, 25)

INVALID: Mapping[int, Row] = {
    87: {"channel": "SMS", "destination": "0000000087", "sender": "ACME", "body": "Il tuo ordine è pronto."},
    203: {"channel": "SMS", "sender": "ACME Ottica Centro", "body": "I tuoi occhiali sono pronti."},
    351: {"channel": "SMS", "sender": "ACME", "campaign_id": "ritiri"},
    498: {"channel": "SMS", "sender": "ACME", "body": "Ciao {nome}, ti aspettiamo domani alle 10."},
    642: {"channel": "SMS", "sender": "ACME", "body": "Ti aspettiamo domani alle 10.", "placeholders.nome": "Giulia"},
    777: {"channel": "PICCIONE", "body": "Il tuo pacco è in volo 🐦"},
    909: {"channel": "WHATSAPP", "phone_number_id": "7", "body": "Va bene alle 18?", "fallback_rcs": "forse"},
    1066: {"channel": "SMS", "sender": "ACME", "body": "Saldi!", "scheduled_date": "2026-12-01T09:00:00"},
    1203: {"channel": "SMS", "sender": "ACME", "body": "Saldi!", "scheduled_date": "01/12/2026"},
    1348: {"channel": "RCS", "agent_id": "41", "body": "Auguri da tutti noi! 🎉🥂 " * 43},
    1511: {"channel": "WHATSAPP", "phone_number_id": "7", "body": "Ciao!", "template.name": "winter_sale"},
    1699: {"channel": "RCS", "agent_id": "acme-bot", "body": "Il tuo tavolo è prenotato, a più tardi!"},
    1850: {"channel": "WHATSAPP", "phone_number_id": "7", "body": "Ciao!", "fallback_sms.sender": "ACME"},
}
# A comma that nobody quoted, in the row of this index: more cells than columns.
UNQUOTED = 1936, "SMS,+390000001936,ACME,,,Ciao, a domani,,,,,,,,,,,"


def rows(random: Random) -> Iterator[Row]:
    """Yield every row but the one that a CSV writer would not write."""
    for index in range(ROWS):
        row = dict(INVALID[index]) if index in INVALID else valid_row(random)
        yield {"destination": f"+39000{index:07}"} | row


def valid_row(random: Random) -> Row:
    """Draw a channel and one of its texts, and fill in what the text uses."""
    channel = random.choices(list(CHANNELS), SHARES)[0]
    common, texts = CHANNELS[channel]
    row = {"channel": channel} | common | random.choice(texts)
    texts_of_row = " ".join(row.values())
    values = {
        "nome": random.choice(NAMES),
        "codice": f"{random.randrange(10**6):06}",
        "data": random.choice(DAYS),
    }
    return row | {f"placeholders.{name}": value for name, value in values.items() if f"{{{name}}}" in texts_of_row}


def messages_csv() -> str:
    """Return the whole file."""
    file = StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for index, row in enumerate(rows(Random(2026))):
        if index == UNQUOTED[0]:
            file.write(UNQUOTED[1] + "\n")
        else:
            writer.writerow(row)
    return file.getvalue()


if __name__ == "__main__":
    CSV.write_bytes(messages_csv().encode())
