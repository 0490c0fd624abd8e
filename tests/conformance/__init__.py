"""WHIP and WHEP conformance over HTTP: ``python -m tests.conformance URL [--json]``."""
