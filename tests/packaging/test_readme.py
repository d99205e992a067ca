"""Each Python block of README.md compiles, and works in the project of the quick start."""

import json
from pathlib import Path

import pytest

from tests.packaging import readme

RUN_BLOCKS = Path(__file__).with_name("run_blocks.py")

EXAMPLE = """\
## Quick start

```python
X = 1
```

```sh
$ python manage.py migrate  # makes one table
pip install shop
```

## Use

<!-- python
y = 2
-->

Text.

<!-- not run: takes a server -->

```python
z = 3
```

```python
w = 4
```
"""


@pytest.mark.parametrize("block", readme.python_blocks(), ids=str)
def test_it_compiles(block):
    compile(block.code, str(block), "exec")


def test_they_work(project):
    to_run = [
        (block.line, block.code)
        for block in readme.python_blocks()
        if not block.is_quick_start and not block.not_run
    ]
    project.run(RUN_BLOCKS, readme.README, stdin=json.dumps(to_run))


def test_how_blocks_are_found():
    found = readme.blocks(EXAMPLE)

    assert [(block.language, block.line, block.section) for block in found] == [
        ("python", 4, "Quick start"),
        ("sh", 8, "Quick start"),
        ("python", 15, "Use"),
        ("python", 23, "Use"),
        ("python", 27, "Use"),
    ]
    assert [block.not_run for block in found] == ["", "", "", "takes a server", ""]
    assert found[3].code == "z = 3\n"


def test_a_block_without_an_end_is_an_error():
    with pytest.raises(AssertionError, match=r"README\.md:1: .* no end"):
        readme.blocks("```python\nx = 1\n")
