"""What visitors fill in."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from board.models import AUTHOR_LENGTH, TEXT_LENGTH, TITLE_LENGTH


class ReplyForm(forms.Form):
    """A post in a thread that is there already."""

    author = forms.CharField(
        label=_("Your name"),
        max_length=AUTHOR_LENGTH,
        widget=forms.TextInput(attrs={"autocomplete": "nickname"}),
    )
    text = forms.CharField(
        label=_("Message"),
        max_length=TEXT_LENGTH,
        widget=forms.Textarea(attrs={"rows": 5}),
    )


class ThreadForm(ReplyForm):
    """A new thread, with its first post."""

    title = forms.CharField(label=_("Subject"), max_length=TITLE_LENGTH)

    field_order = ("title", "author", "text")
