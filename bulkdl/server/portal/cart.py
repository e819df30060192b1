"""The cart: Series that are chosen one by one, in a cookie, and what can be downloaded of them.

The cookie has the numbers of Series in the catalogue. It is not trusted: the numbers are looked up in the part of the
catalogue that its sender may see.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from bulkdl.server.catalogue import CatalogueView
from bulkdl.server.portal import listings
from bulkdl.server.portal.downloads import offers
from bulkdl.server.portal.pages import PageRequest

CART: Final = "bulkdl_cart"
MOST: Final = 400
"""How many Series fit into the cookie, which browsers limit to 4 kB."""
_MOST_DIGITS: Final = 12


def read_cart(text: str) -> tuple[int, ...]:
    """The numbers of Series in the cookie, each once; what is not a number is left out."""
    numbers = (int(one) for one in text.split(".") if one.isascii() and one.isdigit() and len(one) <= _MOST_DIGITS)
    return tuple(dict.fromkeys(numbers))[:MOST]


def write_cart(numbers: Iterable[int]) -> str:
    """The text of the cookie."""
    return ".".join(map(str, numbers))


def cart(request: PageRequest) -> dict[str, Any]:
    """The page of the cart: its Series, as far as the viewer may see them."""
    uids = request.view.series_numbered([str(number) for number in request.cart])
    details = list(request.view.details_of(uids))
    return {
        "details": details,
        "numbers": listings.numbers_of(request.view, uids) if uids else {},
        "in_cart": frozenset(request.cart),
        "offers": offers(request, uids),
        "images": sum(detail.series.image_count or 0 for detail in details),
        "size_bytes": sum(detail.series.size_bytes or 0 for detail in details),
        "most": MOST,
    }


def changed(view: CatalogueView, numbers: Sequence[int], action: str, series_uids: Sequence[str]) -> tuple[int, ...]:
    """The cart after `add`, `remove` or `clear`. Series that the viewer cannot see are not added."""
    if action == "clear":
        return ()
    found = listings.numbers_of(view, series_uids[:MOST]).values() if series_uids else ()
    if action == "add":
        return tuple(dict.fromkeys([*numbers, *found]))[:MOST]
    return tuple(number for number in numbers if number not in set(found))
