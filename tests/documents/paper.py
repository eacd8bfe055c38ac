"""A paper of five pages in two columns: a fact, and a question that it answers, on each side of each page."""

from __future__ import annotations

from .made import Sheet, Text, lines, pdf, wrapped

FACTS = [  # page, question, what the paper says
    (1, "How deep is the lake?", "The lake is 84 metres deep."),
    (1, "Which fish live in the lake?", "Trout and perch are the fish that live in the lake."),
    (2, "When was the boat built?", "The boat was built in 1931 of pine wood."),
    (2, "How many people fit on the boat?", "Twelve people fit on the boat."),
    (3, "What is the price of a ticket?", "The price of a ticket is four crowns."),
    (3, "Who drew the map?", "The map was drawn by Ada Berg."),
    (4, "水温是多少度?", "夏天水温是十八度。"),
    (4, "冬天湖面结冰多久?", "冬天湖面结冰四个月。"),
    (5, "How long does the storm season last?", "The storm season lasts from October to March."),
    (5, "Which bridge crosses the river?", "The stone bridge of Holm crosses the river."),
]
UNANSWERABLE = "Who paid for the work?"
_AROUND = "Nothing else of note was seen there by us on that day, and the log book has no more than this to add."


def paper() -> bytes:
    sheets = []
    for page in range(1, 6):
        said = [fact for number, _, fact in FACTS if number == page]
        left, right = (wrapped(f"{_AROUND} {fact} {_AROUND}", 40) for fact in said)
        both = [one for pair in zip(lines(50, 700, left), lines(320, 700, right), strict=False) for one in pair]
        rows = [("station", "depth", "day"), ("north", "12", "Monday"), ("south", "31", "Friday")]
        table = [Text(x, 300 - 14 * y, row[at]) for y, row in enumerate(rows) for at, x in enumerate((50, 250, 400))]
        heading = Text(180, 750, f"{page}. Notes On A Cold Lake", 16)
        sheets.append(Sheet([heading, *both, *table], links=["https://example.org/lake"]))
    return pdf(sheets, title="Notes on a cold lake")
