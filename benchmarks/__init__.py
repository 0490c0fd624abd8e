"""Benchmarks of the forwarder: real server process, real publisher, real SRTP viewers.

Run ``python -m benchmarks --help``. Every figure is printed with the machine, the commit and the
conditions it was measured under; ``docs/performance.md`` says what the figures do not show.
"""
