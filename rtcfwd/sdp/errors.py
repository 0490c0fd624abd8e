"""What a refused offer or fragment raises.

The HTTP layer turns it into a problem document (RFC 9457): ``status``, ``title`` and ``detail``.
``detail`` is written for the person whose client sent the text: it says what to change.
"""

from __future__ import annotations

MALFORMED = 400
NOT_ACCEPTABLE = 422


class SdpError(ValueError):
    """An SDP body that cannot be taken.

    ``status``: 400 when the text is malformed, 422 when it is well formed and asks for something
    that is not served here (RFC 9725 sections 4.2 and 4.4). ``title``: a short fixed phrase.
    """

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(f"{title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail


def malformed(detail: str) -> SdpError:
    """A 400: the text breaks the grammar of RFC 8866 or of an attribute."""
    return SdpError(MALFORMED, "Malformed SDP", detail)


def refused(detail: str) -> SdpError:
    """A 422: understood, and not served here."""
    return SdpError(NOT_ACCEPTABLE, "Offer not acceptable", detail)
