"""How the experiment is to run."""

from django import forms
from django.utils.translation import gettext_lazy as _


class ExperimentForm(forms.Form):
    """Rounds, and the pause between them."""

    rounds = forms.IntegerField(label=_("Rounds"), min_value=1, max_value=50, initial=20)
    pause = forms.IntegerField(label=_("Pause between rounds (ms)"), min_value=0, max_value=200, initial=150)
