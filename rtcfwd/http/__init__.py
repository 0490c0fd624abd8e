"""The HTTP face: WHIP (RFC 9725), WHEP, the admin API, metrics, and the page."""
