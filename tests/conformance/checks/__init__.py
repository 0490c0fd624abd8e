"""The checks, one module for each letter and topic; :func:`tests.conformance.registry.load` finds
them."""
