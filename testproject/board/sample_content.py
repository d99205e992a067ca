"""A few threads, so that a new board is not empty."""

from __future__ import annotations

from django.db import transaction

from board.models import Post, Thread

EXPLANATION = """\
Write something. The strip at the foot of the page says which databases answered you: after your \
own post it is the primary for a few seconds, so that you see what you wrote. A neighbour who reads \
from a replica sees it a moment later.

The page “Lab” in the menu measures it."""

# Title, then (author, text) of each post.
CONVERSATIONS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Which books are on your bedside table?",
        (
            ("Ines", "A history of lighthouses and a novel that I pretend to read. Yours?"),
            ("Tomás", "Three cook books. I read them like crime fiction: who did it, and with what?"),
            ("Wren", "An atlas. It is the only book that I never have to finish."),
        ),
    ),
    (
        "Saturday walk along the canal",
        (
            ("Joost", "Meeting at ten by the old lock. Eight kilometres, flat, with a bakery."),
            ("Amara", "The bakery decides it. I'll bring the dog, if nobody minds."),
            ("Joost", "The dog is the guest of honour."),
        ),
    ),
    (
        "Found: one blue glove, left hand",
        (
            ("Mika", "It hung on the fence near the playground. Wool, with a white star."),
            ("Ines", "Not mine, but it has found its way to the right board."),
        ),
    ),
    (
        "Sourdough in a cold kitchen",
        (
            ("Wren", "Seventeen degrees here, and the dough sleeps. What do you do in winter?"),
            (
                "Tomás",
                "Give it time: a whole night, in the oven with only its lamp on. Like July.",
            ),
            ("Amara", "A box with a bottle of hot water. Change the water once, then forget it."),
            ("Wren", "The lamp did it. Thank you both!"),
        ),
    ),
    (
        "How to see replication lag on this board",
        (
            (
                "The board",
                EXPLANATION,
            ),
        ),
    ),
)


def add_sample_content() -> bool:
    """Fill an empty board; leave any other as it is. Returns whether it was empty."""
    with transaction.atomic():
        if Thread.objects.exists():
            return False
        for title, messages in CONVERSATIONS:
            thread = Thread.objects.create(title=title, author=messages[0][0])
            for author, text in messages:
                Post.objects.create(thread=thread, author=author, text=text)
        return True
