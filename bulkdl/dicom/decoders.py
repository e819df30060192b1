"""The decoders of pixel data that are installed."""


def find_decoders() -> dict[str, tuple[str, ...]]:
    """The transfer syntaxes with compressed pixel data that pydicom knows, each with the decoders for it.

    Imports pydicom and all decoders that are installed.
    """
    from pydicom.pixels.decoders.base import get_decoder  # noqa: PLC0415 - slow to import
    from pydicom.uid import AllTransferSyntaxes  # noqa: PLC0415 - the same

    found: dict[str, tuple[str, ...]] = {}
    for uid in AllTransferSyntaxes:
        if uid.is_encapsulated:
            try:
                available = get_decoder(uid).available_plugins
            except NotImplementedError:  # video, and JPIP, whose pixels are on a server
                continue
            found[uid.name] = tuple(available)
    return found
