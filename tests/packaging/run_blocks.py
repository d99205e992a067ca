"""Runs blocks of README.md in the Django project of the working folder, in one namespace.

    python run_blocks.py README.md < [[line, code], ...] as JSON

Started with the Python of a clean environment, so it may import Django and the installed package
only. A failure shows the line in README.md.
"""

import json
import os
import sys
from pathlib import Path

import django
from django.test.utils import override_settings


def main(readme):
    sys.path.insert(0, str(Path.cwd()))
    os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
    django.setup()
    from django_rwrouter.conf import get_settings

    namespace = {"__name__": "readme"}
    for line, code in json.load(sys.stdin):
        namespace.pop("RWROUTER", None)
        exec(compile("\n" * (line - 1) + code, readme, "exec"), namespace)
        if "RWROUTER" in namespace:
            # A block that shows settings: they must be ones that we take.
            with override_settings(RWROUTER=namespace["RWROUTER"]):
                get_settings()
        print(f"{readme}:{line}: ok")


if __name__ == "__main__":
    main(sys.argv[1])
