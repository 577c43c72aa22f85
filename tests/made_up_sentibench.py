"""Made-up records of the tasks of SentiBench, and small copies of the data sets made of them."""

import json
from pathlib import Path

from sentidistill.evaluation.sentibench import LABELS, path_of

ATSA = [
    {
        "sentence": "The soup was great but the waiter was rude , and the soup came late .",
        "aspects": [
            {"target": "soup", "category": "FOOD#QUALITY", "polarity": "positive"},
            {"target": "waiter", "category": "SERVICE#GENERAL", "polarity": "negative"},
            {"target": "soup", "category": "FOOD#QUALITY", "polarity": "positive"},
        ],
    },
    {
        "sentence": "Never again !",
        "aspects": [{"target": "NULL", "category": "RESTAURANT#GENERAL", "polarity": "negative"}],
    },
    {
        "sentence": "Nice terrace .",
        "aspects": [{"target": "terrace", "category": "AMBIENCE#GENERAL", "polarity": "positive"}],
    },
]
ASQP = [
    {
        "sentence": "The bread is fresh and they don 't rush you .",
        "quards": [
            {"aspect": "bread", "category": "food quality", "sentiment": "positive", "opinion": " fresh "},
            {"aspect": "NULL", "category": "service general", "sentiment": "positive", "opinion": "don 't rush"},
        ],
    },
    {
        "sentence": "Dull place .",
        "quards": [
            {"aspect": "place", "category": "ambience general", "sentiment": "negative", "opinion": "Dull"},
        ],
    },
]


def opinion(sentence: str, holder: str, target: str, expression: str, polarity: str) -> dict:
    def part(text: str) -> list[list[str]]:
        if not text:
            return [[], []]
        begin = f" {sentence} ".index(f" {text} ")
        return [[text], [f"{begin}:{begin + len(text)}"]]

    return {
        "Source": part(holder),
        "Target": part(target),
        "Polar_expression": part(expression),
        "Polarity": polarity,
        "Intensity": "Standard",
    }


KIND, DREAD = "We love the kind staff of the small hotel .", "I dread the noisy room , the room upstairs is fine ."
OPENER = [
    {"sent_id": "1", "sentence": KIND, "opinions": [opinion(KIND, "We", "the kind staff", "love", "Positive")]},
    {"sent_id": "2", "sentence": "The lift is next to the stairs .", "opinions": []},
    {
        "sent_id": "3",
        "sentence": DREAD,
        "opinions": [
            opinion(DREAD, "I", "the noisy room", "dread", "Negative"),
            opinion(DREAD, "", "the room upstairs", "is fine", "Positive"),
        ],
    },
]
RECORDS = {"atsa_rest16": ATSA, "acsa_rest16": ATSA, "asqp_rest16": ASQP, "opener": OPENER}


def gold(task: str, record: dict) -> list[dict]:
    """The right answer as a model is asked to give it."""
    if task == "atsa_rest16":
        return [
            {"aspect_term": one["target"], "sentiment": one["polarity"]}
            for one in record["aspects"]
            if one["target"] != "NULL"
        ]
    if task == "acsa_rest16":
        return [
            {"aspect_category": one["category"].replace("#", " ").lower(), "sentiment": one["polarity"]}
            for one in record["aspects"]
        ]
    if task == "asqp_rest16":
        return [
            {
                "aspect_term": one["aspect"],
                "aspect_category": one["category"],
                "opinion": one["opinion"].strip(),
                "sentiment": one["sentiment"],
            }
            for one in record["quards"]
        ]
    found = [
        {
            "holder": " AND ".join(one["Source"][0]) or "NULL",
            "target": " AND ".join(one["Target"][0]) or "NULL",
            "sentiment_expression": " AND ".join(one["Polar_expression"][0]),
            "sentiment_polarity": one["Polarity"].lower(),
        }
        for one in record["opinions"]
    ]
    return found or [dict.fromkeys(("holder", "target", "sentiment_expression", "sentiment_polarity"), "NULL")]


def labelled(task: str, number: int, text: str = "text") -> list[dict]:
    """Records of a label task, of every label one after the other."""
    labels = LABELS[task]
    return [
        {"sentence": f"{text} number {n} of many", "label": labels[n % len(labels)], "target": "Somebody"}
        for n in range(number)
    ]


def records_of(task: str, number: int, text: str = "text") -> list[dict]:
    if task in LABELS:
        return labelled(task, number, text)
    rows = RECORDS[task]
    return [
        {**rows[n % len(rows)], "ID": f"{text}{n}", "sentence": f"{rows[n % len(rows)]['sentence']} {text} {n}"}
        for n in range(number)
    ]


def write_copy(root: Path, tasks: tuple[str, ...]) -> Path:
    """Training, validation and test files of `tasks` in `root`."""
    for task in tasks:
        for split, number in (("train", 24), ("validation", 8), ("test", 12)):
            path = path_of(root, task, split)
            if split != "validation" or path.stem == "val":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(records_of(task, number, split)), encoding="utf-8-sig")
    return root
