"""Makes orders.csv: 5,500 order notes with a due date written in many ways, and that date in ISO form.

The notes are made up by this script, from a fixed seed; no customer wrote them. Of each note's date, reference number,
quantity, goods and wording only the date matters, so a model has to find it among other numbers. 500 rows are marked
`test`; none of their notes is among those marked `train`.

    python examples/data/make_orders.py
"""

from __future__ import annotations

import csv
import random
from datetime import date, timedelta
from pathlib import Path

TRAIN_ROWS, TEST_ROWS = 5000, 500

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
GOODS = ("steel bolts", "oak boards", "paper rolls", "copper wire", "glass panes", "rubber seals", "LED lamps", "paint")
UNITS = ("boxes", "pallets", "crates", "units")
NOTES = (
    "Please deliver {quantity} {unit} of {goods} by {date}.",
    "{quantity} {unit} {goods}, needed on {date}, ref {reference}",
    "PO {reference}: {goods} x {quantity}, due {date}",
    "Customer called about order {reference}. New date is {date}.",
    "{goods} ({quantity} {unit}) must ship no later than {date}",
    "Due {date} - {quantity} {unit} of {goods}",
    "Order {reference} moved to {date}, thanks!",
    "Can we get the {goods} on {date}? {quantity} {unit}, PO {reference}",
)


def main() -> None:
    random.seed(2026)
    notes: dict[str, str] = {}
    while len(notes) < TRAIN_ROWS + TEST_ROWS:
        due = date(2019, 1, 1) + timedelta(days=random.randrange(8 * 365))
        note = random.choice(NOTES).format(
            quantity=random.randint(2, 60),
            unit=random.choice(UNITS),
            goods=random.choice(GOODS),
            reference=random.randint(1000, 9999),
            date=written(due),
        )
        notes[note] = due.isoformat()
    with (Path(__file__).parent / "orders.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("order_id", "note", "due_date", "split"))
        for number, (note, due_date) in enumerate(notes.items(), 1):
            table.writerow((number, note, due_date, "train" if number <= TRAIN_ROWS else "test"))


def written(due: date) -> str:
    """The date as one of nine hands writes it; in figures the day comes first."""
    day, month, year = due.day, MONTHS[due.month - 1], due.year
    ordinal = f"{day}{'th' if 11 <= day <= 13 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"
    return random.choice((
        due.isoformat(),
        f"{due:%d/%m/%Y}",
        f"{day}.{due.month}.{year}",
        f"{day} {month} {year}",
        f"{month} {day}, {year}",
        f"{month} {ordinal}, {year}",
        f"the {ordinal} of {month} {year}",
        f"{day} {month[:3]} {year}",
        f"{day}-{month[:3].upper()}-{year % 100}",
    ))  # fmt: skip


if __name__ == "__main__":
    main()
