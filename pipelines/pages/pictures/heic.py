"""HEIC, if the extra is installed. Its decoder is no part of Nightjar: libheif and libde265."""

from __future__ import annotations

from functools import cache

from actors.failures import FailureKind, ItemFailure


@cache
def learn_heic() -> None:
    """Let Pillow open HEIC. Raises ItemFailure(UNSUPPORTED_KIND) without the extra."""
    try:
        import pillow_heif
    except ImportError as error:
        raise ItemFailure(
            FailureKind.UNSUPPORTED_KIND,
            'HEIC needs the extra: pip install "nightjar[heic]"',
        ) from error
    # One core per worker; thumbnails and depth maps are no pages.
    pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)
