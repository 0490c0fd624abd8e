"""WHIP and WHEP conformance: ``python -m tests.conformance URL [--json]``."""
