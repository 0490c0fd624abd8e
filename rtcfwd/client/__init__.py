"""Clients that try the server without a browser: ``rtcfwd publish`` and ``rtcfwd play``.

``whip`` speaks HTTP, ``peer`` holds the aiortc peer connection, ``pattern`` and ``files`` are what
can be published, ``recorder`` writes what was received, ``report`` counts and shows it.
"""
