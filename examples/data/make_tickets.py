"""Makes tickets.csv: 300 support tickets of an online shop, each with the topic that a person would give it.

The tickets are made up by this script, from a fixed seed. Texts hold commas, quotes and line breaks, as real ones do.

    python examples/data/make_tickets.py
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

ROWS = 300

OPENINGS = ("Hello, ", "Hi! ", "", "", "Good morning, ", "To whom it may concern: ")
ENDINGS = ("", "", " Thanks!", " Please reply soon.", "\nRegards, {name}", " Kind regards, {name}")
NAMES = ("Anna", "José", "Wei", "Fatima", "Liam", "Chloé", "Ravi", "Ingrid")
GOODS = ("kettle", "desk lamp", "rain jacket", "headphones", "garden chair", "espresso machine")
TOPICS = {
    "refund": (
        "I sent the {good} back {days} days ago and still wait for my money",
        "please refund order {order}, the {good} arrived broken",
        "I was charged twice for order {order}, I want one payment back",
        'the {good} is not "as new" at all. I would like my money back',
    ),
    "delivery": (
        "where is order {order}? It should have been here {days} days ago",
        'the tracking page says "out for delivery" since {days} days',
        "the courier left my {good} with a neighbour, who has moved away",
        "can you send the {good} to my office instead? Order {order}",
    ),
    "account": (
        "I cannot log in, the reset link never arrives",
        "please change the e-mail address of my account",
        "someone else uses my account, order {order} is not mine",
        "how do I delete my account and all my data?",
    ),
    "product": (
        "does the {good} come with a plug for the UK?",
        "which spare parts fit the {good}?",
        "is the {good} back in stock this month?",
        "what is the difference between the old and the new {good}?",
    ),
}


def main() -> None:
    random.seed(2026)
    tickets: dict[str, str] = {}
    while len(tickets) < ROWS:
        topic = random.choice(list(TOPICS))
        body = random.choice(TOPICS[topic]).format(
            good=random.choice(GOODS), order=random.randint(10000, 99999), days=random.randint(2, 30)
        )
        text = random.choice(OPENINGS) + body + ("" if body.endswith("?") else ".")
        text += random.choice(ENDINGS).format(name=random.choice(NAMES))
        tickets[text[0].upper() + text[1:]] = topic
    with (Path(__file__).parent / "tickets.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("id", "text", "topic"))
        table.writerows((number, text, topic) for number, (text, topic) in enumerate(tickets.items(), 1))


if __name__ == "__main__":
    main()
