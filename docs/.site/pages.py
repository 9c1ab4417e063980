"""Small changes to the pages: a click on a picture opens it in full size, and the search's dialog has a name."""

from __future__ import annotations

import re
from typing import Any

_PICTURE = re.compile(r'<img\b[^>]*\bsrc="([^"]+)"[^>]*>')
_SEARCH = 'class="md-search" data-md-component="search" role="dialog"'


def on_page_content(content: str, **_: Any) -> str:
    """Put each picture into a link to its own file, as phones cannot show a sheet; make no heading of an empty cell."""
    return _PICTURE.sub(r'<a class="picture" href="\1">\g<0></a>', content).replace("<th></th>", "<td></td>")


def on_post_page(output: str, **_: Any) -> str:
    """Name the dialog, which the theme leaves without a name."""
    return output.replace(_SEARCH, f'{_SEARCH} aria-label="Search"')
